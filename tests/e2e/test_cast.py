"""A worker's whole life by the README's `cast` commands, run as they stand there."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from chain import Anvil, anvil
from eth_account import Account
from pi_sdk import Client, PoolParams, dev_key
from pi_sdk.tools import anvil_path
from small_pool import STORE, TOKEN, make_hash, make_pool

ROOT = Path(__file__).resolve().parents[2]
PRICE = PoolParams.model_fields["price_per_slot"].default
UNBONDING = 1000


def commands() -> list[str]:
    """The blocks between the README's markers, in order."""
    text = (ROOT / "README.md").read_text()
    section = re.search(r"<!-- cast:begin -->\n(.*?)<!-- cast:end -->", text, re.DOTALL)
    assert section is not None, "the README has no cast section"
    return re.findall(r"```bash\n(.*?)```", section[1], re.DOTALL)


def cast_folder() -> Path:
    """npm's native cast, beside the anvil that the tests use, or the one on PATH."""
    folder = Path(str(anvil_path().parent).replace("anvil", "cast"))
    return folder if (folder / "cast").is_file() else anvil_path().parent


class Shell:
    """One bash that keeps its variables from block to block, and ends at the first command that fails."""

    def __init__(self, environment: dict[str, str]):
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            text=True,
        )

    def run(self, block: str) -> str:
        """What the block printed; fails where one of its commands does."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{block}\necho :done:\n")
        stdin.flush()
        lines = []
        for line in stdout:
            if line == ":done:\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError("".join([*lines, "in\n", block]))

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def chain(tmp_path):
    with anvil(tmp_path) as node:
        yield node


@pytest.mark.slow
def test_the_commands_of_the_readme_are_a_whole_life(chain: Anvil):
    prepare, work, *rest = _blocks()
    reveal, settle, leave = rest
    worker, node = Account.create(), Account.create()
    chain.give_gas(worker.address)
    with Client("local", Account.from_key(dev_key(0)), rpc_url=chain.url, poll=0.02) as pi:
        at = pi.deploy(unbonding_time=UNBONDING)
        pool = make_pool(pi, rounds=2, min_seats=0)
        shell = Shell(
            {
                "PATH": f"{cast_folder()}{os.pathsep}{os.environ['PATH']}",
                "ETH_RPC_URL": chain.url,
                "TOKEN": at.token,
                "REGISTRY": at.registry,
                "STAKES": at.stakes,
                "REWARDS": at.rewards,
                "POOLS": at.pools,
                "LEDGER": at.ledger,
                "POOL": str(pool),
                "OPERATOR_KEY": "0x" + worker.key.hex(),
                "NODE_KEY": "0x" + node.key.hex(),
                **{name: "0x" + make_hash(name).hex() for name in ["UPDATE", "TRACE", "STATE", "FILE"]},
                "NORM": "1234",
                "STORE": STORE,
            }
        )

        shell.run(prepare)
        member = pi.member(pool, node.address)
        assert member is not None and member.operator == worker.address
        assert pi.stake_account(worker.address).locked == 100 * TOKEN

        pi.open_round(pool, 60)
        shell.run(work)
        shell.run(reveal)
        assert pi.record(pool, 0, node.address).status.name == "REVEALED"
        root = make_hash("next checkpoint")
        pi.close_round(pool, root, make_hash("checkpoint file").hex())
        pi.open_round(pool, 60)

        shell.run(settle)
        assert pi.token_balance(worker.address) == PRICE

        shell.run(leave)
        assert pi.token_balance(worker.address) == PRICE + 100 * TOKEN
        account = pi.stake_account(worker.address)
        assert (account.bonded, account.locked, account.unbonding) == (0, 0, 0)
        shell.close()


def _blocks() -> list[str]:
    """Everything up to joining as one block; then working, revealing, being paid, leaving."""
    first, second, *rest = commands()
    assert len(rest) == 4
    return [first + second, *rest]
