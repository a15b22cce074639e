"""Small trees to scan, and a scorer that stands for the model where its figures do not matter."""

from collections.abc import Iterable, Iterator

from codebyte.tasks.findings import FileReport
from codebyte.tasks.scan_workers import Job, Scorer

# Twelve lines of ordinary code, long enough to be scored.
CODE = b"""import json


def load(path, limit=10):
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    total = 0
    for value in values[:limit]:
        if value > 0:
            total += value
    return total
"""
KEY = b'TOKEN = "ghp_' + b"q7Zt0pXw3RkV9sYbN2mL5cHd8fJg1aTe4uQi" + b'"\n'


class Refusing(Scorer):
    """A scorer that must not be asked for anything: all there is to know is in the cache."""

    def start(self, documents: object, total: int) -> None:
        raise AssertionError("a model was loaded")


class Interrupted(Scorer):
    """A scorer whose work is ended by Ctrl-C after some files."""

    def __init__(self, scorer: Scorer, files: int) -> None:
        self.scorer, self.files = scorer, files

    def start(self, documents: object, total: int) -> None:
        self.scorer.start(documents, total)  # type: ignore[arg-type]

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, FileReport]]:
        for done, item in enumerate(self.scorer.run(jobs)):
            if done == self.files:
                raise KeyboardInterrupt
            yield item

    def stop(self) -> None:
        self.scorer.stop()
