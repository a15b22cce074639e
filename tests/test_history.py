"""What commits say of the files that they changed."""

import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeRepo
from git import Repo
from indexed import commit

from codebyte.errors import StaleIndexError
from codebyte.indexer.history import (
    MOST_FILES,
    SATURATED,
    SHARE,
    UNIT,
    History,
    read_history,
)
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.words import terms_of

TOLD = [
    ("Retry uploads after a timeout (#12)", ["net/client.py"]),
    ("Sign cookies", ["web/session.py", "net/client.py"]),
    ("Merge branch 'cookies'", ["web/session.py"]),
    ("Format everything, cookies too", [f"f{i}.py" for i in range(MOST_FILES + 1)]),
]


def same(one: History, other: History) -> None:
    for name in History.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_a_word_counts_for_each_file_less_where_there_are_more() -> None:
    history = History.of(["head"], TOLD)
    assert history.num == 2  # neither the merge nor what touched everything
    assert history.files == ("net/client.py", "web/session.py")
    assert "12" not in history.terms
    found = {
        (history.terms[term], history.files[file]): count
        for term, file, count in zip(history.term_of, history.file_of, history.counts, strict=True)
    }
    (cookie,), (upload,) = terms_of("cookies"), terms_of("uploads")
    half = round(UNIT / math.sqrt(2))
    assert found[cookie, "web/session.py"] == found[cookie, "net/client.py"] == half
    assert found[upload, "net/client.py"] == UNIT
    assert (upload, "web/session.py") not in found


def test_files_have_the_textbook_score_of_their_commits() -> None:
    history = History.of(["head"], TOLD)
    (cookie,) = terms_of("cookies")
    lengths = np.bincount(history.file_of, history.counts / UNIT)
    rarity = math.log1p((2 - 1 + 0.5) / (1 + 0.5))
    said = round(UNIT / math.sqrt(2)) / UNIT
    expected = [
        2 * rarity * said / (said + SATURATED * (1 - SHARE + SHARE * own / lengths.mean()))
        for own in lengths
    ]
    assert history.scores({cookie: 2.0, "nowhere": 1.0}).tolist() == pytest.approx(expected)
    assert History.of(["head"], []).scores({cookie: 1.0}).tolist() == []


def test_what_came_after_joins_as_if_read_at_once() -> None:
    later = [("Sign cookies again", ["web/session.py"]), ("New parser", ["web/parse.py"])]
    joined = History.of(["old"], TOLD).joined(History.of(["head"], later))
    same(joined, History.of(["head"], TOLD + later))
    same(History.of(["old"], []).joined(History.of(["head"], TOLD)), History.of(["head"], TOLD))


def test_it_survives_being_packed() -> None:
    for told in (TOLD, []):
        history = History.of(["head"], told)
        same(History.unpack(history.pack()), history)


def test_a_damaged_one_says_what_to_do() -> None:
    packed = History.of(["head"], TOLD).pack()
    for damaged in (packed[:40], packed[: len(packed) // 2], b""):
        with pytest.raises(StaleIndexError, match="history in the index is damaged"):
            History.unpack(damaged)


def test_a_first_line_without_end_is_read_in_part(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "r", {"a.py": b"x = 1\n" * 20})
    commit(folder, {"a.py": b"x = 2\n" * 20}, "backoff " * 5_000 + "throttle")
    history = read_history(Repo(folder), [Repo(folder).head.commit.hexsha])
    assert history.scores({terms_of("backoff")[0]: 1.0}).any()
    assert terms_of("throttle")[0] not in history.terms


def test_a_repository_tells_it_and_only_what_is_new_is_read(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_repo(tmp_path / "r", {"a.py": b"x = 1\n" * 20, "b b.py": b"y = 1\n" * 20})
    repo = Repo(folder)
    first = read_history(repo, [repo.head.commit.hexsha])
    commit(folder, {"b b.py": b"y = 2\n" * 20}, "throttle the backoff\n\nbody")
    head = repo.head.commit.hexsha
    whole = read_history(repo, [head])
    (term,) = terms_of("backoff")
    assert {whole.files[i] for i in np.flatnonzero(whole.scores({term: 1.0}))} == {"b b.py"}
    asked: list[object] = []
    log = History.of
    monkeypatch.setattr(
        History, "of", lambda heads, told: asked.append(list(told)) or log(heads, told)
    )
    same(read_history(repo, [head], first), whole)
    assert asked == [[("throttle the backoff", ["b b.py"])]]
    assert read_history(repo, [head], whole) is whole
    gone = History.of(["0" * 40], TOLD)  # a commit that was rewritten
    same(read_history(repo, [head], gone), whole)


def test_nothing_that_the_repository_names_is_run(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "r", {"a.py": b"x = 1\n" * 20})
    script, ran = tmp_path / "run", tmp_path / "ran"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n")
    os.chmod(script, 0o755)
    for name in ("gpg.program", "diff.external", "core.fsmonitor", "core.pager"):
        subprocess.run(["git", "-C", folder, "config", name, script], check=True)
    subprocess.run(["git", "-C", folder, "config", "log.showSignature", "true"], check=True)
    signed = b"tree %s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n" % (
        subprocess.check_output(["git", "-C", folder, "rev-parse", "HEAD^{tree}"]).strip()
    )
    signed += b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\nsign\n"
    oid = (
        subprocess.run(
            ["git", "-C", folder, "hash-object", "-t", "commit", "-w", "--stdin"],
            input=signed,
            check=True,
            capture_output=True,
        )
        .stdout.decode()
        .strip()
    )
    assert read_history(Repo(folder), [oid]).num == 1
    assert not ran.exists()


def test_git_that_cannot_tell_it_leaves_an_empty_one(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "r", {"a.py": b"x = 1\n" * 20})
    for heads in (["f" * 40], []):
        history = read_history(Repo(folder), heads)
        assert (history.heads, history.num, history.files) == ((), 0, ())


def test_a_file_is_found_by_what_its_commits_say(tmp_path: Path, make_repo: MakeRepo) -> None:
    noise = {f"src/n{i}.py": b"def other_%d():\n    return %d\n" % (i, i) for i in range(8)}
    folder = make_repo(
        tmp_path / "r", {"src/wait.py": b"def pause(n):\n    return 2 ** n\n", **noise}
    )
    question = "how is exponential backoff computed"
    with CodeIndex(tmp_path / "index") as index:
        index.update(folder)
        assert "src/wait.py" not in [hit.path for hit in index.search(question, 3, "lexical")]
        commit(
            folder,
            {"src/wait.py": b"def pause(n):\n    # how long\n    return 2 ** n\n"},
            "Compute the exponential backoff",
        )
        index.update(folder)
        assert index.search("how long is exponential backoff", 1)[0].path == "src/wait.py"
        index.remove("r")
        assert index.store.rows("SELECT count(*) FROM histories") == [(0,)]
