"""Each report is read back by something that did not write it: a parser, a schema, a browser."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from codebyte.apps.report_heat import HEAT_BYTES
from codebyte.apps.report_html import html_report
from codebyte.apps.report_json import json_report
from codebyte.apps.report_sarif import sarif_report
from codebyte.apps.report_text import text_report
from codebyte.tasks.findings import FileReport, Finding, Repair
from codebyte.tasks.places import place_findings
from codebyte.tasks.rules import RULES
from codebyte.tasks.scan_results import ScannedFile, ScanResult

SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-schema-2.1.0.json").read_text("utf-8"))
EVIL = "</script><script>alert(1)</script>\"'&\u202e\x1b[31m"
PATH = "src/caf\u00e9 <b>.py"
DATA = f"x = '{EVIL}'\n\tif size <= limit:\n        go()\n".encode()


def scanned(
    path: str = PATH, data: bytes = DATA, suspicion: float = 0.4, **changed: object
) -> ScannedFile:
    at = data.index(b"<=") if b"<=" in data else 0
    line = data.count(b"\n", 0, at) + 1
    column = at - (data.rfind(b"\n", 0, at) + 1) + 1
    finding = Finding(
        rule="CB102",
        path=path,
        line=line,
        column=column,
        end_column=column + 2,
        suspicion=suspicion,
        message="another operator is likelier here: `<=` to `<`",
        reasons=("as written 2^-9.1, with the repair 2^-1.2", f"says {EVIL!r}"),
        repair=Repair(start=at, end=at + 2, replacement=b"<", gain_bits=7.9),
    )
    report = FileReport(
        path=path,
        language="python",
        suspicion=suspicion,
        bits_per_byte=1.25,
        lines=np.linspace(0, suspicion, data.count(b"\n")).astype(np.float32),
        bits=np.resize(np.array([0.2, 3.0, 8.0, 0.3, 1.7], np.float32), len(data)),
        findings=(finding,),
    )
    return ScannedFile(report=report, places=place_findings(report, data), data=data)


def result(*files: ScannedFile, **changed: object) -> ScanResult:
    skipped = {"logo.png": "not source", f"{EVIL}.py": "unreadable: Permission denied"}
    made = ScanResult(name=f"repo {EVIL}", files=list(files), skipped=skipped, scored_bytes=4321)
    for name, value in changed.items():
        setattr(made, name, value)
    return made


RESULTS = [result(), result(scanned()), result(scanned(), interrupted=True, base="a" * 40, known=2)]


def valid(text: str) -> dict:
    log = json.loads(text)
    checker = jsonschema.FormatChecker()
    jsonschema.Draft4Validator(SCHEMA, format_checker=checker).validate(log)
    (run,) = log["runs"]
    return run


@pytest.mark.parametrize("found", RESULTS, ids=["nothing", "a finding", "a part"])
def test_sarif_is_valid_by_the_official_schema(found: ScanResult) -> None:
    run = valid(sarif_report(found))
    assert len(run["results"]) == len(found.places)
    assert run["invocations"][0]["executionSuccessful"] is not found.interrupted


def test_the_schema_refuses_what_is_no_sarif() -> None:
    log = json.loads(sarif_report(RESULTS[1]))
    log["runs"][0]["results"][0]["level"] = "severe"
    with pytest.raises(jsonschema.ValidationError, match="'severe' is not one of"):
        jsonschema.Draft4Validator(SCHEMA).validate(log)


def test_sarif_tells_place_fix_fingerprint_and_rule() -> None:
    file = scanned()
    run = valid(sarif_report(result(file)))
    (found,) = run["results"]
    (place,) = file.places
    location = found["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "src/caf%C3%A9%20%3Cb%3E.py"
    region = {"startLine": 2, "startColumn": 10, "endLine": 2, "endColumn": 12}
    assert {key: location["region"][key] for key in region} == region
    (change,) = found["fixes"][0]["artifactChanges"]
    assert change["replacements"] == [{"deletedRegion": region, "insertedContent": {"text": "<"}}]
    assert list(found["partialFingerprints"].values()) == [place.fingerprint]
    rules = run["tool"]["driver"]["rules"]
    assert rules[found["ruleIndex"]]["id"] == found["ruleId"] == "CB102"
    assert {rule["id"] for rule in rules} == set(RULES)
    assert all(RULES[rule["id"]].help in rule["help"]["text"] for rule in rules)
    assert run["columnKind"] == "unicodeCodePoints"
    notices = run["invocations"][0]["toolExecutionNotifications"]
    assert [notice["level"] for notice in notices] == ["warning", "note"]


def test_the_fix_that_sarif_describes_gives_the_repaired_file() -> None:
    data = "a = '\U0001f600' ; b <= c\n".encode()
    run = valid(sarif_report(result(scanned(data=data))))
    replacement = run["results"][0]["fixes"][0]["artifactChanges"][0]["replacements"][0]
    region, lines = replacement["deletedRegion"], data.decode().split("\n")
    line = lines[region["startLine"] - 1]
    mended = line[: region["startColumn"] - 1] + replacement["insertedContent"]["text"]
    assert mended + line[region["endColumn"] - 1 :] == "a = '\U0001f600' ; b < c"


def test_paths_that_are_no_text_and_numbers_that_are_many_stay_valid() -> None:
    odd = scanned(path="odd\udcff:name\n.py")
    run = valid(sarif_report(result(odd, *(scanned(path=f"f{i}.py") for i in range(20))), top=7))
    assert len(run["results"]) == 7
    uris = {
        r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]
    }
    assert uris <= {"odd%FF%3Aname%0A.py", *(f"f{i}.py" for i in range(20))}
    for line in json_report(result(odd)).splitlines():
        assert json.loads(line)


def test_json_lines_hold_findings_files_skips_and_a_summary() -> None:
    file = scanned()
    lines = [json.loads(line) for line in json_report(result(file, suppressed=3)).splitlines()]
    assert [line["type"] for line in lines] == ["finding", "file", "skipped", "skipped", "summary"]
    finding, told, *_, summary = lines
    assert (finding["path"], finding["line"], finding["column"]) == (PATH, 2, 10)
    assert (finding["rule"], finding["level"], finding["category"]) == ("CB102", "warning", "bug")
    assert finding["repair"]["replacement"] == "<"
    start, end = finding["repair"]["start"], finding["repair"]["end"]
    assert DATA[start:end] == b"<="
    assert finding["fingerprint"] == file.places[0].fingerprint
    assert (told["path"], told["suspicion"], told["lines"]) == (PATH, 0.4, 3)
    assert (summary["findings"], summary["suppressed"], summary["bytes"]) == (1, 3, 4321)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_fits_the_terminal_and_no_control_character_reaches_it(width: int) -> None:
    long = b"value = " + b"call(" * 100 + b"a <= b" + b")" * 100 + b"\n"
    found = result(scanned(), scanned(path="b/" * 30 + "long.py", data=long, suspicion=0.3))
    text = text_report(found, 10, width)
    assert max(map(len, text.split("\n"))) <= min(width, 100)
    assert {c for c in text if not c.isprintable()} == {"\n"}
    message = text.split("\n").index(next(x for x in text.split("\n") if "Another op" in x))
    assert all(line.startswith("  ") for line in text.split("\n")[message : message + 3])


def test_text_shows_line_caret_reason_and_repair() -> None:
    text = text_report(result(scanned()), 10)
    lines = text.split("\n")
    assert lines[0] == f"{PATH}:2:10  warning CB102 other-operator  40%"
    assert lines[1] == "    2      if size <= limit:"
    assert lines[2].rstrip() == " " * lines[1].index("<=") + "^^"
    assert "- as written 2^-9.1, with the repair 2^-1.2" in text
    assert "     -     if size <= limit:" in lines
    assert "     +     if size < limit:" in lines
    assert "1 place to look at in 1 file (4.3 KB): 1 warning." in text
    assert "2 files left out: 1 not source, 1 unreadable" in text
    assert "unreadable: Permission denied" in " ".join(text.split())


def test_text_shows_the_part_of_a_long_line_that_matters() -> None:
    long = b"value = " + b"call(" * 100 + b"a <= b" + b")" * 100 + b"\n"
    lines = text_report(result(scanned(data=long)), 10).split("\n")
    caret = lines[2].index("^")
    assert lines[1][caret : caret + 2] == "<="
    assert len(lines[2].strip()) == 2


def test_every_report_shows_a_finding_far_into_its_line() -> None:
    far = b"value = [" + b"item, " * 1000 + b"a <= b" + b", item" * 1000 + b"]\n"
    found = result(scanned(data=far))
    lines = text_report(found, 10).split("\n")
    caret = lines[2].index("^")
    assert lines[1][caret - 2 : caret + 4] == "a <= b"
    assert any(line.startswith("     - ") and "a <= b" in line for line in lines)
    assert any(line.startswith("     + ") and "a < b" in line for line in lines)
    assert "item, a <mark>&lt;=</mark> b" in html_report(found)
    location = valid(sarif_report(found))["results"][0]["locations"][0]["physicalLocation"]
    assert location["region"]["startColumn"] == far.index(b"<=") + 1
    assert "a <= b" in location["region"]["snippet"]["text"]


def test_text_counts_what_it_does_not_show() -> None:
    files = [scanned(path=f"f{i}.py") for i in range(30)]
    text = text_report(result(*files, suppressed=2, known=1, interrupted=True), 10)
    assert text.count("warning CB102") == 10
    assert "30 places to look at in 30 files" in text
    assert "the 10" in text
    assert "Interrupted: this is what was scanned so far." in text
    assert "Not counted: 2 silenced by comments, 1 in the baseline." in text
    assert "Nothing suspicious in 1 file" in text_report(
        result(ScannedFile(report=files[0].report, places=())), 10
    )
    assert "\x1b[" in text_report(result(*files), 10, colour=True)


class Page(HTMLParser):
    """Collects the tags, the text and the scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_escapes_all_that_comes_from_files_and_needs_nothing_from_outside() -> None:
    text = html_report(result(scanned()))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "b" not in {tag for tag in page.tags if tag == "img"}
    assert not any(name.startswith("on") for name, _ in page.attributes)
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert links
    assert all(value is not None and value.startswith("#") for value in links)
    assert "http:" not in text
    assert "https:" not in text
    assert EVIL not in text
    assert "</script><script>alert(1)" not in text
    shown = "".join(page.words)
    assert "</script><script>alert(1)</script>" in shown  # as text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_html_shows_every_byte_with_its_bits_and_the_repair() -> None:
    file = scanned()
    page = Page(html_report(result(file)))
    assert "if size < limit:" in "".join(page.words)
    told = [b.split("+") for n, v in page.attributes if n == "data-b" for b in (v or "").split()]
    assert file.report.bits is not None
    bits, place = [], 0
    for character in DATA.decode():
        width = len(character.encode())
        if character != "\n":  # the ends of lines are not drawn
            bits.append([f"{it:.2f}" for it in file.report.bits[place : place + width]])
        place += width
    assert told == bits


def test_html_is_bounded() -> None:
    large = b"".join(b"value_%d = compute(%d) <= 3\n" % (i, i) for i in range(4000))
    files = [scanned(path=f"f{i}.py", data=large) for i in range(6)]
    text = html_report(result(*files))
    assert len(text) < HEAT_BYTES + (2 << 20)
    assert "least suspicious files are not drawn" in text
    one = scanned(data=b"x" * 500_000 + b" <= 1\n")
    assert len(html_report(result(one))) < 200_000


def test_the_policy_names_the_digests_of_the_script_and_the_style_that_are_there() -> None:
    import base64
    import hashlib

    text = html_report(result(scanned()))
    for tag in ("script", "style"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in text
