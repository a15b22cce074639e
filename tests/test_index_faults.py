"""What can go wrong with an index: each time one sentence, and the index as it was before."""

import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeRepo
from indexed import Bag, commit

from codebyte.errors import InputError, StaleIndexError
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.listing import Listing, list_source
from codebyte.indexer.report import report
from codebyte.indexer.updating import only_writer

OLD = {"a.py": b'def greet(name):\n    """Greets."""\n    return name\n'}
NEW: dict[str, bytes | None] = {
    "a.py": None,
    **{f"n{i}.py": b"def new_%d(x):\n    return x + %d\n" % (i, i) for i in range(40)},
}
RUN = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
from indexed import Bag
from codebyte.indexer import embedding, updating
from codebyte.indexer.index import CodeIndex
updating.BATCH_BYTES = 400
embedding.BATCH = 8
"""


def run(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    source = RUN.format(tests=str(Path(__file__).parent)) + textwrap.dedent(code)
    command = [sys.executable, "-c", source, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, **options  # type: ignore[call-overload]
    )  # fmt: skip


def names(index: CodeIndex) -> set[str]:
    return {symbol for (symbol,) in index.store.rows("SELECT symbol FROM texts WHERE id IN (SELECT text FROM chunks JOIN documents ON documents.chunk = chunks.id)")}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(("stage", "share"), [("reading", 0.5), ("words", 0.0), ("embedding", 0.4)])
def test_a_killed_run_leaves_the_previous_index_and_the_next_goes_on(
    tmp_path: Path, make_repo: MakeRepo, stage: str, share: float
) -> None:
    repo, folder = make_repo(tmp_path / "repo", OLD), tmp_path / "index"
    CodeIndex(folder, Bag()).update(repo)
    commit(repo, NEW)
    killed = run(
        """
        folder, repo, stage, share = sys.argv[1:]
        def progress(at, done, total):
            if at == stage and done >= float(share) * total:
                os.kill(os.getpid(), signal.SIGKILL)
        CodeIndex(folder, Bag()).update(repo, progress=progress)
        """,
        *(folder, repo, stage, share),
    )
    assert killed.returncode == -signal.SIGKILL
    with CodeIndex.load(folder, Bag()) as index:
        words_are_in = stage == "embedding"
        assert names(index) == ({f"new_{i}" for i in range(40)} if words_are_in else {"greet"})
        hits = index.search("new_7" if words_are_in else "greet", 1, mode="lexical")
        assert [hit.symbol for hit in hits] == ["new_7" if words_are_in else "greet"]
        before = index.coverage()
        assert (before.share > 0) == (stage != "embedding" or before.embedded > 0)
    embedder = Bag()
    with CodeIndex(folder, embedder) as index:
        done = index.update(repo)
        if stage != "words":
            assert done.new_contents < 40  # what was read before the end is kept
        assert names(index) == {f"new_{i}" for i in range(40)}
        assert index.coverage().share == 1.0
        assert embedder.embedded == 40 - (before.embedded if stage == "embedding" else 0)
        fresh = CodeIndex(None, Bag())
        fresh.update(repo)
        for query in ("new_7", "x + 3"):
            a, b = (
                [(h.path, round(h.score, 4)) for h in it.search(query, 3)] for it in (index, fresh)
            )
            assert a == b
    assert {file.name for file in folder.iterdir() if "words" in file.name} <= {
        f"words-{i}.npz" for i in range(10)
    }


def test_two_read_while_one_writes(tmp_path: Path, make_repo: MakeRepo) -> None:
    repo, folder = make_repo(tmp_path / "repo", OLD), tmp_path / "index"
    writer = CodeIndex(folder, Bag())
    writer.update(repo)
    reading = textwrap.dedent(
        """
        folder = sys.argv[1]
        index = CodeIndex.load(folder, Bag())
        print("ready", flush=True)
        seen = []
        while True:
            hits = index.search("sym:version_ version", 1)
            number = int(hits[0].symbol.split("_")[1]) if hits else 0
            assert not hits or hits[0].snippet == f"def version_{number}(): pass\\n"
            if not seen or number != seen[-1]:
                seen.append(number)
            if number == 12:
                break
        print(seen == sorted(seen), flush=True)
        """
    )
    source = RUN.format(tests=str(Path(__file__).parent)) + reading
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", source, str(folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for number in range(1, 13):
            (repo / "v.py").write_bytes(b"def version_%d(): pass\n" % number)
            writer.update(repo)
        for reader in readers:
            assert reader.communicate(timeout=30)[0] == "True\n"
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()


def test_one_writes_while_another_reports(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path / "repo", OLD)
    index = CodeIndex(tmp_path / "index")
    index.update(repo)
    (repo / "b.py").write_bytes(b"def parse(text):\n    return int(text)\n")

    def listed(*arguments: Any, **options: Any) -> Listing:
        assert pool.submit(index.update, repo).result(timeout=20).added == 1
        return list_source(*arguments, **options)

    monkeypatch.setattr("codebyte.indexer.report.list_source", listed)
    with ThreadPoolExecutor(1) as pool:
        (it,) = report(index)["revisions"]
    assert (it["files"], it["stale"]) == (1, "stale: 1 file has changed")


def test_only_a_damaged_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    store = CodeIndex(tmp_path / "index").store
    within = pytest.raises(InputError, match="cannot be written or read: cannot start")
    with store.writing(), within, store.writing():
        pass
    store.run("DROP TABLE blobs")
    with pytest.raises(StaleIndexError, match=r"damaged \(no such table"), store.reading():
        store.blobs()


def test_a_second_writer_is_told_to_wait(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebyte.indexer.updating.LOCK_SECONDS", 0.1)
    repo = make_repo(tmp_path / "repo", OLD)
    index = CodeIndex(tmp_path / "index")
    with only_writer(tmp_path / "index"), pytest.raises(InputError, match="another process is"):
        index.update(repo)
    assert index.update(repo).files == 1


def test_an_index_without_write_permission_is_still_read(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo, folder = make_repo(tmp_path / "repo", OLD), tmp_path / "index"
    CodeIndex(folder).update(repo)
    done = run(
        """
        folder, repo = sys.argv[1:]
        CodeIndex.load(folder).search("greet")  # imports what may be out of reach below
        if os.getuid() == 0:
            os.chown(folder, 0, 0)
            os.setgid(65534)
            os.setuid(65534)
        print(CodeIndex.load(folder).search("greet", 1)[0].symbol)
        try:
            CodeIndex(folder).update(repo)
        except Exception as error:
            print(type(error).__name__, error)
        """,
        *(folder, repo),
        preexec_fn=lambda: _make_readable(tmp_path),
    )
    assert done.stdout.splitlines() == [
        "greet",
        f"InputError the index in {folder} cannot be written: permission denied",
    ], done.stderr
    folder.chmod(0o755)


def _make_readable(path: Path) -> None:
    """Lets anybody read a test's folder, and nobody write in its index."""
    for parent in (path, *path.parents):
        if os.stat(parent).st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    (path / "index").chmod(0o555)


def test_a_full_disk_leaves_the_index_as_it_was(tmp_path: Path, make_repo: MakeRepo) -> None:
    repo, folder = make_repo(tmp_path / "repo", OLD), tmp_path / "index"
    CodeIndex(folder, Bag()).update(repo)
    commit(repo, {f"big{i}.py": os.urandom(40_000).hex("\n", 20).encode() for i in range(8)})
    limit = max(file.stat().st_size for file in folder.iterdir()) + 100_000
    done = run(
        """
        try:
            CodeIndex(sys.argv[1], Bag()).update(sys.argv[2])
        except Exception as error:
            print(type(error).__name__, error)
        """,
        *(folder, repo),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert re.match(r"InputError (the index in|there is no space)", done.stdout), done.stderr
    with CodeIndex(folder, Bag()) as index:
        assert [hit.symbol for hit in index.search("greet", 1)] == ["greet"]
        assert index.update(repo).files == 9


def test_an_index_of_another_version_or_damaged_is_refused(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo, whole = make_repo(tmp_path / "repo", OLD), tmp_path / "whole"
    with CodeIndex(whole, Bag()) as index:
        index.update(repo)
        index.store.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def damaged(name: str, keep: int) -> Path:
        folder = tmp_path / f"damaged-{name}-{keep}"
        shutil.copytree(whole, folder)
        with (folder / name).open("r+b") as file:
            file.truncate(keep)
        return folder

    for name, keep in (("index.db", 0), ("index.db", 5000), ("words-1.npz", 300)):
        with pytest.raises(StaleIndexError, match=r"damaged.* `codebyte index`"):
            CodeIndex.load(damaged(name, keep), Bag()).search("greet")
    with pytest.raises(StaleIndexError, match=r"`codebyte index --reembed`"):
        CodeIndex.load(damaged("vectors-1.f16", 10), Bag()).search("greet")
    other = tmp_path / "other"
    shutil.copytree(whole, other)
    with sqlite3.connect(other / "index.db") as database:
        database.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
    database.close()
    with pytest.raises(StaleIndexError, match="has format 99, this codebyte reads 3: delete"):
        CodeIndex.load(other)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "index.db").write_text("not a database at all" * 100)
    with pytest.raises(StaleIndexError, match="is damaged"):
        CodeIndex.load(tmp_path / "text")
    with pytest.raises(InputError, match="holds no index: make one with `codebyte index`"):
        CodeIndex.load(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_pattern_that_never_ends_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebyte.indexer.exact.SECONDS", 0.2)
    index = CodeIndex.from_documents([("a.py", b"x" * 4000 + b"!")], None)
    with pytest.raises(InputError, match="takes more than"):
        index.search("/(x+x+)+y/")
