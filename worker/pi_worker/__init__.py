"""The agent behind `pi-worker`: joins a pool, trains its slots, commits, reveals, serves evidence, is paid."""
