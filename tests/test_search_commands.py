import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import MakeRepo
from indexed import commit
from typer.testing import CliRunner

from codebyte.apps.cli import app
from codebyte.apps.hits import best_lines, print_hits
from codebyte.errors import InputError
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.searching import Hit
from codebyte.indexer.updating import only_writer
from codebyte.indexer.watch import follow

GREET = b'def greet(name):\n    """Greets a person."""\n    return f"Hello, {name}"\n'
RETRY = b'def back_off(attempt):\n    """Waits after a failed attempt."""\n    sleep(2**attempt)\n'


def codebyte(*arguments: str | Path) -> tuple[str, str]:
    """Runs a command that works: its standard output and error."""
    done = CliRunner().invoke(app, [str(it) for it in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


@pytest.fixture
def repo(tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_repo(tmp_path / "shop", {"a.py": GREET, "deep/b.py": RETRY})
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CODEBYTE_INDEX", raising=False)
    return folder


def test_index_then_search_shows_place_symbol_reason_and_lines(repo: Path) -> None:
    out, err = codebyte("index", "--words-only")
    assert re.fullmatch(
        r"shop \(working tree [0-9a-f]{12}\): 2 files, 2 of them read; 2 chunks added, 0 removed; "
        r"no file left out\n",
        out,
    )
    assert err == "2 chunks, 0% of them searchable by meaning, the rest by words\n"
    out, err = codebyte("search", "where", "is", "it", "backed", "off", "--lines", "2", "-k", "1")
    place, *code = out.splitlines()
    assert re.fullmatch(r"deep/b\.py:1-3  back_off  \d\.\d\d by words", place)
    assert code == ["  1  def back_off(attempt):", '  2      """Waits after a failed attempt."""']
    assert err == "2 chunks, 0% of them searchable by meaning, the rest by words\n"


def test_json_lines_hold_what_a_program_needs(repo: Path) -> None:
    codebyte("index", "--words-only")
    out, _ = codebyte("search", "back_off", "--json", "-k", "1", "--lang", "python")
    (line,) = [json.loads(line) for line in out.splitlines()]
    assert line.pop("score") > 0
    assert line == {
        "path": "deep/b.py",
        "start_line": 1,
        "end_line": 3,
        "symbol": "back_off",
        "kind": "function",
        "language": "python",
        "repo": "shop",
        "why": "words",
        "copies": 0,
        "snippet": RETRY.decode(),
    }
    assert codebyte("search", "back_off", "--json", "--path", "*.go")[0] == ""


def test_the_index_lies_in_the_working_copy_and_git_does_not_see_it(repo: Path) -> None:
    codebyte("index", "--words-only")
    assert (repo / ".codebyte" / "index" / "index.db").is_file()
    seen = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True)
    assert seen.stdout == ""
    assert "2 files, 0 of them read; 0 chunks added" in codebyte("index", "--words-only")[0]


def test_a_folder_deeper_in_the_working_copy_uses_the_same_index(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "c.py").write_bytes(RETRY.replace(b"2", b"3"))
    monkeypatch.chdir(repo / "deep")
    assert codebyte("index", "--words-only")[0].startswith("shop (working tree")
    assert codebyte("search", "greet", "-k", "1", "--lines", "0")[0].startswith("a.py:1-3")
    out, _ = codebyte("similar", "b.py:3", "-k", "1", "--lines", "0")
    assert out.startswith("c.py:1-3  back_off")


def test_status_says_what_is_stale_and_what_was_left_out(repo: Path) -> None:
    commit(repo, {"logo.png": b"\x89PNG", "c.py": b""})
    codebyte("index", "--words-only")
    out, _ = codebyte("status")
    assert "2 files left out: 1 empty, 1 not source" in out
    assert out.endswith("  up to date\n")
    (repo / "a.py").write_bytes(RETRY)
    assert codebyte("status")[0].endswith("  stale: 1 file has changed\n")
    found = json.loads(codebyte("status", "--json")[0])
    assert (found["chunks"], found["coverage"], found["model"]) == (2, 0.0, None)
    (it,) = found["revisions"]
    assert it["skipped"] == {"empty": 1, "not source": 1}
    assert it["skipped_paths"] == {"empty": ["c.py"], "not source": ["logo.png"]}


def test_status_says_how_to_forget_a_folder_that_was_moved(repo: Path) -> None:
    codebyte("index", "--words-only", "--index", repo.parent / "index", repo)
    repo.rename(repo.parent / "moved")
    out, _ = codebyte("status", "--index", repo.parent / "index")
    assert out.endswith("  not there any more: `codebyte index --remove shop` forgets it\n")
    assert codebyte("index", "--remove", "shop", "--index", repo.parent / "index")[0] == (
        "shop: 2 chunks removed\n"
    )


def test_repositories_are_forgotten_by_name(repo: Path, make_repo: MakeRepo) -> None:
    other = make_repo(repo.parent / "other", {"c.py": GREET})
    codebyte("index", "--words-only", repo, other)
    assert codebyte("index", "--remove", "other")[0] == "other: 1 chunks removed\n"
    assert {it["repo"] for it in json.loads(codebyte("status", "--json")[0])["revisions"]} == {
        "shop"
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "greet", "--index", "nowhere"], "nowhere holds no index: make one with"),
        (["status", "--index", "nowhere"], "nowhere holds no index"),
        (["index", "nowhere", "--words-only"], "nowhere is not a folder"),
        (["index", "file:///x", "--words-only"], "is no URL to clone"),
        (["index", "--rev", "nosuch", "--words-only"], "has no revision 'nosuch'"),
        (["index", "--revision", "nosuch", "--words-only"], "has no revision 'nosuch'"),
        (["search", "greet", "--rev", "nosuch"], "which has: working tree"),
        (["search", "/(/"], "/(/ is no regular expression"),
        (["search", "x" * 100_000], "the query has 100,000 characters: ask with at most"),
        (["search", "greet", "--mode", "dense"], "mode 'dense' cannot be used"),
        (["similar", "a.py:900"], "a.py is not in the index, or has nothing to find at line 900"),
        (["similar", "nope.py:1"], "nope.py cannot be read"),
        (["index", "--remove", "nope"], "nope is not in the index, which has: shop"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    repo: Path, arguments: list[str], message: str
) -> None:
    codebyte("index", "--words-only")
    done = CliRunner().invoke(app, arguments)
    assert message in str(done.exception)
    assert len(str(done.exception).splitlines()) == 1


def test_one_bad_source_does_not_keep_the_others_out(repo: Path) -> None:
    done = CliRunner().invoke(app, ["index", "--words-only", "nowhere", "."])
    assert "nowhere is not a folder" in done.stderr
    assert str(done.exception) == "1 of 2 sources could not be indexed"
    assert codebyte("search", "greet", "-k", "1", "--lines", "0")[0].startswith("a.py")


def test_search_has_a_head_of_its_own_and_loads_no_checkpoint(repo: Path) -> None:
    codebyte("index", "--checkpoint", "nowhere")
    _, err = codebyte("search", "greets a person", "--checkpoint", "nowhere")
    assert err == "2 chunks, 100% of them searchable by meaning\n"
    codebyte("similar", "a.py:1", "--checkpoint", "nowhere")


def test_help_says_what_an_option_does_to_its_own_command() -> None:
    def said(command: str) -> str:
        helped = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        return " ".join(helped.stdout.split())

    assert "index [OPTIONS] [REPO]... " in said("index")
    assert "Spread repositories over the actors of this Ray cluster." in said("index")
    assert "Ask the shards of the index on this Ray cluster." in said("search")
    for command in ("index", "search", "similar"):
        assert "search has a head of its own and asks no language model." in said(command)


def test_similar_code_is_that_of_the_file_named(
    repo: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = {"b.py": GREET.replace(b"greet", b"hail"), "c.py": RETRY.replace(b"2", b"3")}
    other = make_repo(repo.parent / "other", {"a.py": RETRY, **twins})
    codebyte("index", "--words-only", "--index", repo.parent / "index", repo, other)
    for folder, symbol in ((repo, "hail"), (other, "back_off")):
        monkeypatch.chdir(folder)
        out, _ = codebyte("similar", "a.py:1", "--index", repo.parent / "index", "--json")
        assert json.loads(out.splitlines()[0])["symbol"] == symbol


def test_the_lines_shown_are_those_with_most_of_the_query() -> None:
    snippet = "def f():\n    a = 1\n    wait()\n    retry = wait\n    return a\n"
    assert best_lines(snippet, {"wait", "retry"}, 2) == (2, ["    wait()", "    retry = wait"])
    assert best_lines(snippet, set(), 2) == (0, ["def f():", "    a = 1"])
    assert best_lines("one", {"x"}, 5) == (0, ["one"])
    assert best_lines("", {"x"}, 5) == (0, [])


def test_lines_shown_are_counted_by_newlines_alone() -> None:
    snippet = "a\x0c\u2028\x85b\r\n\n    wait()\n\n"
    assert best_lines(snippet, {"wait"}, 1) == (2, ["    wait()"])
    assert best_lines(snippet, set(), 9) == (0, ["a\x0c\u2028\x85b", "", "    wait()", ""])


def test_control_characters_of_a_repository_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evil = "\x1b]0;owned\x07[red]x"
    hit = Hit(
        id=0, path=evil, start_line=1, end_line=1, score=1.0, symbol=evil, kind="lines",
        language="python", repo="r", snippet=evil, why="words",
    )  # fmt: skip
    print_hits([hit], "owned", 3)
    out = capsys.readouterr().out
    assert "\x1b" not in out.replace("\x1b[", "") or "\x1b]" not in out
    assert "\x07" not in out
    assert out.count("[red]x") == 3


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Path, CodeIndex]:
    """A plain folder with one file, below one of a name that is passed over, and its index."""
    folder = tmp_path / "venv" / "plain"
    folder.mkdir(parents=True)
    (folder / "a.py").write_bytes(GREET)
    index = CodeIndex(tmp_path / "index")
    index.update(folder)
    return folder, index


def test_watching_follows_what_is_written(watched: tuple[Path, CodeIndex], tmp_path: Path) -> None:
    folder, index = watched
    changes = follow(index, [folder], settle_ms=20)
    assert next(changes).added == 0
    (folder / "b.py").write_bytes(RETRY)
    assert next(changes).added == 1
    assert index.search("back_off", 1)[0].path == "b.py"
    changes.close()
    with pytest.raises(InputError, match="cannot be watched"):
        next(follow(index, [tmp_path / "nowhere"]))


def test_watching_begins_with_what_was_written_since_the_last_update(
    watched: tuple[Path, CodeIndex],
) -> None:
    folder, index = watched
    (folder / "b.py").write_bytes(RETRY)
    changes = follow(index, [folder], settle_ms=20, started=(folder / "a.py").unlink)
    done = next(changes)
    assert (done.added, done.removed) == (1, 1)
    changes.close()


def test_watching_goes_on_after_an_update_that_failed(
    watched: tuple[Path, CodeIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebyte.indexer.updating.LOCK_SECONDS", 0.1)
    folder, index = watched
    (folder / "b.py").write_bytes(RETRY)
    changes = follow(index, [folder], settle_ms=20)
    with only_writer(index.folder):
        assert "another process is writing" in str(next(changes))
    assert next(changes).added == 1
    changes.close()


def test_what_fails_while_watching_is_said(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [InputError("another process is writing")]
    monkeypatch.setattr("codebyte.indexer.watch.follow", lambda *_: iter(failed))
    _, err = codebyte("index", "--words-only", "--watch")
    assert err.endswith("codebyte: another process is writing; it is tried again\n")
