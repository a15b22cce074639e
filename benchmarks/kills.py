"""kill -9 at random moments of adapting and of indexing: what was there before is still usable.

A tiny model and a repository of 120 files, so that every moment of a run is met: the run's usual
length is measured first, and the kills are spread evenly over it, in an order drawn by a seed.
After each kill, in a new process:

    adapting    the checkpoint loads, and gives the bits of the model before, or of a finished run
    indexing    the index loads, and every name is found, of the files before or of those after
    going on    the next run, resumed where it may be, does not refuse to begin

Each run is a fork of this process, which itself imports the modules and no more.
"""

import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report import Check, Report, parser

KILLS = 20
FILES = 120
TEXT = b"alpha = beta(gamma)\nfor name in names:\n    print(name, alpha)\n" * 40


def main() -> None:
    """Runs the benchmark."""
    args = parser(__doc__).parse_args()
    kills = 4 if args.quick else KILLS
    report = Report("kills", quick=args.quick, packages=("torch", "faiss-cpu"))
    for module in ("codebyte.tasks.adapt", "codebyte.indexer.index"):
        importlib.import_module(module)  # once, not in every fork
    rows, checks, results = [], {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, subject in (("adapting", Adapting), ("indexing", Indexing)):
            usable, went_on, died = killed(subject(Path(scratch) / name), kills)
            rows.append([name, died, usable, went_on])
            checks[f"{name}: usable after a kill"] = Check(usable / kills, 1.0)
            checks[f"{name}: goes on afterwards"] = Check(went_on / kills, 1.0)
            results[name] = {"kills": kills, "died": died, "usable": usable, "went_on": went_on}
    report.table([f"of {kills} runs", "killed in time", "usable", "went on"], rows)
    report.finish(checks, unit="share", spread=[0.0, 1.0], **results)


def killed(subject: "Adapting | Indexing", kills: int) -> tuple[int, int, int]:
    """How often what was there was usable, the next run began, and the kill came in time."""
    child(subject.prepare)
    began = time.monotonic()
    assert child(subject.run) is not None
    usual = time.monotonic() - began
    moments = [usual * (i + 0.5) / kills for i in range(kills)]
    random.Random(1).shuffle(moments)
    usable = went_on = died = 0
    for moment in moments:
        child(subject.change)
        died += child(subject.run, moment) is None
        usable += bool(child(subject.usable))
        went_on += child(subject.run) is not None
    return usable, went_on, died


def child(function: Callable[[], Any], kill_after: float | None = None) -> Any:
    """What a function gives in a fork; None if the fork was killed or the function failed."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.close(reader)
        try:
            os.write(writer, json.dumps(function()).encode())
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writer)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process, signal.SIGKILL)
    with open(reader, "rb") as file:
        said = file.read()
    os.waitpid(process, 0)
    return json.loads(said) if said else None


class Adapting:
    """Adaptations one after the other, into the same folder."""

    def __init__(self, folder: Path) -> None:
        self.out = folder
        self.noted = folder.with_suffix(".json")  # bits of the probe, of every finished model

    def prepare(self) -> bool:
        """The model that was there before."""
        import torch

        from codebyte.checkpoint import save
        from codebyte.megabyte import Megabyte
        from codebyte.presets import PRESETS

        torch.manual_seed(0)
        save(Megabyte(PRESETS["tiny"]), self.out)
        self.noted.write_text(json.dumps([self._bits()]))
        return True

    def change(self) -> bool:
        """Nothing changes: the same text is learned again."""
        return True

    def run(self) -> bool:
        """One adaptation, resumed where the last one was interrupted; saved after every step."""
        import torch

        from codebyte import checkpoint
        from codebyte.indexer.repo import SourceFile
        from codebyte.tasks import adapt as module
        from codebyte.tasks.replay import Replay

        torch.set_num_threads(1)
        module._SAVE_EVERY = 0.0
        ticks = iter(range(1000))
        files = [
            SourceFile(repo="own", path=f"{name}.py", language="python", data=TEXT[i:])
            for i, name in enumerate("abc")
        ]
        go_code = tuple(b"func Next%d(n int) int {\n\treturn n\n}\n" % i * 8 for i in range(24))
        module.adapt(
            checkpoint.load(self.out),
            files[:2],
            files[2:],
            self.out,
            module.AdaptConfig(minutes=4 / 60, most_forgotten=9.0, lines=1),
            replay=Replay(tuple(f"{i}.go" for i in range(24)), go_code),
            resume=module.resumable(self.out),
            clock=lambda: float(next(ticks)),
        )
        self.noted.write_text(json.dumps([*json.loads(self.noted.read_text()), self._bits()]))
        return True

    def usable(self) -> bool:
        """Whether the checkpoint is one that was there before, or that of a whole run."""
        from codebyte import checkpoint

        known = self._bits() in json.loads(self.noted.read_text())
        # A run that was killed between its last file and our note of it is a whole one as well.
        notes = json.loads((self.out / checkpoint.CONFIG_NAME).read_text())["training"]
        return known or notes.get("adapted", {}).get("finished") is True

    def _bits(self) -> float:
        from codebyte import checkpoint, surprisal

        return float(surprisal(checkpoint.load(self.out), TEXT[:200]).sum())


class Indexing:
    """Updates of one index, by words, after every file has changed."""

    def __init__(self, folder: Path) -> None:
        self.repo, self.index = folder, folder.with_suffix(".index")

    def prepare(self) -> bool:
        """The index that was there before."""
        self.repo.mkdir(parents=True)
        self._write(0)
        return self.run()

    def change(self) -> bool:
        """Every file gets another text."""
        number = int((self.repo / "f0.py").read_text().split("gen_")[1].split("_")[0])
        self._write(number + 1)
        return True

    def run(self) -> bool:
        """Brings the index up to date."""
        from codebyte.indexer.index import CodeIndex

        with CodeIndex(self.index) as index:
            index.update(self.repo)
        return True

    def usable(self) -> bool:
        """Whether each file's function is found, of one generation or the other."""
        from codebyte.indexer.index import CodeIndex

        with CodeIndex.load(self.index) as index:
            found = [index.search(f"name{i}", 1, mode="lexical") for i in range(0, FILES, 10)]
        return all(
            hits and hits[0].path == f"f{10 * i}.py" and "gen_" in hits[0].snippet
            for i, hits in enumerate(found)
        )

    def _write(self, generation: int) -> None:
        for i in range(FILES):
            text = f"def name{i}(value):\n    return gen_{generation}_{i} + value * {i}\n"
            (self.repo / f"f{i}.py").write_text(text)


if __name__ == "__main__":
    main()
