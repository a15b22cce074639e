import base64
import gzip
import random
import string
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import APP, COUNTER_GO, KEPT, README
from scanned import CODE, KEY

from codebyte.tasks.findings import Finding
from codebyte.tasks.payloads import find_payloads

RNG = random.Random(1)
LONG = CODE * 4


def drawn(alphabet: str, count: int) -> str:
    return "".join(RNG.choices(alphabet, k=count))


LETTERS = string.ascii_letters + string.digits
BLOB = base64.b64encode(RNG.randbytes(600))
LINES = [BLOB[i : i + 60] for i in range(0, len(BLOB), 60)]
NOISE = RNG.randbytes(160)
HEX = NOISE.hex().encode()
ESCAPES = b"".join(b"\\x%02x" % byte for byte in NOISE)
PEM = b"-----BEGIN RSA PRIVATE KEY-----\n%s-----END RSA PRIVATE KEY-----\n" % base64.encodebytes(
    RNG.randbytes(1190)
)
PACKED = (
    b"eval(function(p,a,c,k,e,d){while(c--){if(k[c]){p=p}}return p}('0 1',2,2,'a|b'.split('|')))\n"
)
MINIFIED = b"!function(e,t){" + b"".join(
    b"var %c=e.%c(t),n=!%c&&t;if(n>e){t=n(e);}else{e.n=t}" % ((97 + i % 26,) * 3) for i in range(40)
)


def rules(data: bytes, path: str = "a.py", least: float = 0.5) -> set[str]:
    return {f.rule for f in find_payloads(data, path) if f.suspicion >= least}


@pytest.mark.parametrize(
    ("path", "payload", "rule"),
    [
        ("a.py", b'DATA = "' + BLOB + b'"\n', "CB201"),
        ("a.py", b'DATA = ("' + b'"\n    "'.join(LINES) + b'")\n', "CB201"),
        ("a.js", b"const d = '" + HEX + b"';\n", "CB201"),
        ("a.c", b'char *s = "' + ESCAPES + b'";\n', "CB201"),
        ("a.c", b"char b[] = {" + b", ".join(b"0x%02x" % b for b in NOISE) + b"};\n", "CB202"),
        ("a.go", b"var b = []byte{" + b",".join(b"%d" % b for b in NOISE) + b"}\n", "CB202"),
        ("a.js", PACKED, "CB203"),
        ("a.py", b"exec(zlib.decompress(base64.b64decode(DATA)))\n", "CB203"),
        ("a.js", b"var " + b"".join(b"_0x1f%02x(_0x33cd)," % i for i in range(9)) + b"\n", "CB203"),
        ("a.js", MINIFIED + b"}();\n", "CB204"),
        ("a.py", b'aws = "AKIA' + drawn(string.ascii_uppercase, 16).encode() + b'"\n', "CB205"),
        ("a.py", KEY, "CB205"),
        ("a.py", b'API_KEY = "' + drawn(LETTERS, 32).encode() + b'"\n', "CB205"),
        ("a.yml", b'secret-key: "' + drawn(LETTERS, 40).encode() + b'"\n', "CB205"),
        ("a.py", b'KEY = """' + PEM + b'"""\n', "CB205"),
        ("a.py", b'URL = "postgres://admin:gX7hQ2pLw9@db.internal/x"\n', "CB205"),
        ("a.py", b"".join(b"const x%d = require('m');\n" % i for i in range(30)), "CB206"),
        ("a.c", b"if (user != \"\xe2\x80\xae admin\") {\n", "CB207"),
    ],
)  # fmt: skip
def test_each_kind_of_payload_is_found_in_a_real_file(path: str, payload: bytes, rule: str) -> None:
    host = COUNTER_GO if path == "a.go" else b"" if path == "a.c" else LONG
    host = host if path in ("a.py", "a.go", "a.c") else b""
    findings = find_payloads(host + payload + host, path)
    assert findings[0].rule == rule
    first = host.count(b"\n") + 1
    assert first <= findings[0].line <= first + payload.count(b"\n")


@pytest.mark.parametrize("path", sorted(KEPT))
def test_ordinary_files_have_nothing_out_of_place(path: str) -> None:
    assert find_payloads(KEPT[path], path) == []


@pytest.mark.parametrize(
    "text",
    [
        b'SHA = "%s"\n' % RNG.randbytes(20).hex().encode(),
        b'INTEGRITY = "sha512-%s"\n' % base64.b64encode(RNG.randbytes(64)),
        b"TABLE = [\n    " + b", ".join(b"%d" % i for i in range(200)) + b",\n]\n",
        b"LIMITS = [" + b", ".join(b"%d" % (i % 7) for i in range(99)) + b",]\n",
        b'password = "correct-horse-battery"\ntoken = "<your token here>"\n',
        b'API_KEY = os.environ["SERVICE_API_KEY_OF_PRODUCTION"]\n',
        b'SECRET_KEY = "change-me-in-production-1"\n',
        b"def a_name_that_is_very_long_but_made_of_words_that_people_can_read(): pass\n",
        b'"-----BEGIN PRIVATE KEY-----"\n',
        b"path = '/usr/local/share/applications/of/some/kind/with/many/folders/and/a/File1.txt'\n",
        "greeting = 'שלום'  # right-to-left letters alone are no trick\n".encode(),
        b'{"a":1,"b":[1,2,3],"c":"d"}\n',
    ],
)
def test_what_only_looks_alike_is_not_reported_as_serious(text: bytes) -> None:
    assert rules(LONG + text + LONG) == set()


def test_what_data_decodes_to_is_told() -> None:
    packed = base64.b64encode(gzip.compress(RNG.randbytes(400)))
    (finding,) = find_payloads(LONG + b'D = "' + packed + b'"\n', "a.py")
    assert finding.reasons[1] == "decodes to gzip data"
    numbers = b", ".join(b"0x%02x" % b for b in b"\x7fELF" + RNG.randbytes(80))
    (finding,) = find_payloads(b"char p[] = {" + numbers + b"};\n", "a.c")
    assert (finding.rule, finding.reasons[1]) == ("CB202", "begins like a program (ELF)")
    assert finding.suspicion > 0.9


@pytest.mark.parametrize("form", [b"\\x%02x", b"\\u00%02x", b"%%%02x", b"\\%03o"])
def test_what_escaped_data_holds_is_told_with_zeros_in_it(form: bytes) -> None:
    code = b"\0asm\1\0\0\0" + bytes(range(60))
    escaped = b"".join(form % byte for byte in code)
    (finding,) = find_payloads(b"s = '" + escaped + b"'\n", "a.js")
    assert finding.reasons[1] == "decodes to WebAssembly"


def test_where_data_is_everyday_it_is_less_suspicious() -> None:
    def worst(data: bytes, path: str) -> float:
        return max((finding.suspicion for finding in find_payloads(data, path)), default=0.0)

    text = b'icon = "' + BLOB + b'"\n'
    source = worst(LONG + text, "src/a.py")
    assert (
        source > worst(LONG + text, "tests/test_a.py") > worst(LONG + text, "tests/fixtures/a.py")
    )
    assert source > worst(text, "data.json")
    assert worst(b'"integrity": "' + BLOB + b'"\n', "package-lock.json") == 0.0
    assert source > 2 * worst(LONG + text.replace(b'"', b'"data:image/png;base64,', 1), "src/a.py")
    assert worst(PEM, "server.key") < worst(b'"""' + PEM + b'"""', "server.py")


def test_a_placeholder_is_less_suspicious_than_a_key() -> None:
    example = b'aws = "AKIAIOSFODNN7EXAMPLE"\n'
    (sure,) = find_payloads(
        b'aws = "AKIA' + drawn(string.ascii_uppercase, 16).encode() + b'"\n', "a.py"
    )
    (unsure,) = find_payloads(example, "a.py")
    assert unsure.suspicion < 0.7 < sure.suspicion


def test_noise_and_repetition_are_told_by_the_models_bits() -> None:
    data = LONG * 2 + b"~" * 600 + LONG
    start = len(LONG) * 2
    bits = np.ones(len(data), np.float32)
    bits[start : start + 600] = 7.0
    (finding,) = find_payloads(data, "a.py", bits)
    assert finding.rule == "CB208"
    # A window that is noisy on the whole may begin and end in code.
    assert abs(finding.line - (LONG.count(b"\n") * 2 + 1)) <= 4
    assert "bits per byte" in finding.reasons[0]
    assert find_payloads(data, "a.py", np.ones(len(data), np.float32)) == []
    flat = b"x = 1\n" * 2000
    (finding,) = find_payloads(flat, "a.py", np.full(len(flat), 0.01, np.float32))
    assert finding.rule == "CB208"


def test_binary_content_of_a_source_file_is_told_and_an_image_is_not() -> None:
    binary = b"\x7fELF\x00\x01\x02" * 100
    assert [f.rule for f in find_payloads(binary, "run.py")] == ["CB206"]
    assert find_payloads(binary, "logo.png") == []


def pieces() -> Iterator[bytes]:
    yield b""
    yield b"\n"
    yield b"\x00" * 300
    yield bytes(range(256)) * 40
    yield b"(" * 50_000
    yield b"\\x41" * 20_000
    yield b"0x41," * 20_000
    yield b"A" * 100_000
    yield b"secret" * 20_000
    yield b"-eyJ" * 30_000
    yield b"eyJaaaaaaaaaaaaaaaa." * 6_000
    yield b'secret="' * 15_000
    yield b"a:" * 50_000
    yield b"eval(" * 20_000
    yield b"-----BEGIN " * 9_000
    yield b"-----BEGIN PRIVATE KEY-----" + b"\\n" * 40_000
    yield b"-----BEGIN PRIVATE KEY-----" * 4_000
    yield b"[]()!+" * 15_000
    yield b"chr(1)+" * 14_000
    yield b"fromCharCode(" + b"1," * 40_000
    yield b"= " * 50_000
    yield "\u202e".encode() * 20_000


@pytest.mark.parametrize("data", list(pieces()), ids=lambda data: repr(data[:12]))
def test_hostile_files_are_judged_quickly_and_inside_their_bounds(data: bytes) -> None:
    for finding in find_payloads(data, "a.js"):
        assert 1 <= finding.line <= data.count(b"\n") + 1
        assert 1 <= finding.column <= finding.end_column
        assert 0.0 < finding.suspicion <= 1.0


def test_findings_come_with_the_most_suspicious_first_and_few_of_a_rule() -> None:
    many = b"".join(
        b'D%d = f("%s")\nx()\n' % (i, RNG.randbytes(90).hex().encode()) for i in range(9)
    )
    keys = b"".join(b'K%d = "ghp_%s"; ' % (i, drawn(LETTERS, 36).encode()) for i in range(9))
    found = find_payloads(APP + many + b'D = "' + BLOB[:200] + b'"\n' + README + keys, "a.py")
    assert [f.rule for f in found].count("CB201") == 5
    assert [f.rule for f in found].count("CB205") == 5
    assert [f.suspicion for f in found] == sorted((f.suspicion for f in found), reverse=True)
    assert all(isinstance(finding, Finding) for finding in found)


def test_secrets_take_no_room_from_those_on_other_lines() -> None:
    many = b"".join(b'K%d = "ghp_%s"\n' % (i, drawn(LETTERS, 36).encode()) for i in range(50))
    assert {f.line for f in find_payloads(many, "a.py")} == set(range(1, 51))


def test_a_rule_hides_no_other_in_the_same_place() -> None:
    key = b'apiKey:"9fQ8e7Dz6c5Kb4aXm3T2v1",'
    hidden = MINIFIED + b'f({%sdata:"%s"})}();\n' % (key, BLOB)
    assert rules(hidden, "a.js", 0.3) == {"CB201", "CB204", "CB205"}


def test_a_private_key_is_told_as_one_and_not_as_encoded_data() -> None:
    found = find_payloads(b'"""' + PEM + b'"""\n', "tests/test_a.py")
    assert found[0].rule == "CB205"
    assert rules(PEM, "a.py") == {"CB205"}


def test_with_changed_lines_only_what_has_one_of_them_is_found() -> None:
    data = b"x = 1\n" + PEM + b"y = 1\n"
    last = data.count(b"\n") - 2  # of the key, before its end is marked
    found = {
        line
        for line in range(1, last + 4)
        if any(f.rule == "CB205" and f.line == 2 for f in find_payloads(data, "a.py", None, {line}))
    }
    assert found == set(range(2, last + 1))
    binary = b"\x7fELF\x00\n\x02" * 100
    assert [f.line for f in find_payloads(binary, "run.py", None, {40})] == [1]
