"""codebyte reads repositories as bytes: complete, search, scan and train with one small byte model.

The public names below are found on first use, so that `import codebyte` and `codebyte --help` need
not wait for torch.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codebyte.checkpoint import load, save
    from codebyte.config import ModelConfig, SamplingParams, TrainConfig
    from codebyte.corpus import Corpus
    from codebyte.decode import generate
    from codebyte.dropin import MEGABYTE, TerraByte
    from codebyte.errors import CodebyteError
    from codebyte.megabyte import Megabyte
    from codebyte.presets import PRESETS
    from codebyte.scoring import surprisal
    from codebyte.streaming import stream_states, stream_surprisal
    from codebyte.training import train

__version__ = "0.1.0"

__all__ = [
    "MEGABYTE",
    "PRESETS",
    "CodebyteError",
    "Corpus",
    "Megabyte",
    "ModelConfig",
    "SamplingParams",
    "TerraByte",
    "TrainConfig",
    "generate",
    "load",
    "save",
    "stream_states",
    "stream_surprisal",
    "surprisal",
    "train",
]

# No name may also be the name of a module here: importing the module would replace the name.
_HOMES = {
    "MEGABYTE": "codebyte.dropin",
    "PRESETS": "codebyte.presets",
    "CodebyteError": "codebyte.errors",
    "Corpus": "codebyte.corpus",
    "Megabyte": "codebyte.megabyte",
    "ModelConfig": "codebyte.config",
    "SamplingParams": "codebyte.config",
    "TerraByte": "codebyte.dropin",
    "TrainConfig": "codebyte.config",
    "generate": "codebyte.decode",
    "load": "codebyte.checkpoint",
    "save": "codebyte.checkpoint",
    "stream_states": "codebyte.streaming",
    "stream_surprisal": "codebyte.streaming",
    "surprisal": "codebyte.scoring",
    "train": "codebyte.training",
}

# In a checkout apps, indexer and tasks lie beside this folder; in a wheel, inside it.
_checkout = Path(__file__).parent.parent
if (_checkout / "train_code.py").is_file():
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'codebyte' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
