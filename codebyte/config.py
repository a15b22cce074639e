"""The settings of a model, of its training and of sampling."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from codebyte.errors import ConfigError
from codebyte.vocab import EOT, VOCAB_SIZE

PATTERNS = ("full", "window", "strided", "dilated")
WIRINGS = {
    "context": "byte layers see across patches",
    "paper": "Yu et al. 2023",
    "lucidrains": "that of MEGABYTE-pytorch 0.3.6, for weights trained there",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelConfig:
    """One level of the hierarchy: blocks over places (bytes, patches, patches of patches)."""

    dim: int = 192  # width
    encoder_layers: int = 0  # blocks below the level above; the topmost level has none
    layers: int = 2  # blocks above it (the decoder); at the topmost level, the whole trunk
    mixing: str = "attention"  # how places see earlier ones: "attention" or "conv"
    pattern: str | tuple[str, ...] = "full"  # of attention (PATTERNS), or several taken in turn
    window: int = 64  # places that a sparse pattern sees, the own one included (sparse.py)
    sinks: int = 0  # first places of a row that pattern "window" sees from everywhere
    stride: int = 8  # places from one that pattern "strided" sees to the next
    dilations: tuple[int, ...] = (1, 4, 16)  # of pattern "dilated": its rates
    head_dim: int = 64  # width of an attention head
    heads: int = 0  # attention heads; 0: as many as fill dim
    ff_mult: int = 4  # hidden width of the feed-forward layer over dim
    attn_dropout: float = 0.0  # share of attention weights left out in training
    ff_dropout: float = 0.0  # share of the feed-forward layer's hidden values left out in training
    patch_size: int = 8  # places of this level in one of the level above (upper bound if by word)

    def __post_init__(self) -> None:
        for name in ("dim", "head_dim", "ff_mult", "patch_size", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least 1")
        if self.layers < 1 or self.encoder_layers < 0:
            raise ConfigError(
                f"layers {self.layers} must be at least 1 "
                f"and encoder_layers {self.encoder_layers} at least 0"
            )
        if self.mixing not in ("attention", "conv"):
            raise ConfigError(f"mixing {self.mixing!r} must be 'attention' or 'conv'")
        if not self.patterns or any(pattern not in PATTERNS for pattern in self.patterns):
            known = ", ".join(PATTERNS)
            raise ConfigError(f"pattern {self.pattern!r} must be of: {known}")
        if self.sinks < 0 or self.stride < 1:
            raise ConfigError(
                f"sinks {self.sinks} must not be negative and stride {self.stride} at least 1"
            )
        if self.dilations[:1] != (1,) or any(rate < 1 for rate in self.dilations):
            raise ConfigError(f"dilations {self.dilations} must start with 1 and be at least 1")
        if self.heads < 0:
            raise ConfigError(f"heads {self.heads} must not be negative")
        for name in ("attn_dropout", "ff_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least 0 and below 1")
        if self.mixing == "attention" and not self.heads and self.dim % self.head_dim:
            raise ConfigError(f"head_dim {self.head_dim} must divide dim {self.dim}")
        if self.mixing == "attention" and self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim} must be even for rotary positions")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns that the layers take in turn, the encoder's first."""
        return (self.pattern,) if isinstance(self.pattern, str) else self.pattern

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LevelConfig":
        """Rebuilds the settings from plain values."""
        values = dict(data)
        for name in ("pattern", "dilations"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The shape of a Megabyte; written into every checkpoint and enough to rebuild it."""

    levels: tuple[LevelConfig, ...]  # finest (bytes) first
    wiring: str = "context"  # "context": byte layers see across patches; others: see WIRINGS
    patching: str = "word"  # borders of the first level's patches: "word" or "fixed"
    context: int = 4096  # bytes in a training row; longer inputs go by overlapping windows
    vocab_size: int = VOCAB_SIZE
    ngrams: tuple[int, ...] = ()  # lengths in bytes of the hashed n-grams embedded at each byte
    ngram_buckets: int = 16384  # rows of each n-gram table
    ngram_dim: int = 128  # width of the n-gram tables
    matches: tuple[int, ...] = ()  # n: show what followed the last n bytes when they stood before
    match_words: tuple[int, ...] = ()  # k: also of the word so far with k words before (hashing.py)
    match_depth: int = 1  # how many of the places where they stood are shown, the last ones
    match_reach: int = 0  # how many bytes back they may have stood; 0: anywhere in the row
    positions: tuple[str, ...] = ("rotary",)  # wiring "lucidrains" also: "learned", both, none
    softcap: float = 0.0  # logits are bounded to +-softcap by tanh; 0 turns it off

    def __post_init__(self) -> None:
        if not self.levels:
            raise ConfigError("levels () must hold at least one LevelConfig")
        if self.wiring not in WIRINGS:
            raise ConfigError(f"wiring {self.wiring!r} must be one of: {', '.join(WIRINGS)}")
        if self.wiring != "lucidrains" and self.positions != ("rotary",):
            raise ConfigError(
                f"positions {self.positions} must be rotary in wiring {self.wiring!r}"
            )
        if self.patching not in ("word", "fixed"):
            raise ConfigError(f"patching {self.patching!r} must be 'word' or 'fixed'")
        if self.levels[-1].encoder_layers:
            raise ConfigError(
                f"encoder_layers {self.levels[-1].encoder_layers} of the topmost level must be 0"
            )
        if self.context < 1 or self.vocab_size < 2:
            raise ConfigError(
                f"context {self.context} and vocab_size {self.vocab_size} are too small"
            )
        if self.wiring == "context" and self.vocab_size <= EOT:
            raise ConfigError(
                f"vocab_size {self.vocab_size} must be above {EOT}, the id that starts every row"
            )
        if self.ngrams and min(self.ngram_buckets, self.ngram_dim) < 1:
            raise ConfigError(
                f"ngram_buckets {self.ngram_buckets} and ngram_dim {self.ngram_dim} "
                "must be at least 1"
            )
        for name in ("ngrams", "matches"):
            lengths = getattr(self, name)
            if any(n < 2 or n > 64 for n in lengths) or len(set(lengths)) != len(lengths):
                raise ConfigError(f"{name} {lengths} must be distinct lengths from 2 to 64")
        if any(k < 0 or k > 8 for k in self.match_words):
            raise ConfigError(f"match_words {self.match_words} must be numbers from 0 to 8")
        if self.match_depth < 1:
            raise ConfigError(f"match_depth {self.match_depth} must be at least 1")
        if self.match_reach < 0:
            raise ConfigError(f"match_reach {self.match_reach} must not be negative")
        if self.wiring == "context":
            return
        if self.patching == "word" or self.ngrams or self.matches or self.match_words:
            raise ConfigError(
                f"wiring {self.wiring!r} needs patching 'fixed', no ngrams and no matches"
            )
        if any(
            level.mixing != "attention" or set(level.patterns) != {"full"} or level.encoder_layers
            for level in self.levels
        ):
            raise ConfigError(
                f"wiring {self.wiring!r} needs full attention and no encoder_layers at every level"
            )

    def to_json(self) -> dict[str, Any]:
        """Gives the settings as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelConfig":
        """Rebuilds the settings from `to_json`'s values.

        Raises:
            ConfigError: for unknown or missing settings, or values out of range.
        """
        try:
            values = dict(data)
            values["levels"] = tuple(LevelConfig.from_json(level) for level in values["levels"])
            for name in ("ngrams", "matches", "match_words"):
                values[name] = tuple(int(n) for n in values.get(name, ()))
            values["positions"] = tuple(values.get("positions", ("rotary",)))
            return cls(**values)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            known = ", ".join(entry.name for entry in fields(cls))
            raise ConfigError(
                f"model settings not understood ({error}); known are: {known}"
            ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a model is trained. Sizes are in bytes, times in steps."""

    steps: int = 1000
    rows: int = 8  # rows in one global batch
    length: int = 4096  # bytes in a row
    accumulate: int = 1  # parts that a global batch is computed in
    warmup: int = 40  # steps of linear warm-up
    decay: float = 0.4  # share of the steps in which the rates fall linearly to zero
    matrix_optimizer: str = "muon"  # for the blocks' matrices: "muon" or "adamw"
    matrix_rate: float = 0.02  # for the blocks' matrices; AdamW wants about a tenth of Muon's
    table_rate: float = 0.01  # of AdamW, for embeddings and n-gram tables
    other_rate: float = 0.004  # of AdamW, for the head and all vectors
    weight_decay: float = 0.02
    clip: float = 1.0  # largest norm of the whole gradient
    fim_rate: float = 0.5  # share of rows rearranged for fill-in-the-middle
    path_rate: float = 0.3  # share of documents that carry their path
    seed: int = 1
    validate_every: int = 200  # steps
    validate_rows: int = 16
    save_every: float = 240.0  # seconds between checkpoints
    compile: bool = False  # torch.compile the step
    recompute: bool = False  # keep less for the backward pass and compute it again: for long rows

    def __post_init__(self) -> None:
        for name in ("steps", "rows", "length", "accumulate", "validate_every", "validate_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)} must be at least 1")
        if self.matrix_optimizer not in ("muon", "adamw"):
            raise ConfigError(
                f"matrix_optimizer {self.matrix_optimizer!r} must be 'muon' or 'adamw'"
            )
        if self.rows % self.accumulate:
            raise ConfigError(f"accumulate {self.accumulate} must divide rows {self.rows}")
        for name in ("decay", "fim_rate", "path_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} {getattr(self, name)} must be from 0 to 1")
        for name in ("matrix_rate", "table_rate", "other_rate", "clip", "save_every"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} {getattr(self, name)} must be above 0")
        if self.warmup < 0 or self.weight_decay < 0:
            raise ConfigError(
                f"warmup {self.warmup} and weight_decay {self.weight_decay} must not be negative"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingParams:
    """How the next byte is chosen and when to stop."""

    max_new_bytes: int = 256
    temperature: float = 0.0  # 0 is greedy
    top_k: int = 0  # keep the k likeliest bytes; 0 keeps all
    top_p: float = 1.0  # keep the likeliest bytes that make up this share
    seed: int | None = None
    stop: tuple[bytes, ...] = field(default=())  # ends before the first of these; not in the output

    def __post_init__(self) -> None:
        if self.max_new_bytes < 0:
            raise ConfigError(f"max_new_bytes {self.max_new_bytes} must not be negative")
        if not 0.0 <= self.temperature <= 100.0:
            raise ConfigError(f"temperature {self.temperature} must be from 0 to 100")
        if self.top_k < 0:
            raise ConfigError(f"top_k {self.top_k} must not be negative")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p {self.top_p} must be above 0 and at most 1")
        if any(not text for text in self.stop):
            raise ConfigError("stop b'' must not be empty")
