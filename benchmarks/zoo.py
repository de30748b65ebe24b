"""Every cheat of a worker at once, with real processes: one pool on a real chain, honest workers beside the
cheats, three validators.

Both segments of a slot are replayed and every slot of a node's first rounds is audited, so each cheat must be
convicted in the round in which it begins, with the outcome that `pi_sdk/cheats.py` says, and nobody else may
be accused or lose anything.

    python -m benchmarks zoo      about 40 processes, about 10 minutes on two slow cores
"""

import sys
import tempfile
from pathlib import Path

from pi_sdk.cheats import CHEATS
from pi_sdk.types import CaseStatus

from .common import publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the small network of the tests

HONEST, SEATS = 2, 3
WINDOWS = {
    "min_train_window": 600,
    "max_train_window": 600,
    "reveal_window": 300,
    "verdict_window": 240,
    "verdict_reveal_window": 120,
    "vote_window": 240,
    "vote_reveal_window": 120,
}
"""Seconds. Phases end when all have acted; what is withheld is waited for."""


def main() -> None:
    from network import network, wait_for

    slots = HONEST + sum(cheat.width for cheat in CHEATS.values())
    with tempfile.TemporaryDirectory() as folder, network(Path(folder)) as net:
        pool_id, _ = net.pool(
            rounds=2, audit_segments=2, min_slots=slots, max_slots=slots, min_seats=SEATS, **WINDOWS
        )
        judges = [net.validator(pool_id, i) for i in range(SEATS)]
        workers = [net.worker(pool_id, i) for i in range(HONEST)]
        for i, (name, cheat) in enumerate(CHEATS.items(), HONEST):
            workers.append(net.worker(pool_id, i, "--cheat", name, "--width", cheat.width))
        for program in judges + workers:
            wait_for(f"the end of {program.home.name}", lambda p=program: p.popen.poll() is not None, 1800)
        client, params = net.creator, net.creator.pool_params(pool_id)

        cases = list(map(client.case, range(1, client.case_count() + 1)))
        rows = []
        for i, (name, cheat) in enumerate(CHEATS.items(), HONEST):
            own = [case for case in cases if case.node == net.node(i)]
            rows.append(
                {
                    "name": name,
                    "round": min((case.round for case in own), default=None),
                    "found": own[0].fault.name.lower() if own else "",
                    "convictions": sum(case.status == CaseStatus.CONVICTED for case in own),
                    "as_expected": bool(own)
                    and all((c.status, c.fault) == (CaseStatus.CONVICTED, cheat.outcome) for c in own)
                    and min(case.round for case in own) == cheat.after,
                    "lost": params.stake_per_slot * cheat.width // 10**18
                    - client.stake_account(net.key("operator", i).address).bonded // 10**18,
                    "earned": client.total_earned(net.key("operator", i).address) // 10**18,
                }
            )
        honest = [net.node(i) for i in range(HONEST)]
        accused = [case for case in cases if case.node in honest]
        paid = [client.total_earned(net.key("operator", i).address) for i in range(HONEST)]
        findings = [f"{f.round} {f.what}: {f.problem}" for f in net.findings(pool_id)]
        clean = not accused and paid == [2 * params.price_per_slot] * HONEST
    note = f"{HONEST} honest workers beside them were {'paid, and not accused' if clean else 'HARMED'}."
    note += f" pi audit: {'; '.join(findings) or 'nothing wrong'}"
    publish("zoo", "Every cheat of a worker at once, real processes on a real chain", rows, note)


if __name__ == "__main__":
    main()
