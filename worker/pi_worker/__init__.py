"""The agent behind `pi-worker`: joins a pool, trains, commits, reveals, serves evidence, is paid."""
