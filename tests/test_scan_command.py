"""The command `codebyte scan`, run in this process on real trees with a tiny model."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from conftest import MakeRepo
from scanned import CODE, KEY

import codebyte
from codebyte.apps.cli import app, main
from codebyte.apps.report_html import MOST_FINDINGS
from codebyte.apps.report_sarif import MOST_RESULTS
from codebyte.apps.scan_commands import _DEFAULT_TOP
from codebyte.tasks.fitted import is_fitted_to, judge_file, weights_id
from codebyte.tasks.suspicion import PACKAGED

ROOT = Path(__file__).parent.parent
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_model: codebyte.Megabyte) -> Path:
    folder = tmp_path / "model"
    codebyte.save(tiny_model, folder)
    tables = json.loads(PACKAGED.read_text()) | {"model_id": weights_id(folder)}
    (folder / "scan.json").write_text(json.dumps(tables))
    return folder


@pytest.fixture
def run(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Run:
    """Runs `codebyte scan` with arguments: the exit status, standard output and standard error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: object) -> tuple[int, str, str]:
        options = ["--jobs", "1", "--no-repairs"]
        if "--checkpoint" not in arguments:
            options += ["--checkpoint", str(checkpoint)]
        monkeypatch.setattr(sys, "argv", ["codebyte", "scan", *map(str, arguments), *options])
        with pytest.raises(SystemExit) as exit:
            main()
        out, err = capfdbinary.readouterr()
        return exit.value.code or 0, out.decode(), err.decode()

    return run


@pytest.fixture
def tree(tmp_path: Path, make_repo: MakeRepo) -> Path:
    """A repository of a clean file and one with a key on line 12."""
    return make_repo(tmp_path / "tree", {"fine.py": CODE, "src/key.py": CODE + KEY})


def kinds(out: str, kind: str = "finding") -> list[dict]:
    return [line for line in map(json.loads, out.splitlines()) if line["type"] == kind]


def test_the_exit_status_tells_clean_from_found_from_failed(run: Run, tree: Path) -> None:
    assert run(tree)[0] == 1
    assert run(tree, "--fail-on", "never")[0] == 0
    assert run(tree / "fine.py")[0] == 0
    assert run(tree / "src" / "key.py", "--fail-on", "error")[0] == 1
    assert run(tree / "src", "--fail-on", "0.99")[0] == 0
    assert run(tree / "nowhere")[0] == 2


def test_findings_are_reported_as_text_by_default(run: Run, tree: Path) -> None:
    status, out, err = run(tree)
    assert (status, err) == (1, "")
    assert "src/key.py:12:10  error CB205 secret  96%" in out.splitlines()
    assert "looks like a credential: GitHub token." in out.lower().replace("github", "GitHub")


@pytest.mark.parametrize("name", ["json", "sarif", "html", "text"])
def test_a_report_can_be_written_to_a_file(run: Run, tree: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out" / "report"
    target.parent.mkdir()
    status, out, err = run(tree, "--format", name, "--out", target)
    assert (status, out) == (1, "")
    assert err.endswith(f"findings in {target}\n")
    assert list(target.parent.iterdir()) == [target]
    head = {"json": '{"type": "finding"', "sarif": '{\n "$schema"', "html": "<!DOCTYPE html>"}
    assert target.read_text().startswith(head.get(name, "src/key.py:12"))


def test_json_is_asked_for_in_two_ways(run: Run, tree: Path) -> None:
    assert run(tree, "--json", "--no-cache") == run(tree, "--format", "json", "--no-cache")


def test_the_worst_findings_come_first_and_top_limits_them(run: Run, tree: Path) -> None:
    found = kinds(run(tree, "--json")[1])
    suspicions = [finding["suspicion"] for finding in found]
    assert suspicions == sorted(suspicions, reverse=True)
    assert kinds(run(tree, "--json", "--top", "1")[1]) == found[:1]


def test_a_second_scan_takes_unchanged_files_from_the_cache(
    run: Run, tree: Path, checkpoint: Path
) -> None:
    first = run(tree, "--json")[1]
    (tree / "fine.py").write_bytes(CODE + b"x = 1\n")
    os.utime(checkpoint / "scan.json", (1, 1))  # as another machine would have it
    again = run(tree, "--json")[1]
    assert [kinds(out, "summary")[0]["from_cache"] for out in (first, again)] == [0, 1]
    assert kinds(run(tree, "--json", "--no-cache")[1], "summary")[0]["from_cache"] == 0
    key = [f for f in kinds(again) if f["path"] == "src/key.py"]
    strip = [{k: v for k, v in f.items() if k != "rank"} for f in key]
    before = [f for f in kinds(first) if f["path"] == "src/key.py"]
    assert strip == [{k: v for k, v in f.items() if k != "rank"} for f in before]


def test_the_help_says_how_many_findings_each_format_reports() -> None:
    command = typer.main.get_command(app).commands["scan"]
    (option,) = [option for option in command.params if option.name == "top"]
    numbers = [_DEFAULT_TOP, MOST_FINDINGS, MOST_RESULTS]
    assert re.findall(r"\d[\d,]*\d", option.help) == [f"{number:,}" for number in numbers]


def test_a_baseline_silences_what_is_known_and_not_what_is_new(
    run: Run, tree: Path, tmp_path: Path
) -> None:
    baseline = tmp_path / "known.json"
    status, _, err = run(tree, "--baseline", baseline, "--write-baseline")
    assert status == 0
    assert err.endswith(f"findings are now in {baseline}\n")
    (tree / "src" / "key.py").write_bytes(b"# moved\n\n" + CODE + KEY)
    status, out, _ = run(tree, "--baseline", baseline)
    assert status == 0
    assert "in the baseline" in out
    (tree / "src" / "key.py").write_bytes(CODE + KEY + KEY.replace(b"TOKEN", b"OTHER"))
    status, out, _ = run(tree, "--baseline", baseline, "--json")
    assert status == 1
    assert [f["line"] for f in kinds(out) if f["rule"] == "CB205"] == [13]


def test_the_projects_settings_are_followed_and_the_command_line_comes_first(
    run: Run, tree: Path
) -> None:
    settings = tree / "codebyte.toml"
    settings.write_text('[scan]\nfail-on = "never"\n')
    assert run(tree)[0] == 0
    assert run(tree, "--fail-on", "error")[0] == 1
    settings.write_text('[scan]\nexclude = ["src/"]\n')
    assert run(tree)[0] == 0
    settings.write_text("[scan]\nexclude = 3\n")
    status, out, err = run(tree)
    assert (status, out) == (2, "")
    assert err == "codebyte: codebyte.toml: exclude must be a list of patterns, not 3\n"


def test_with_a_base_only_what_changed_counts(run: Run, tree: Path) -> None:
    assert run(tree, "--base", "HEAD")[:2] == (0, "Nothing suspicious in 0 files changed since "
        + subprocess.check_output(["git", "-C", tree, "rev-parse", "HEAD"], text=True)[:12]
        + " (0.0 KB).\n")  # fmt: skip
    (tree / "fine.py").write_bytes(CODE + KEY)
    status, out, _ = run(tree, "--base", "HEAD", "--json")
    assert status == 1
    assert {(f["path"], f["line"]) for f in kinds(out)} == {("fine.py", 12)}
    assert run(tree, "--base", "HEAD", "--rev", "HEAD")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{tree}/no",), "{tree}/no does not exist: give a file, a folder, a repository or a URL"),
        (("{tree}", "--rev", "v9"), "{tree} has no revision 'v9': give a branch, a tag or a"),
        (("{tree}", "--base", "v9"), "{tree}/.git has no revision 'v9': give a branch, a tag or a"),
        (("{plain}", "--base", "v9"), "{plain} is in no git repository, so it has no 'v9'"),
        (("{tree}", "--out", "{plain}"), "{plain} is a folder: give the name of a file"),
        (("{tree}", "--out", "{plain}/no/r"), "{plain}/no/r cannot be written: there is no folder"),
        (("{tree}", "--fail-on", "bad"), "fail-on 'bad' must be note, warning, error, never or"),
        (("{tree}", "--baseline", "no.json"), "baseline no.json cannot be read: No such file or"),
        (("{tree}", "--write-baseline"), "--write-baseline needs to know where: give --baseline"),
        (("http://x.example/a",), "http://x.example/a is no URL to clone: use https://, ssh://"),
        (("{tree}", "--checkpoint", "{plain}"), "there is no checkpoint at {plain}"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_status_two(
    run: Run, tree: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    names = {"tree": tree, "plain": plain}
    given = [text.format(**names) for text in arguments]
    status, out, err = run(*given)
    assert (status, out) == (2, "")
    assert err.startswith(f"codebyte: {message.format(**names)}")
    assert err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write and read everywhere")
def test_a_file_without_permission_is_named_and_a_report_there_refused(
    run: Run, tree: Path
) -> None:
    (tree / "fine.py").chmod(0)
    status, out, _ = run(tree)
    assert status == 1
    assert "fine.py: unreadable: Permission denied" in out
    (tree / "src").chmod(0o555)
    assert run(tree, "--out", tree / "src" / "report")[0] == 2


def test_bad_files_are_named_and_the_rest_is_scanned(run: Run, tree: Path) -> None:
    (tree / "empty.py").touch()
    (tree / "binary.py").write_bytes(b"\x00\x01" * 500)
    (tree / "latin.py").write_bytes(CODE.replace(b"json", b"caf\xe9"))
    (tree / "broken.py").write_bytes(b"def f(:\n" + CODE + b"   ((((\n")
    with (tree / "huge.py").open("wb") as file:
        file.truncate(200 << 20)
    status, out, err = run(tree, "--json")
    assert (status, err) == (1, "")
    skipped = {line["path"]: line["reason"] for line in kinds(out, "skipped")}
    assert skipped == {
        "empty.py": "empty",
        "binary.py": "binary",
        "huge.py": "too big: 200 MiB, and at most 16 are read",
    }
    files = {line["path"] for line in kinds(out, "file")}
    assert files >= {"fine.py", "src/key.py", "latin.py", "broken.py"}
    assert "huge.py: too big: 200 MiB" in run(tree)[1]
    status, out, err = run(tree / "huge.py")
    assert status == 2
    assert err.startswith("codebyte: nothing could be scanned, huge.py for one: too big: 200 MiB")


def test_the_shipped_pre_commit_hook_stops_a_pasted_key(run: Run, tree: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, command, *arguments = shlex.split(hook["entry"])
    assert (program, command, hook["pass_filenames"]) == ("codebyte", "scan", False)
    arguments[arguments.index(".")] = str(tree)
    assert run(*arguments)[0] == 0
    (tree / "fine.py").write_bytes(CODE + KEY)
    assert run(*arguments)[0] == 1


def test_the_shipped_pre_commit_hook_lets_a_first_commit_pass_and_stops_its_keys(
    run: Run, tmp_path: Path
) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    arguments = shlex.split(hook["entry"])[2:]
    arguments[arguments.index(".")] = str(tmp_path / "new")
    subprocess.run(["git", "init", "--quiet", tmp_path / "new"], check=True)
    (tmp_path / "new" / "a.py").write_bytes(CODE)
    assert run(*arguments)[0] == 0
    (tmp_path / "new" / "a.py").write_bytes(CODE + KEY)
    assert run(*arguments)[0] == 1


@pytest.mark.slow
def test_what_was_scored_before_the_end_is_reported(tmp_path: Path, checkpoint: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(400):
        (folder / f"f{i:03}.py").write_bytes((CODE + b"# %d\n" % i) * 40)
    command = [sys.executable, "-m", "codebyte", "scan", folder, "--json", "--jobs", "1"]
    process = subprocess.Popen(
        [*map(str, command), "--checkpoint", str(checkpoint), "--no-repairs"],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    database = tmp_path / "cache" / "codebyte" / "scan.sqlite3"
    until = time.monotonic() + 60
    while time.monotonic() < until and not _kept(database):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # is taken like Ctrl-C
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    summary = kinds(out, "summary")[0]
    assert summary["interrupted"]
    assert 1 <= len(kinds(out, "file")) < 400


def _kept(database: Path) -> bool:
    """Whether a first report is in the cache."""
    import sqlite3

    if not database.exists():
        return False
    connection = sqlite3.connect(database, timeout=5)
    try:
        return bool(connection.execute("SELECT count(*) FROM reports").fetchone()[0])
    except sqlite3.Error:
        return False
    finally:
        connection.close()


def test_tables_fitted_to_other_weights_are_used_with_a_word_of_warning(
    run: Run, tree: Path, checkpoint: Path
) -> None:
    assert is_fitted_to(checkpoint)
    assert "other weights" not in run(tree)[2]
    (checkpoint / "scan.json").unlink()
    assert judge_file(checkpoint) == PACKAGED
    assert not is_fitted_to(checkpoint)
    status, out, err = run(tree, "--format", "json")
    assert f"{PACKAGED} was fitted to other weights" in err
    assert kinds(out)
    assert status == 1


@pytest.mark.parametrize("form", ["text", "json", "sarif", "html"])
def test_no_report_shows_a_secret_in_full(run: Run, tree: Path, form: str) -> None:
    _, out, err = run(tree, "--format", form)
    secret = KEY.decode().split('"')[1]
    assert secret not in out + err
    assert secret[8:-8] not in out + err
    assert form == "json" or "ghp_" in out  # JSON lines show no code without a repair
