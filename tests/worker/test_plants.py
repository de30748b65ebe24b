"""A planted slot: judged like any other, convicted, and its node loses nothing; with real processes. And what
`pi audit` says of that run when somebody lies about it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import cast

import pytest
from network import BIN, TestNetwork, network
from pi_sdk.client import Client
from pi_sdk.errors import ConfigError, PiError
from pi_sdk.plants import Plants
from pi_sdk.results import Event
from pi_sdk.store import LocalStore
from pi_sdk.types import CaseStatus
from pi_validator.run_audit import RunAudit


def plant(net: TestNetwork, key: str, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BIN / "pi", "pool", "plant", *map(str, words), "--rpc-url", net.chain.url, "--json"],
        capture_output=True,
        text=True,
        env={"PI_PRIVATE_KEY": "0x" + net.key(key).key.hex()},
    )


def test_planted_slot_is_convicted_and_costs_its_node_nothing(tmp_path: Path):
    with network(tmp_path) as net:
        pool, spec = net.pool(2, audit_rate=10_000, min_seats=2, auditors=1)
        file = tmp_path / "plants.json"
        drawn = plant(net, "creator", pool, "--node", net.node(0), "--out", tmp_path / "drawn.json")
        assert json.loads(drawn.stdout)["rounds"] in ([0], [1]), drawn.stderr  # 4 % of four slots
        words = (pool, "--node", net.node(1), "--round", 0, "--out", file)
        assert "only its creator" in plant(net, "operator", *words).stderr and not file.exists()
        done = plant(net, "creator", *words)
        assert json.loads(done.stdout)["rounds"] == [0], done.stderr
        assert "exists" in plant(net, "creator", *words).stderr

        late = Plants(pool_id=pool, node=net.node(1), salts={0: "ab" * 32})
        with pytest.raises(ConfigError, match="round 0 .* was not planted before it opened"):
            late.check(net.creator)

        validators = [net.validator(pool, i) for i in range(2)]
        workers = [net.worker(pool, 0), net.worker(pool, 1, "--plants", file)]
        for program in (*workers, *validators):
            program.end(0)
        assert workers[1].events("plant_opened")[0]["round"] == 0

        (case,) = [net.creator.case(i + 1) for i in range(net.creator.case_count())]
        assert (case.node, case.round, case.status) == (net.node(1), 0, CaseStatus.CONVICTED)
        assert net.creator.is_planted(pool, 0, net.node(1))
        member = net.creator.member(pool, net.node(1))
        assert member is not None and not member.convicted
        price = net.creator.pool_params(pool).price_per_slot
        assert net.creator.total_earned(net.key("operator", 1).address) == spec.rounds * price
        assert net.creator.stake_account(net.key("operator", 1).address).locked == 0
        assert net.findings(pool) == []
        an_audit_names_every_lie(net, pool)


class Liar:
    """A chain client whose node tells one event otherwise than it was, or hides it (no change)."""

    def __init__(self, client: Client, name: str, change: Callable[[dict], dict] | None):
        self._client, self._name, self._change = client, name, change

    def __getattr__(self, name: str):
        return getattr(self._client, name)

    def events(self, **asked) -> list[Event]:
        found = self._client.events(**asked)
        change = self._change or (lambda args: args)
        i = next(i for i, e in enumerate(found) if e.name == self._name and change(e.args))
        told = found[i].model_copy(update={"args": found[i].args | change(found[i].args)})
        found[i : i + 1] = [told] if self._change else []
        return found


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


LIES: list[tuple[str, Callable[[dict], dict], int | None, str]] = [
    ("SeedCaptured", lambda a: {"seed": flipped(a["seed"])}, 0, "audit seed"),
    ("Revealed", lambda a: {"reveal": a["reveal"] | {"norm": 7}}, 0, "commitment of"),
    ("Committed", lambda a: {"commitment": bytes(32)}, 0, "commitment of"),
    ("RoundClosed", lambda a: {"root": flipped(a["root"])}, 1, "start root"),
    ("VerdictsRevealed", lambda a: {"validator": "0x" + "00" * 20} if a["verdicts"] else {}, 0, "verdict of"),
    ("CaseOpened", lambda a: {"jury": []}, 0, "jury 0 of case 1"),
    ("VoteRevealed", lambda a: {"outcome": 1}, 0, "case 1"),
    ("CaseResolved", lambda a: {"status": CaseStatus.ACQUITTED}, 0, "case 1"),
    ("Settled", lambda a: {"paid": a["paid"] + 1}, None, "pay of"),
    ("Credited", lambda a: {"amount": a["amount"] + 1}, None, "budget: Credited"),
]


def an_audit_names_every_lie(net: TestNetwork, pool: int) -> None:
    """What the chain's events, or a mirror's files, say wrongly is named with its round."""
    store = LocalStore(net.folder / "orchestrator" / "blobs")
    for name, change, round_, what in LIES:
        liar = cast(Client, Liar(net.creator, name, change))
        findings = [(f.round, f.what) for f in RunAudit(liar, pool, store).run()]
        assert any(r == round_ and w.startswith(what) for r, w in findings), (name, findings)
    for name in (
        "Joined",
        "SeatTaken",
        "SeedCaptured",
        "Revealed",
        "RoundClosed",
        "CaseOpened",
        "VoteRevealed",
    ):
        assert [*RunAudit(cast(Client, Liar(net.creator, name, None)), pool, store).run()], name
    events = net.creator.events(pool_id=pool)
    files = [(e.args["round"], e.args["update_file"]) for e in events if e.name == "Revealed"]
    files += [(e.args["round"], e.args["checkpoint_file"]) for e in events if e.name == "RoundClosed"]
    for round_, file in files:
        if any(file):  # a confirm-only reveal has none
            path = store.path_of(file.hex())
            good = path.read_bytes()
            path.write_bytes(flipped(good))
            assert {f.round for f in RunAudit(net.creator, pool, store).run()} == {round_}
            path.write_bytes(good)
    path = store.path_of(net.creator.pool(pool).run_spec_hash.hex())
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(PiError, match=path.name[:12]):
        list(RunAudit(net.creator, pool, store).run())


def test_as_many_rounds_are_drawn_as_the_share_asks_for():
    for planted, slots, rounds, count in ((400, 4, 12, 2), (400, 25, 100, 100), (1, 1, 1, 1), (0, 4, 12, 0)):
        drawn = Plants.draw(planted, slots, range(5, 5 + rounds), Random(1))
        assert len(set(drawn)) == count and all(5 <= r < 5 + rounds for r in drawn)
    assert Plants.draw(400, 1, range(500), Random(1)) != Plants.draw(400, 1, range(500), Random(2))


def test_plants_of_another_node_are_refused(tmp_path: Path):
    file, node = tmp_path / "plants.json", "0x" + "11" * 20
    file.write_text(Plants(pool_id=1, node=node, salts={3: "ab" * 32}).model_dump_json())
    assert Plants.load(file, 1, node).salts == {3: "ab" * 32}
    for pool, other in ((2, node), (1, "0x" + "22" * 20)):
        with pytest.raises(ConfigError):
            Plants.load(file, pool, other)
    file.write_text("{")
    with pytest.raises(ConfigError):
        Plants.load(file, 1, node)
