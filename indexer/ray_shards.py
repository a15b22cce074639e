"""Shards of an index as actors of Ray, on as many machines as its cluster has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from codebyte.errors import CodebyteError, ConfigError
from codebyte.indexer.schema import translated
from codebyte.indexer.shards import MakeEmbedder, Shard

SECONDS = 600.0  # that a shard may take to answer
SHARDS = 4  # where nobody says how many
_NAMESPACE = "codebyte"


class RayShard:
    """A shard in an actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ask(self, method: str, *arguments: Any) -> Callable[[], Any]:
        """Starts a call; see `codebyte.indexer.shards.Remote`."""
        import ray

        reference = getattr(self._actor, method).remote(*arguments)

        def answer() -> Any:
            try:
                return ray.get(reference, timeout=SECONDS)
            except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
                raise ConnectionError(f"a shard is lost: {type(error).__name__}") from error
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, CodebyteError):
                    raise error.cause from error
                raise

        return answer

    def kill(self) -> None:
        """Ends the actor; what it has written stays."""
        import ray

        ray.kill(self._actor)


def start_shards(
    address: str | None, folder: Path, count: int | None, make_embedder: MakeEmbedder
) -> list[RayShard]:
    """Starts actors, each with its part of an index, or finds those that run already.

    Args:
        address: of a running cluster, such as "ray://head:10001"; "local" starts one here, which
            ends with this process.
        folder: in which shard 3 has its index in `shard-3`, on its own machine.
        count: how many shards, which decides what each has; None for as many as at first.
        make_embedder: makes vectors of code; called in each actor.

    Raises:
        ConfigError: Ray is not installed, there is no cluster at this address, or the folder has
            another number of shards.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("Ray is not installed: run `pip install 'codebyte[ray]'`") from error
    count = _agreed(folder, count)
    if not ray.is_initialized():
        try:
            where = None if address == "local" else address
            ray.init(where, namespace=_NAMESPACE, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"there is no Ray cluster at {address}: {error}") from error
    actor = ray.remote(Shard)
    started = []
    for number in range(count):
        place = str(folder.resolve() / f"shard-{number}")
        kept = {"name": place, "namespace": _NAMESPACE, "lifetime": "detached"}
        made = actor.options(num_cpus=0.5, get_if_exists=True, **kept)
        started.append(RayShard(made.remote(place, make_embedder)))
    return started


def _agreed(folder: Path, count: int | None) -> int:
    """How many shards a folder has; the first one to say decides."""
    file = folder / "shards"
    with translated(folder):
        if file.exists():
            held = int(file.read_text(encoding="ascii"))
            if count not in (None, held):
                raise ConfigError(f"the index in {folder} has {held} shards, not {count}: leave it")
            return held
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(str(count or SHARDS), encoding="ascii")
        return count or SHARDS
