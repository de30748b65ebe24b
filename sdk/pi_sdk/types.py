"""All wire types: frozen, versioned pydantic models. `RunSpec` says what is trained and how it is checked;
its canonical JSON (RFC 8785) has its sha256 on chain. `PoolParams` is the part that the contracts enforce.
Nothing that changes a hash stands anywhere else.

Hashes are bare lower-case hex of 32 bytes; money is integer token wei; windows are seconds; rates are basis
points.
"""

import base64
import binascii
from collections.abc import Iterable
from enum import IntEnum
from math import prod
from typing import Annotated, Literal, Self

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from .errors import SpecMismatch, UsageError

TOKEN = 10**18
"""Token wei in one token."""
MAX_SPEC_BYTES = 1 << 20
"""Bytes of a RunSpec's canonical JSON that nodes read."""
RING = 16
"""Rounds that the chain keeps; older ones are final."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Q16 = Annotated[int, Field(ge=0, le=1 << 24)]
"""A non-negative real number times 2^16."""
ClassId = Annotated[str, Field(pattern=r"^[a-z0-9.+-]{1,64}$")]


class Phase(IntEnum):
    """Where a pool's running round is; the contract's `IRoundLedger.Phase`."""

    IDLE = 0
    COMMIT = 1
    REVEAL = 2
    SEALED = 3


class RecordStatus(IntEnum):
    """What became of a node's work in one round; `IRoundLedger.RecordStatus`."""

    NONE = 0
    """Never revealed on time, or settled, or out of the ring."""
    COMMITTED = 1
    OUTVOTED = 2
    """Started from another root than its round: unpaid, never judged."""
    REVEALED = 3
    EXCLUDED = 4
    CONTESTED = 5


class Outcome(IntEnum):
    """A validator's verdict, or a juror's vote, about one slot; `ICourt.Outcome`."""

    NONE = 0
    ACCEPT = 1
    MISMATCH = 2
    WITHHELD = 3


class CaseStatus(IntEnum):
    """`ICourt.CaseStatus`."""

    NONE = 0
    OPEN = 1
    CONVICTED = 2
    ACQUITTED = 3
    HUNG = 4
    DECIDED = 5
    """A jury's outcome that can still be appealed against."""


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GptSpec(Model):
    """The built-in GPT (`pi_train/model.py`): pre-norm, learned positions, tied embeddings, byte-level."""

    kind: Literal["gpt"] = "gpt"
    layers: int = Field(default=4, ge=1, le=256)
    heads: int = Field(default=4, ge=1, le=256)
    width: int = Field(default=128, ge=8, le=65536)
    context: int = Field(default=64, ge=32, le=1 << 20)
    vocab: int = Field(default=256, ge=2, le=1 << 20)
    """256: bytes are tokens."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def parameters(self) -> int:
        """Length of the flat parameter vector (`pi_train/layout.py`, counted without its names)."""
        embeddings = (self.vocab + self.context) * self.width
        block = 12 * self.width**2 + 2 * self.width  # attention 4, MLP 8 matrices of width^2; two norms
        return embeddings + self.layers * block + self.width


class Shard(Model):
    """One file in the store: a piece of the data, a tokenizer, frozen weights."""

    sha256: Hash
    bytes: int = Field(ge=1)


def _bounded(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(rfc8785.dumps(value)) > 1 << 16:  # its errors are ValueErrors: numbers that JSON cannot carry
        raise ValueError("longer than 64 KiB of JSON")
    return value


Json = Annotated[dict[str, JsonValue], AfterValidator(_bounded)]
"""A small JSON object."""
TensorName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
Shape = Annotated[tuple[Annotated[int, Field(ge=1, le=1 << 32)], ...], Field(min_length=1, max_length=6)]
Layout = Annotated[tuple[tuple[TensorName, Shape], ...], Field(min_length=1, max_length=8192)]
"""(name, shape) of each trainable tensor in the order of the flat vector, so that sizes are known without
torch."""


class _Module(Model):
    """What the specs of models that are `nn.Module`s share."""

    layout: Layout
    context: int = Field(ge=32, le=1 << 20)
    """Longest sequence, in tokens."""
    vocab: int = Field(ge=2, le=1 << 20)

    @model_validator(mode="after")
    def _layout_is_one_vector(self) -> Self:
        if len({name for name, _ in self.layout}) < len(self.layout):
            raise ValueError("layout names a tensor twice")
        if self.parameters > 1 << 40:
            raise ValueError("layout has more than 2^40 parameters")
        return self

    @property
    def parameters(self) -> int:
        """Length of the flat parameter vector."""
        return sum(prod(shape) for _, shape in self.layout)


class LoraSpec(Model):
    """Low-rank adapters on linear layers of a frozen base: W + alpha / rank * B A. https://arxiv.org/abs/2106.09685"""

    rank: int = Field(ge=1, le=4096)
    alpha: float = Field(gt=0, le=1 << 16)
    targets: tuple[TensorName, ...] = Field(min_length=1, max_length=256)
    """Last parts of the adapted modules' names, as PEFT's `target_modules`."""


class HfSpec(_Module):
    """A causal language model of `transformers`, built from its configuration; no code is ever downloaded.

    Without `lora` all of it is trained. With it the weights in `base` are frozen, and the flat vector holds
    the adapters alone.
    """

    kind: Literal["hf"] = "hf"
    transformers: str
    """Version whose arithmetic this is, e.g. 5.23.0."""
    config: Json
    """The content of a config.json."""
    base: tuple[Shard, ...] = Field(default=(), max_length=4096)
    """safetensors files that together hold the frozen weights by name."""
    lora: LoraSpec | None = None

    @model_validator(mode="after")
    def _adapters_need_a_base(self) -> Self:
        if (self.lora is None) != (not self.base):
            raise ValueError("lora and base go together: without adapters all weights are in the checkpoint")
        return self


class FactorySpec(_Module):
    """Somebody's own `nn.Module`, made by a function that must be installed where it is trained: it is never
    downloaded. `pi_train/factory.py` says what it must offer."""

    kind: Literal["factory"] = "factory"
    factory: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,150}:[A-Za-z_][A-Za-z0-9_]{0,99}$")
    """`package.module:function`."""
    arguments: Json = {}
    """Keyword arguments of the function."""


ModelSpec = Annotated[GptSpec | HfSpec | FactorySpec, Field(discriminator="kind")]


class DataSpec(Model):
    """Shards in order; windows are drawn over their concatenation. `validation` is never trained on."""

    train: tuple[Shard, ...] = Field(min_length=1)
    validation: tuple[Shard, ...] = Field(min_length=1)
    dtype: Literal["uint8", "uint16", "uint32"] = "uint8"
    """How shards hold token ids, little-endian. uint8: raw bytes, which are the tokens."""
    tokenizer: Shard | None = None
    """The `tokenizer.json` (of the `tokenizers` library) that made the ids."""

    @property
    def token_bytes(self) -> int:
        """Bytes of one token."""
        return {"uint8": 1, "uint16": 2, "uint32": 4}[self.dtype]

    @model_validator(mode="after")
    def _shards_hold_whole_tokens(self) -> Self:
        if any(shard.bytes % self.token_bytes for shard in (*self.train, *self.validation)):
            raise ValueError(f"a shard ends in the middle of a {self.dtype}")
        return self


class InnerSpec(Model):
    """The inner loop of one slot: `steps` steps of `batch` sequences of `sequence` tokens."""

    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    """`sgd`: plain, without momentum. With one step per round and `dct-topk` the error feedback is DeMo's
    momentum, `codec.beta` its decay. Betas and eps are AdamW's alone; weight decay is part of the update.
    `muon`: for the matrices of hidden layers, with `beta1` and AdamW's learning rates
    (`pi_train/muon.py`); AdamW for the rest."""
    steps: int = Field(default=20, ge=1, le=100_000)
    batch: int = Field(default=16, ge=1, le=65536)
    sequence: int = Field(default=64, ge=32, le=1 << 20)
    micro_batch: int = Field(default=0, ge=0, le=65536)
    """Sequences per forward pass of one process, whose gradients are added up; 0: all at once. Less memory,
    other roundings."""
    lr: float = Field(default=2e-3, gt=0, le=1)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    """Gradient norm limit."""
    warmup: int = Field(default=20, ge=0)
    """Inner steps, counted over the whole run, in which the learning rate rises linearly."""
    decay: int = Field(default=0, ge=0)
    """Inner steps at the end of the run in which the learning rate falls linearly."""
    carry_moments: bool = True
    """Whether AdamW's moments and step counter go on from a node's last round, or start at zero."""


class CodecSpec(Model):
    """How an update is encoded. Every codec decodes exactly to integers."""

    name: Literal["sparse-2bit", "dense-int8", "dense-fixed", "dct-topk"] = "sparse-2bit"
    k: int = Field(default=64, ge=1, le=4096)
    """Values kept per chunk of 4096 (sparse-2bit), or coefficients kept of 64 (dct-topk)."""
    beta: Q16 = 62259
    """Decay of the error feedback, Q16 (0.95)."""
    max_step: int = Field(default=1 << 22, ge=1, le=1 << 31)
    """Largest quantisation step in fixed-point units; above it an update is malformed."""

    @model_validator(mode="after")
    def _k_fits_codec(self) -> Self:
        if self.name == "dct-topk" and self.k > 64:
            raise ValueError("dct-topk keeps at most k = 64 of 64 coefficients")
        return self

    @property
    def kept(self) -> int:
        """k as update headers and contracts have it: 0 for the dense codecs."""
        return 0 if self.name.startswith("dense") else self.k


class OuterSpec(Model):
    """The outer rule, in integers. `sgd`: lr only (SparseLoCo's alpha). `nesterov`: lr and momentum. `sign`:
    every parameter moves by lr against the sign of its mean (DeMo)."""

    rule: Literal["sgd", "nesterov", "sign"] = "sgd"
    lr: Q16 = 98304
    """Q16; 98304 = 1.5. For sign in fixed-point units: 16777 = 1e-3 at 24 fraction bits."""
    momentum: Q16 = 0
    """Q16; 58982 = 0.9. Zero but for nesterov."""
    fragments: int = Field(default=1, ge=1, le=256)
    """Streaming DiLoCo (arXiv 2501.18512) above 1: a round's updates and its outer step are about one of so
    many contiguous fragments of the parameters, in turn. Between their turns nodes go on from their own."""
    mix: Q16 = 0
    """Share of a node's own values that stays in a fragment that comes back, Q16; 0 takes C_r's."""
    delay: int = Field(default=0, ge=0, le=1)
    """Rounds that a fragment's return waits. 1: the exchange of one round may take as long as the training of
    the next one, whose data follow from the checkpoint before C_r."""
    guard: int = Field(default=0, ge=0, le=64)
    """Deviations above which the median norm of a round's updates has the round skipped
    (`pi_train/outer.py`); 0: no round is."""
    trim: int = Field(default=0, ge=0, lt=5000)
    """Basis points of a round's slots that the mean leaves out at each end, parameter by parameter
    (`pi_train/outer.py`); 0: none."""

    @property
    def keeps_parameters(self) -> bool:
        """Whether nodes carry their own parameters from round to round, instead of starting from C_r."""
        return self.fragments > 1 or self.mix > 0

    def fragment(self, n: int, round_: int) -> slice:
        """Which of n parameters a round is about: all, or its fragment. Fragments start at multiples of 4096,
        where chunks of every codec start."""
        if self.fragments == 1:
            return slice(0, n)
        size = -(-n // (4096 * self.fragments)) * 4096
        start = round_ % self.fragments * size
        return slice(start, min(start + size, n))

    @model_validator(mode="after")
    def _fragments_fit(self) -> Self:
        if self.mix > 1 << 16:
            raise ValueError("mix must be at most 1")
        if self.delay >= self.fragments:
            raise ValueError("a delay needs two fragments or more: one comes back while another one leaves")
        return self

    @model_validator(mode="after")
    def _momentum_fits_rule(self) -> Self:
        if (self.rule == "nesterov") != (self.momentum > 0):
            raise ValueError(f"momentum must be zero for {self.rule} and above zero for nesterov")
        if self.momentum >= 1 << 16:
            raise ValueError("momentum must be below 1")
        return self


class TraceSpec(Model):
    """What a worker records of its inner steps."""

    segment: int = Field(default=4, ge=1)
    """Inner steps between two border states; divides `inner.steps`."""
    proof_sequences: int = Field(default=1, ge=0, le=64)
    """Sequences per step with activation proofs (first ones of the batch), one proof per 32 tokens."""


class AuditSpec(Model):
    """What an auditor replays, and the limits of the activation screen (TOPLOC's three statistics)."""

    segments: int = Field(default=2, ge=1)
    """Segments replayed per audited slot."""
    planted: int = Field(default=400, ge=0, le=10_000)
    """Basis points of the audited slots that the pool's creator undertakes to plant (`pi pool plant`)."""
    max_exponent_mismatches: int = Field(default=38, ge=0, le=128)
    max_mantissa_mean: float = Field(default=10.0, ge=0)
    max_mantissa_median: float = Field(default=8.0, ge=0)


class DeterminismClass(Model):
    """What must agree for torch to give the same bits: device, build, threads, dtype, three ISA caps, ranks,
    and whether torch compiles the model."""

    id: ClassId
    device: Literal["cpu", "cuda"] = "cpu"
    torch: str
    """Base version, e.g. 2.13.0."""
    threads: int = Field(default=1, ge=1)
    """Of each process."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    aten: Literal["default", "avx2", "avx512"] = "avx2"
    """ATEN_CPU_CAPABILITY."""
    onednn: str = "AVX2"
    """ONEDNN_MAX_CPU_ISA."""
    mkl: str = "AVX2"
    """MKL_CBWR."""
    ranks: int = Field(default=1, ge=1, le=64)
    """Processes that share the model and each batch between them, one per GPU (`pi_train/sharded.py`)."""
    compile: bool = False
    """Whether the model's blocks go through `torch.compile`."""


class ErrorLimit(Model):
    """State error, relative to the segment's update, above which a replay is a mismatch."""

    worker: ClassId
    validator: ClassId
    limit: float = Field(gt=0)


class RunSpec(Model):
    """Everything that determines a run's bits. Its canonical JSON's sha256 is the pool's `runSpecHash`."""

    version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=64)
    seed: int = Field(ge=0, lt=1 << 53)
    rounds: int = Field(ge=1, lt=1 << 32)
    model: ModelSpec
    data: DataSpec
    genesis_root: Hash
    """Root of the first checkpoint; on chain too."""
    genesis_file: Hash
    """sha256 of the first checkpoint's file in the store."""
    inner: InnerSpec
    codec: CodecSpec
    outer: OuterSpec
    frac_bits: int = Field(default=24, ge=8, le=30)
    """A parameter is an int32 times 2^-frac_bits."""
    trace: TraceSpec
    audit: AuditSpec
    classes: tuple[DeterminismClass, ...] = Field(min_length=1)
    limits: tuple[ErrorLimit, ...] = Field(min_length=1)
    max_width: int = Field(default=4, ge=1, le=31)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.inner.steps % self.trace.segment:
            raise ValueError("trace.segment must divide inner.steps")
        if self.audit.segments > self.segments:
            raise ValueError(f"audit.segments is above the {self.segments} segments of a slot")
        if self.inner.sequence > self.model.context:
            raise ValueError("inner.sequence is longer than model.context")
        if self.trace.proof_sequences > self.inner.batch:
            raise ValueError("trace.proof_sequences is above inner.batch")
        if self.inner.sequence % 32:
            raise ValueError("inner.sequence must be a multiple of 32, the span of an activation proof")
        if self.fragment(self.outer.fragments - 1).start >= self.model.parameters:
            raise ValueError("outer.fragments leaves a fragment without parameters")
        for c in self.classes:
            if c.ranks > 1 and self.inner.optimizer == "muon":
                raise ValueError("muon needs whole matrices, and ranks have a part of each: take adamw")
            share, rest = divmod(self.inner.batch, c.ranks)
            if rest or self.inner.micro_batch and share % self.inner.micro_batch:
                raise ValueError(f"inner.batch does not divide into {c.ranks} ranks and inner.micro_batch")
        ids = [c.id for c in self.classes]
        if len(set(ids)) != len(ids):
            raise ValueError("classes must have different ids")
        pairs = [(p.worker, p.validator) for p in self.limits]
        if len(set(pairs)) != len(pairs) or {x for p in pairs for x in p} - set(ids):
            raise ValueError("limits must name each pair of admitted classes at most once")
        return self

    @property
    def files(self) -> tuple[Shard, ...]:
        """What a node fetches beside the checkpoint: the tokenizer, and a frozen base."""
        tokenizer = (self.data.tokenizer,) if self.data.tokenizer else ()
        return (*tokenizer, *(self.model.base if self.model.kind == "hf" else ()))

    def fragment(self, round_: int) -> slice:
        """`OuterSpec.fragment` of this run's parameters."""
        return self.outer.fragment(self.model.parameters, round_)

    @property
    def checkpoint_shape(self) -> tuple[int, bool, int]:
        """Parameters of a checkpoint, whether it has momentum, fragments that a guard watches."""
        guards = self.outer.fragments if self.outer.guard else 0
        return self.model.parameters, self.outer.rule == "nesterov", guards

    def update_values(self, round_: int) -> int:
        """Values in an update of a round."""
        place = self.fragment(round_)
        return place.stop - place.start

    @property
    def segments(self) -> int:
        """Segments of one slot: inner steps over steps per segment."""
        return self.inner.steps // self.trace.segment

    @property
    def proofs_per_step(self) -> int:
        return self.trace.proof_sequences * self.inner.sequence // 32

    def limit(self, worker: str, validator: str) -> float | None:
        """The error limit of a pair of classes; None when such a validator may not judge such a worker."""
        return next((p.limit for p in self.limits if (p.worker, p.validator) == (worker, validator)), None)


Money = Annotated[int, Field(ge=0, lt=1 << 96)]
"""Token wei."""
Window = Annotated[int, Field(ge=1, lt=1 << 32)]
"""Seconds."""


MAX_TRIMMED_SLOTS = 32
"""As in `contracts/src/libraries/ParamsLib.sol`."""


class PoolParams(Model):
    """The contract's `PoolParams`, field for field; explained in `interfaces/IPools.sol`."""

    price_per_slot: Money = TOKEN
    stake_per_slot: Money = 100 * TOKEN
    max_slots: int = Field(default=16, ge=1, le=4096)
    min_slots: int = Field(default=1, ge=1, le=4096)
    min_seats: int = Field(default=1, ge=0, le=256)
    max_width: int = Field(default=4, ge=1, le=31)
    orchestrator: Address
    reveal_window: Window = 30
    grace_window: Window = 30
    rounds: int = Field(ge=1, lt=(1 << 24) - 2)
    """Training rounds; a confirm-only round follows."""
    slash_miss: Money = TOKEN
    close_bond: Money = 100 * TOKEN
    min_train_window: Window = 30
    max_train_window: Window = 120
    verdict_fee: Money = TOKEN // 10
    seat_stake: Money = 100 * TOKEN
    verdict_window: Window = 60
    verdict_reveal_window: Window = 20
    slash_false_accusation: Money = 50 * TOKEN
    slash_absence: Money = TOKEN
    audit_rate: int = Field(default=1000, ge=1, le=10_000)
    probation: int = Field(default=2, ge=0, lt=1 << 16)
    verdict_budget: int = Field(default=64, ge=0, lt=1 << 16)
    auditors: int = Field(default=2, ge=1, le=4)
    jury_size: int = Field(default=3, ge=1, le=16)
    slash_conviction: Money = 50 * TOKEN
    slash_overturned: Money = 5 * TOKEN
    vote_window: Window = 60
    vote_reveal_window: Window = 20
    appeal_bond: Money = 20 * TOKEN
    appeal_window: Window = 30
    finder_fee: int = Field(default=500, ge=0, le=2000)

    def to_abi(self) -> tuple:
        """The values in the struct's order."""
        return tuple(self.model_dump().values())

    @classmethod
    def from_abi(cls, values: tuple) -> Self:
        return cls(**dict(zip(cls.model_fields, values, strict=True)))

    def check(self, spec: RunSpec) -> None:
        """Raises `SpecMismatch` when a RunSpec and these params disagree."""
        _agree((name, getattr(self, name), getattr(spec, name)) for name in ("rounds", "max_width"))
        if spec.outer.trim and self.max_slots > MAX_TRIMMED_SLOTS:
            raise SpecMismatch(
                f"a pool with a trimmed mean has at most {MAX_TRIMMED_SLOTS} slots, not {self.max_slots}",
                "a wrong result is proved in one transaction, which has no room for more: lower max_slots",
            )

    def reserve_per_round(self) -> int:
        """Token wei that opening a training round sets aside."""
        return self.price_per_slot * self.max_slots + self.verdict_fee * self.verdict_budget

    def audit_chance(self, age: int) -> int:
        """Basis points of a slot's probability to be audited in the `age`-th round of its node's membership,
        0 first. `Client.watch_node` makes it certain."""
        halved = 10_000 >> age // self.probation if self.probation else 0
        return max(halved, self.audit_rate)

    def case_seconds(self) -> int:
        """How long a case can take at most, from its opening on: three juries and two times for an appeal."""
        return 3 * (self.vote_window + self.vote_reveal_window) + 2 * self.appeal_window

    def total_windows(self) -> int:
        """All windows of a round and its cases together, in seconds; stakes must unbond for at least that
        long."""
        round_ = self.max_train_window + self.reveal_window + self.grace_window
        return round_ + self.verdict_window + self.verdict_reveal_window + self.case_seconds()


_CODEC_IDS = {"sparse-2bit": 1, "dense-int8": 2, "dense-fixed": 3, "dct-topk": 4}
"""As in the header of an update file."""
_RULE_IDS = {"sgd": 0, "nesterov": 1, "sign": 2}


class OuterRule(Model):
    """What the contracts know of the outer step, to judge a posted checkpoint; explained in
    `interfaces/IPools.sol`."""

    codec: int = Field(ge=1, le=4)
    k: int = Field(ge=0, le=4096)
    """As in the header of an update file; 0 for the dense codecs."""
    max_step: int = Field(ge=1, le=1 << 31)
    rule: int = Field(ge=0, le=2)
    """0 sgd, 1 nesterov, 2 sign."""
    lr: Q16
    momentum: Q16
    parameters: int = Field(ge=1, le=1 << 40)
    """Length of the flat parameter vector."""
    fragments: int = Field(ge=1, le=256)
    """Of the parameters, one per round in turn."""
    guard: int = Field(ge=0, le=64)
    """Deviations above which a round is skipped; 0: none is."""
    trim: int = Field(ge=0, lt=5000)
    """Basis points of the slots that the mean leaves out at each end."""

    @classmethod
    def from_spec(cls, spec: RunSpec) -> Self:
        """What a RunSpec says."""
        return cls(
            codec=_CODEC_IDS[spec.codec.name],
            k=spec.codec.kept,
            max_step=spec.codec.max_step,
            rule=_RULE_IDS[spec.outer.rule],
            lr=spec.outer.lr,
            momentum=spec.outer.momentum,
            parameters=spec.model.parameters,
            fragments=spec.outer.fragments,
            guard=spec.outer.guard,
            trim=spec.outer.trim,
        )

    def to_abi(self) -> tuple:
        """The values in the struct's order."""
        return tuple(self.model_dump().values())

    def check(self, spec: RunSpec) -> None:
        """Raises `SpecMismatch` when this is not what a RunSpec says."""
        theirs = OuterRule.from_spec(spec).model_dump()
        _agree((f"outer {name}", mine, theirs[name]) for name, mine in self.model_dump().items())


def _agree(values: Iterable[tuple[str, int, int]]) -> None:
    """(name, the pool's, the RunSpec's) must be equal, else `SpecMismatch`."""
    for name, pools, specs in values:
        if pools != specs:
            raise SpecMismatch(
                f"{name} is {pools} in the pool and {specs} in its RunSpec",
                "do not join this pool: its creator published two different rules",
            )


_INVITE_PREFIX = "pi-invite-"
_MAX_SIGNATURE = 1024
"""Bytes. A key's signature has 65; a wallet contract chooses its own."""


class Invite(Model):
    """A pool's permission for one operator to bring nodes; the contract's `Invite`, made by
    `Client.sign_invite`."""

    nonce: int = Field(ge=0, lt=1 << 256)
    deadline: int = Field(ge=0, lt=1 << 64)
    """Unix seconds."""
    signature: bytes = Field(max_length=_MAX_SIGNATURE)

    def to_abi(self) -> tuple:
        return self.nonce, self.deadline, self.signature

    def to_text(self) -> str:
        """One word without spaces: a prefix, then nonce, deadline and signature in URL-safe base64."""
        data = self.nonce.to_bytes(32) + self.deadline.to_bytes(8) + self.signature
        return _INVITE_PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse; `UsageError` for anything else."""
        word = text.strip()
        body = word.removeprefix(_INVITE_PREFIX)
        hint = "give the whole line that pi pool invite printed"
        if body == word or len(body) > 2 * (40 + _MAX_SIGNATURE):
            raise UsageError("this is no invite", hint)
        try:
            data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise UsageError("this invite is damaged", hint) from error
        if not 40 < len(data) <= 40 + _MAX_SIGNATURE:
            raise UsageError("this invite is not complete", hint)
        return cls(nonce=int.from_bytes(data[:32]), deadline=int.from_bytes(data[32:40]), signature=data[40:])


NO_INVITE = (0, 0, b"")
"""The contract's `Invite` for an open pool."""


class Reveal(Model):
    """What a commitment hides; the contract's `Reveal`. Roots are 32 raw bytes."""

    salt: bytes = Field(min_length=32, max_length=32)
    start_root: bytes = Field(min_length=32, max_length=32)
    update_root: bytes = Field(min_length=32, max_length=32)
    trace_root: bytes = Field(min_length=32, max_length=32)
    state_in: bytes = Field(min_length=32, max_length=32)
    state_out: bytes = Field(min_length=32, max_length=32)
    norm: int = Field(ge=0, lt=1 << 128)
    width: int = Field(ge=1, lt=1 << 16)

    def to_abi(self) -> tuple:
        return tuple(getattr(self, name) for name in type(self).model_fields)

    @classmethod
    def from_abi(cls, values: tuple) -> Self:
        return cls(**dict(zip(cls.model_fields, values, strict=True)))
