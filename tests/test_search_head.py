from threading import Thread

import numpy as np
import pytest
import torch

from codebyte.errors import CheckpointError
from codebyte.tasks.bag import features, fields, parts, word
from codebyte.tasks.heads import SearchHead, load_head, save_head
from codebyte.tasks.search import Embedder

CODE = [
    b"\x1e\x1fServer.start\ndef start(self):\n    self.socket.listen()\n    listen = listen\n",
    b"def unknownword(a):\n    return readFile(a)\n",
    b"",
    b"\0" * 50,
    b"\xff\xfe\x80 = 1",
]


@pytest.fixture
def head():
    torch.manual_seed(3)
    made = SearchHead([b"start", b"self", b"~listen", b"read", b"file"], buckets=11, dim=16)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return made.requires_grad_(False)


def by_hand(head, named):
    """The vector of a text, from the formula: fields by name."""
    total = np.zeros(head.dim)
    rows, weights = head.rows.numpy(), head.word_weights.numpy()
    for place, name in enumerate(("query", "symbol", "signature", "body")):
        summed, squares = np.zeros(head.dim), 0.0
        found = [word(part) for part in parts(named.get(name, b""))]
        for each in sorted(set(found)):
            count = found.count(each)
            mine = features(each, head.vocabulary, head.buckets)
            known = [row for row in mine if row < 5]
            grams = [row for row in mine if row >= 5]
            vector = rows[known].sum(0)
            if grams:
                vector = vector + rows[grams].mean(0)
            share = 2 * count / (1 + count) * np.exp(weights[known[0] if known else 5, place])
            summed += share * vector
            squares += share**2
        pooled = summed / np.sqrt(squares + 1e-6)
        total += head.field_weights[place].item() * pooled
    return total / max(np.linalg.norm(total), 1e-12)


def test_vectors_are_those_of_the_formula(head):
    embedder = Embedder(None, head)
    for chunk, vector in zip(CODE, embedder.embed_code(CODE), strict=True):
        found = fields(chunk)
        named = {"symbol": found.symbol, "signature": found.signature, "body": found.body}
        np.testing.assert_allclose(vector, by_hand(head, named), atol=2e-6)
    for query in ("listen to a file", "start", ""):
        expected = by_hand(head, {"query": query.encode()})
        np.testing.assert_allclose(embedder.embed_text([query])[0], expected, atol=2e-6)


def test_a_vector_does_not_depend_on_its_neighbours_or_on_what_was_met_before(head):
    alone = np.concatenate([Embedder(None, head).embed_code([chunk]) for chunk in CODE])
    embedder = Embedder(None, head)
    many = [f"def f{i}(word{i}): return {i}".encode() for i in range(600)]
    embedder.embed_code(many)
    np.testing.assert_allclose(embedder.embed_code(CODE * 120)[-len(CODE) :], alone, atol=1e-6)


def test_forgetting_words_changes_no_vector(head, monkeypatch):
    embedder = Embedder(None, head)
    before = embedder.embed_code(CODE)
    monkeypatch.setattr("codebyte.tasks.search._REMEMBERED", 3)
    for _ in range(3):
        np.testing.assert_array_equal(embedder.embed_code(CODE), before)


def test_threads_get_the_vectors_that_one_gets(head, monkeypatch):
    monkeypatch.setattr("codebyte.tasks.search._REMEMBERED", 200)
    texts = [[f"def f{i}_{k}(a{i}): return b{k}".encode() for i in range(40)] for k in range(6)]
    expected = [Embedder(None, head).embed_code(each) for each in texts]
    embedder, found = Embedder(None, head), [None] * 6

    def work(k):
        for _ in range(5):
            found[k] = embedder.embed_code(texts[k])

    threads = [Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rows_are_unit_or_nothing(head):
    embedder = Embedder(None, head)
    lengths = np.linalg.norm(embedder.embed_code(CODE), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 0, 0, 1], atol=1e-5)
    assert embedder.embed_code([]).shape == (0, 16)
    assert embedder.embed_text(["", "?!", "\0", "a"]).any(axis=1).tolist() == [False] * 3 + [True]
    assert embedder.embed_text(["\ud800 lone", "x" * (1 << 20)]).dtype == np.float32


def test_a_megabyte_costs_no_more_than_what_is_read(head):
    embedder = Embedder(None, head)
    chunk = b"\x1e\x1fname\n" + b"read file\n" * 200_000
    np.testing.assert_array_equal(embedder.embed_code([chunk]), embedder.embed_code([chunk[:8199]]))


def test_a_saved_head_gives_the_same_vectors(head, tmp_path):
    save_head(head, tmp_path / "new" / "head.safetensors", quantize=False)
    again = load_head(tmp_path / "new" / "head.safetensors")
    np.testing.assert_array_equal(
        Embedder(None, again).embed_code(CODE), Embedder(None, head).embed_code(CODE)
    )
    assert again.fingerprint() == head.fingerprint()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["head.safetensors"]


def test_an_int8_head_is_a_quarter_of_the_size_and_close(tmp_path):
    torch.manual_seed(1)
    head = SearchHead([b"w%d" % i for i in range(300)], buckets=200, dim=64).requires_grad_(False)
    for name in ("whole", "small"):
        save_head(head, tmp_path / name, quantize=name == "small")
    assert (tmp_path / "small").stat().st_size < 0.4 * (tmp_path / "whole").stat().st_size
    left, right = (
        Embedder(None, it).embed_code(CODE) for it in (head, load_head(tmp_path / "small"))
    )
    assert (left * right).sum(1)[[0, 1, 4]].min() > 0.999


def test_the_fingerprint_tells_heads_apart(head):
    first = head.fingerprint()
    head.word_weights[2, 1] += 1e-3
    assert head.fingerprint() != first
    assert Embedder(None, head).model_id == f"search-{head.fingerprint()}"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-100], "cannot be read"),
        (lambda data: b"", "cannot be read"),
        (lambda data: data.replace(b"search head 2", b"search head 9"), "of this version"),
        (lambda data: data.replace(b'"field_weights"', b'"field_wieghts"'), "lacks field_weights"),
        (lambda data: data.replace(b"start\nself", b"start\nstar\n"[:10]), ""),
    ],
)
def test_a_damaged_head_is_one_sentence(head, tmp_path, damage, says):
    path = tmp_path / "head.safetensors"
    save_head(head, path)
    path.write_bytes(damage(path.read_bytes()))
    if not says:  # other words of the same length are another head, not a damaged one
        assert load_head(path).fingerprint() != head.fingerprint()
        return
    with pytest.raises(CheckpointError, match=says):
        load_head(path)


def test_a_missing_head_says_how_to_make_one(tmp_path):
    with pytest.raises(CheckpointError, match="fit_heads"):
        load_head(tmp_path / "none")


def test_the_packaged_head_puts_the_right_function_first():
    embedder = Embedder(None)
    code = [
        b"def load_settings(path):\n    with open(path) as file:\n        return json.load(file)\n",
        b"def send_mail(to, text):\n    server = smtplib.SMTP()\n    server.sendmail(to, text)\n",
        b"def retry(call, times):\n    for i in range(times):\n        time.sleep(2 ** i)\n",
        b"def test_addition():\n    assert add(1, 2) == 3\n",
    ]
    queries = [
        "read the configuration from a file",
        "deliver an email message",
        "wait and try again",
    ]
    scores = embedder.embed_text(queries) @ embedder.embed_code(code).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]
    assert embedder.dim == 256
