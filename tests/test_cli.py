"""The command, run in this process, with a tiny model that knows one text by heart."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from taught import AFTER, BEFORE, HALF, HOLE, PATH, REST, TEXT, taught_checkpoint

import codebyte
from codebyte.apps import score_commands
from codebyte.apps.cli import LARGEST_COMPLETED, main
from codebyte.apps.score_commands import LARGEST_SCORED

Run = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs `codebyte` with arguments: the exit status, standard output and standard error."""

    def run(*arguments: object, stdin: bytes = b"", checkpoint: bool = True) -> tuple:
        options = ["--checkpoint", str(taught_checkpoint())] if checkpoint else []
        monkeypatch.setattr(sys, "argv", ["codebyte", *map(str, arguments), *options])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as exit:
            main()
        out, err = capfdbinary.readouterr()
        return exit.value.code, out, err.decode()

    return run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = Path(PATH)
    file.write_text(TEXT)
    return file


def test_help_does_not_load_torch_or_gradio() -> None:
    code = (
        "import sys\n"
        "from codebyte.apps.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as done:\n    assert done.code == 0, done.code\n"
        "heavy = {'torch', 'gradio', 'numpy', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("complete", "score", "web"))


def test_the_version_is_told(run: Run) -> None:
    status, out, _ = run("--version", checkpoint=False)
    assert (status, out.decode().split()) == (0, ["codebyte", codebyte.__version__])


def test_a_place_in_a_file_is_completed(run: Run, file: Path) -> None:
    file.write_text(HALF)
    assert run("complete", f"{file}:2:12")[:2] == (0, REST.encode() + b"\n")


def test_json_tells_the_surprise_of_each_byte_and_why_it_ended(run: Run, file: Path) -> None:
    file.write_text(HALF)
    status, out, _ = run("complete", f"{file}:2:12", "--json")
    found = json.loads(out)
    assert status == 0
    assert out.count(b"\n") == 1
    assert (found["text"], found["stop_reason"]) == (REST, "line")
    assert found["replace_suffix_bytes"] == 0
    assert len(found["bits"]) == len(found["text"])
    assert max(found["bits"]) < 2


def test_what_stands_after_the_caret_is_read_too(run: Run, file: Path) -> None:
    file.write_text(BEFORE + AFTER)
    line, column = BEFORE.count("\n") + 1, len(BEFORE) - BEFORE.rindex("\n")
    assert run("complete", f"{file}:{line}:{column}")[1] == HOLE.encode() + b"\n"


def test_prefix_and_suffix_can_come_from_a_pipe(run: Run, tmp_path: Path) -> None:
    suffix = tmp_path / "suffix"
    suffix.write_text(AFTER)
    options = ("--stdin-prefix", "--suffix-file", suffix)
    assert run("complete", *options, stdin=BEFORE.encode())[1] == HOLE.encode() + b"\n"


def test_the_longest_completion_can_be_chosen(run: Run) -> None:
    out = run("complete", "--stdin-prefix", "--max-bytes", 4, stdin=HALF.encode())[1]
    assert out == REST[:4].encode() + b"\n"


def test_each_line_is_scored_and_the_whole(run: Run, file: Path) -> None:
    status, out, _ = run("score", file, "--json")
    *lines, whole = map(json.loads, out.splitlines())
    assert status == 0
    assert [line["line"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["bytes"] for line in lines] == [len(s) for s in TEXT.splitlines(keepends=True)]
    assert whole["bytes"] == len(TEXT)
    assert whole["bits"] == pytest.approx(sum(line["bits"] for line in lines), abs=0.01)
    assert whole["bits_per_byte"] == pytest.approx(whole["bits"] / len(TEXT), abs=1e-3)
    assert whole["bits_per_byte"] < 0.5


def test_scores_are_readable_and_a_mistake_stands_out(run: Run, file: Path) -> None:
    file.write_text(TEXT.replace("height\n", "hieght\n"))
    lines = run("score", file)[1].decode().splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines[:2]] == [
        "def area(width, height):",
        "return width * hieght",
    ]
    scores = [float(line.split()[1]) for line in lines[:-1]]
    assert max(scores) == scores[1]
    assert lines[-1].startswith(f"{file}: ")
    assert lines[-1].endswith(" bits")


def test_an_empty_file_has_no_lines_and_no_bits(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    status, out, _ = run("score", tmp_path / "empty", "--json")
    assert status == 0
    assert json.loads(out) == {
        "path": str(tmp_path / "empty"),
        "bytes": 0,
        "bits": 0.0,
        "bits_per_byte": 0.0,
    }
    assert run("complete", f"{tmp_path / 'empty'}:1:1")[0] == 0


def test_bytes_that_are_no_text_are_scored_and_do_not_reach_the_terminal(run: Run) -> None:
    status, out, _ = run("score", "-", stdin=b"\x00\xff\x1b[31m\n")
    assert status == 0
    assert out.splitlines()[0].endswith(b"\\x00\\xff\\x1b[31m")


def test_a_file_too_large_is_refused_without_reading_it(run: Run, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    status, out, err = run("score", huge)
    assert (status, out) == (1, b"")
    assert err == (
        f"codebyte: {huge} has more than {LARGEST_SCORED} bytes, the most that is read here; "
        "--limit allows more\n"
    )
    err = run("complete", f"{huge}:1:1")[2]
    assert err == (
        f"codebyte: {huge} has more than {LARGEST_COMPLETED} bytes, the most that is read here\n"
    )
    assert run("score", "-", "--limit", 3, stdin=b"abc")[0] == 0
    assert run("score", "-", "--limit", 3, stdin=b"abcd")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("complete", "no-such-file:1:1"),
            "no-such-file cannot be read: No such file or directory",
        ),
        (("score", "no-such-file"), "no-such-file cannot be read: No such file or directory"),
        (("score", "."), ". cannot be read: Is a directory"),
        (("complete", "{file}:99:1"), "{file}: line 99 is outside the file: it has lines 1 to 7"),
        (
            ("complete", "{file}:1:99"),
            "{file}: column 99 is outside line 1: it has columns 1 to 25",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, file: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = run(*(text.format(file=file) for text in arguments))
    assert (status, out, err) == (1, b"", f"codebyte: {message.format(file=file)}\n")


def test_a_folder_that_is_no_checkpoint_is_refused(run: Run, file: Path, tmp_path: Path) -> None:
    status, out, err = run("score", file, "--checkpoint", tmp_path, checkpoint=False)
    assert (status, out) == (1, b"")
    assert err.startswith("codebyte: ")
    assert err.count("\n") == 1


def test_serving_other_machines_without_a_token_is_refused(run: Run) -> None:
    status, _, err = run("web", "--host", "0.0.0.0")
    assert status == 1
    assert err.startswith("codebyte: host 0.0.0.0 can be reached by other machines: give a --token")


@pytest.mark.parametrize(
    "arguments",
    [
        ("complete",),
        ("complete", "file.py"),
        ("complete", "file.py:1:one"),
        ("complete", "file.py:1:1", "--stdin-prefix"),
        ("complete", "file.py:1:1", "--suffix-file", "other"),
        ("complete", "--stdin-prefix", "--max-bytes", "0"),
        ("score",),
        ("web", "--port", "70000"),
        ("no-such-command",),
    ],
)
def test_a_command_line_that_makes_no_sense_is_status_two(
    run: Run, arguments: tuple[str, ...]
) -> None:
    status, out, err = run(*arguments, checkpoint=False)
    assert (status, out) == (2, b"")
    assert "Usage: " in err


def test_a_stream_is_scored_line_by_line_as_it_comes(run: Run, file: Path) -> None:
    piped = run("score", "-", "--json", stdin=TEXT.encode() * 3)[1].decode().splitlines()
    whole = codebyte.surprisal(codebyte.load(taught_checkpoint()), TEXT.encode() * 3)
    assert len(piped) == TEXT.count("\n") * 3 + 1
    total = json.loads(piped[-1])
    assert (total["path"], total["bytes"]) == ("-", len(whole))
    assert total["bits"] == pytest.approx(float(whole.sum()), rel=1e-4)
    by_line = sum(json.loads(line)["bits"] for line in piped[:-1])
    assert total["bits"] == pytest.approx(by_line, abs=1e-3 * len(piped))  # rounded


def test_a_line_longer_than_a_portion_counts_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_commands, "_READ", 100)
    status, out, _ = run("score", "-", "--json", stdin=b"x" * 250 + b"\ny")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (status, [line["bytes"] for line in lines]) == (0, [251, 1, 252])
