"""Models by name, from one for tests to one for GPUs."""

from codebyte.config import LevelConfig, ModelConfig


def _preset(
    local: int,
    trunk: int,
    depth: int,
    *,
    context: int,
    decoder: int = 1,
    buckets: int = 16384,
    ngram_dim: int = 128,
) -> ModelConfig:
    return ModelConfig(
        levels=(
            LevelConfig(dim=local, encoder_layers=1, layers=decoder, mixing="conv", patch_size=16),
            LevelConfig(dim=trunk, layers=depth, head_dim=64),
        ),
        context=context,
        ngrams=(2, 3, 4, 6, 8),
        ngram_buckets=buckets,
        ngram_dim=ngram_dim,
        matches=(2, 3, 4, 5, 6, 8, 12, 16, 24, 32),
        match_words=(0, 1, 2),
        match_depth=4,
    )


PRESETS: dict[str, ModelConfig] = {
    # for tests: every kind of part, no size
    "tiny": ModelConfig(
        levels=(
            LevelConfig(dim=32, encoder_layers=1, layers=1, mixing="conv", patch_size=8),
            LevelConfig(dim=32, layers=2, head_dim=16),
        ),
        context=128,
        ngrams=(2, 3),
        ngram_buckets=64,
        ngram_dim=16,
        matches=(4,),
    ),
    # the packaged model: two CPU cores, an hour or a few
    "small": _preset(128, 192, 6, context=8192, decoder=2),
    # two CPU cores with AMX: as many bytes a second as "small" without
    "server": _preset(256, 384, 10, context=8192, decoder=2),
    # for streams without end: sparse attention and matches of a limited reach (streaming.py)
    "stream": ModelConfig(
        levels=(
            LevelConfig(dim=64, encoder_layers=1, layers=1, mixing="conv", patch_size=16),
            LevelConfig(dim=128, layers=3, pattern=("window", "strided"), window=64, stride=8),
        ),
        context=4096,
        ngrams=(2, 3, 4, 6),
        ngram_dim=32,
        matches=(4, 8, 16),
        match_reach=16384,
    ),
    # one GPU and larger; the figures are in docs/model.md
    "base": _preset(512, 768, 12, context=8192, decoder=3, buckets=65536, ngram_dim=256),
    "medium": _preset(640, 1152, 20, context=8192, decoder=3, buckets=65536, ngram_dim=320),
    "large": _preset(768, 1536, 26, context=16384, decoder=4, buckets=131072, ngram_dim=384),
}
