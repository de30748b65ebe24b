"""Slots that a pool's creator has made bad on purpose, so that a validator that accepts without replaying
loses stake.

The creator hides them on chain (`pi pool plant`). The node's owner, who is in the know, lets that node work
badly in those rounds (`pi-worker join --plants FILE`), and it opens each once it is accused. The file is the
secret: who has it knows which verdicts are tests.
"""

import math
import secrets
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from pydantic import Field, ValidationError

from .base import checksum
from .codec import plant_hash
from .errors import ConfigError
from .types import Address, Hash, Model

if TYPE_CHECKING:
    from .client import Client

_MOST = 1024


class Plants(Model):
    """One node's planted slots in one pool: rounds and their salts."""

    pool_id: int = Field(ge=1)
    node: Address
    salts: dict[int, Hash] = Field(max_length=_MOST)

    @staticmethod
    def draw(planted: int, slots: int, rounds: Sequence[int], random: Random) -> list[int]:
        """Of `rounds` with that many slots each, the ones in which a single node must be bad so that
        `planted` basis points of all slots are."""
        count = math.ceil(planted * slots * len(rounds) / 10_000)
        return sorted(random.sample(rounds, min(count, len(rounds), _MOST)))

    @classmethod
    def hide(cls, client: "Client", pool_id: int, node: str, rounds: list[int], path: Path) -> Self:
        """Writes the file, then sends the hashes, as the pool's creator."""
        plants = cls(pool_id=pool_id, node=node, salts={r: secrets.token_hex(32) for r in rounds})
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(plants.model_dump_json())
        client.plant(pool_id, [(r, node, bytes.fromhex(salt)) for r, salt in plants.salts.items()])
        return plants

    @classmethod
    def load(cls, path: Path, pool_id: int, node: str) -> Self:
        """`ConfigError` for a file that is not one, or is about another pool or node."""
        try:
            plants = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(
                f"cannot read the plants in {path}", "pi pool plant writes such a file"
            ) from error
        if (plants.pool_id, plants.node.lower()) != (pool_id, node.lower()):
            raise ConfigError(
                f"{path} is about node {plants.node} in pool {plants.pool_id}",
                f"this is {node} in pool {pool_id}",
            )
        return plants

    def check(self, client: "Client") -> None:
        """`ConfigError` where a slot was not hidden before its round opened: to work badly there would cost
        the stake."""
        at = client.chain_id, client.deployment.pools, self.pool_id
        planted = client.events(pool_id=self.pool_id, names=["Planted"])
        since = {hash_: e.args["from_round"] for e in reversed(planted) for hash_ in e.args["hashes"]}
        for round_, salt in self.salts.items():
            hash_ = plant_hash(*at, round_, checksum(self.node), bytes.fromhex(salt))
            if since.get(hash_, round_ + 1) > round_:
                raise ConfigError(
                    f"round {round_} of {self.node} was not planted before it opened",
                    "the slot would be convicted like any other: plant later rounds with pi pool plant",
                )
