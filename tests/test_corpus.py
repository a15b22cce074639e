import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import KEPT

from codebyte.corpus import Corpus, Document, write_corpus
from codebyte.dedup import Deduplicator
from codebyte.errors import CorpusError
from codebyte.fim import restore
from codebyte.indexer.repo import documents
from codebyte.vocab import EOT, FILE, FIM_MIDDLE, FIM_PREFIX, PAD


def text(seed: int, lines: int) -> bytes:
    """Lines that occur in no other text, with bytes that are no UTF-8."""
    draw = random.Random(seed)
    return b"".join(b"name_%030x = \xff%d\n" % (draw.getrandbits(120), seed) for _ in range(lines))


def some_documents(repos: int = 6, files: int = 8) -> list[Document]:
    return [
        Document(
            repo=f"owner/repo{repo}",
            path=f"src/file{file}.py",
            data=text(100 * repo + file, 2 ** (file % 7)),
            language="python" if file % 2 else "",
        )
        for repo in range(repos)
        for file in range(files)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    write_corpus(some_documents(), tmp_path / "corpus", valid={"owner/repo3"})
    return Corpus(tmp_path / "corpus")


def contents(corpus: Corpus, split: str) -> dict[str, bytes]:
    shard = corpus.shard(split)
    names = [entry["name"] for entry in corpus.info["repositories"]]
    return {
        f"{names[shard.repos[i]]}/{shard.paths[i]}": shard.document(i).tobytes()
        for i in range(shard.num_documents)
    }


def test_what_is_written_is_read_back_byte_for_byte_on_its_side(corpus: Corpus) -> None:
    expected = {f"{d.repo}/{d.path}": d.data for d in some_documents()}
    train, valid = contents(corpus, "train"), contents(corpus, "valid")
    assert train | valid == expected
    assert {key.rsplit("/", 2)[0] for key in valid} == {"owner/repo3"}
    assert not any("repo3" in key for key in train)


def test_the_files_on_disk_are_as_documented(corpus: Corpus) -> None:
    listed = (corpus.path / "train.paths.txt").read_text().splitlines()
    ends = np.load(corpus.path / "train.ends.npy")
    raw = (corpus.path / "train.bin").read_bytes()
    by_path = {f"{d.repo}/{d.path}": d.data for d in some_documents()}
    assert listed == sorted(listed)
    starts = [0, *ends[:-1]]
    assert [raw[a:b] for a, b in zip(starts, ends, strict=True)] == [by_path[p] for p in listed]
    info = json.loads((corpus.path / "corpus.json").read_text())
    assert info["format"] == 1
    assert info["split_by"] == "repository"
    assert info["train"]["bytes"] == len(raw)
    assert info["train"]["documents"] == len(listed)
    other = sum(len(d.data) for d in some_documents() if "repo3" not in d.repo and not d.language)
    assert info["train"]["languages"]["other"] == other
    assert [r["name"] for r in info["repositories"] if r["splits"] == ["valid"]] == ["owner/repo3"]


def test_repositories_become_a_corpus_with_their_skips(tiny_repo: Path, tmp_path: Path) -> None:
    skips: Counter[str] = Counter()
    failures: dict[str, str] = {}
    found = documents([tiny_repo, tmp_path / "absent"], skips=skips, failures=failures)
    info = write_corpus(found, tmp_path / "corpus", skips=skips, failures=failures)
    corpus = Corpus(tmp_path / "corpus")
    everything = contents(corpus, "train") | contents(corpus, "valid")
    assert everything == {f"tiny/{path}": data for path, data in KEPT.items()}
    assert info == corpus.info
    assert info["split_by"] == "file"
    assert info["skips"]["vendored"] == 1
    assert list(info["failures"]) == [str(tmp_path / "absent")]


def test_without_names_whole_repositories_of_about_the_share_are_held_out(tmp_path: Path) -> None:
    info = write_corpus(some_documents(repos=20), tmp_path / "corpus", valid_share=0.1)
    held_out = info["valid"]["bytes"] / (info["train"]["bytes"] + info["valid"]["bytes"])
    assert 0.1 <= held_out <= 0.2
    assert all(len(entry["splits"]) == 1 for entry in info["repositories"])
    again = write_corpus(some_documents(repos=20), tmp_path / "again", valid_share=0.1)
    assert again == info


def test_of_two_repositories_the_smaller_is_held_out(tmp_path: Path) -> None:
    small = Document(repo="small", path="a.py", data=text(1, 10))
    large = Document(repo="large", path="a.py", data=text(2, 30))
    write_corpus([large, small], tmp_path / "corpus")
    assert contents(Corpus(tmp_path / "corpus"), "valid") == {"small/a.py": small.data}


def test_one_document_is_split_at_a_line_near_its_end(tmp_path: Path) -> None:
    data = text(1, 1000)
    info = write_corpus([Document(repo="book", path="book.txt", data=data)], tmp_path / "corpus")
    corpus = Corpus(tmp_path / "corpus")
    train, valid = (contents(corpus, split)["book/book.txt"] for split in ("train", "valid"))
    assert info["split_by"] == "position"
    assert train + valid == data
    assert train.endswith(b"\n")
    assert 0.04 < len(valid) / len(data) < 0.06


def test_of_like_documents_the_first_stays(tmp_path: Path) -> None:
    first = Document(repo="a", path="a.py", data=text(1, 100))
    spaced = replace(first, repo="b", data=first.data.replace(b" = ", b"  =\t"))
    edited = replace(first, repo="c", data=first.data[:4000] + text(2, 10))
    rewritten = replace(first, repo="d", data=first.data[:2400] + text(3, 50))
    other = replace(first, repo="e", data=text(4, 3))
    empty = replace(first, repo="f", data=b"")
    skips: Counter[str] = Counter()
    given = [first, spaced, edited, rewritten, other, empty]
    info = write_corpus(given, tmp_path / "corpus", valid=set(), skips=skips)
    assert [entry["name"] for entry in info["repositories"]] == ["a", "d", "e"]
    assert skips == {"duplicate": 1, "near-duplicate": 1, "empty": 1}


def test_exactly_four_fifths_of_known_lines_are_still_new() -> None:
    known, fresh = text(1, 100), text(2, 100).splitlines(keepends=True)
    first_80 = b"".join(known.splitlines(keepends=True)[:80])
    for added, reason in ((20, None), (19, "near-duplicate")):
        seen = Deduplicator()
        assert seen.reason(known) is None
        assert seen.reason(first_80 + b"".join(fresh[:added])) == reason


def test_lines_too_short_to_tell_make_no_near_duplicate() -> None:
    seen = Deduplicator()
    assert seen.reason(b"return None\nelse:\n" * 10) is None
    assert seen.reason(b"return None\nelse:\n" * 11) is None


def test_a_batch_depends_on_its_arguments_alone(corpus: Corpus) -> None:
    arguments = {"seed": 7, "rows": 16, "length": 512, "fim_rate": 0.5, "path_rate": 0.3}
    batch = corpus.batch("train", 5, **arguments)
    for step in range(9):
        corpus.batch("train", step, **arguments)
    np.testing.assert_array_equal(Corpus(corpus.path).batch("train", 5, **arguments), batch)
    assert batch.shape == (16, 512)
    assert batch.dtype == np.uint16
    for change in ({"seed": 8}, {"length": 511}, {"fim_rate": 1.0}, {"path_rate": 1.0}):
        other = corpus.batch("train", 5, **(arguments | change))
        assert not np.array_equal(other[:, :511], batch[:, :511]), change
    assert not np.array_equal(corpus.batch("train", 6, **arguments), batch)


def test_ranks_take_the_rows_of_one_global_batch(corpus: Corpus) -> None:
    whole = corpus.batch("train", 3, seed=1, rows=6, length=256, fim_rate=0.5)
    parts = [
        corpus.batch("train", 3, seed=1, rows=2, length=256, fim_rate=0.5, rank=rank, world=3)
        for rank in range(3)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(np.unique(whole, axis=0)) == 6


def pieces(row: np.ndarray) -> Iterator[np.ndarray]:
    """The documents of a row, each with its EOT; the last may be cut."""
    for piece in np.split(row, np.flatnonzero(row == EOT) + 1):
        if len(piece):
            yield piece


@pytest.mark.parametrize("split", ["train", "valid"])
def test_rows_hold_documents_of_their_split_each_closed_by_an_eot(
    corpus: Corpus, split: str
) -> None:
    known = contents(corpus, split).values()
    whole = 0
    for row in corpus.batch(split, 0, seed=0, rows=64, length=2000):
        *closed, last = pieces(row)
        for piece in closed:
            body = piece[:-1].astype(np.uint8).tobytes()
            assert any(document.endswith(body) for document in known)
            whole += body in known
        if last[-1] == EOT:
            last = last[:-1]
        assert any(last.astype(np.uint8).tobytes() in document for document in known)
    assert whole > 64


def test_a_crop_starts_at_a_line_and_half_of_the_rows_of_long_documents_are_crops(
    tmp_path: Path,
) -> None:
    data = text(1, 200)
    write_corpus([Document(repo="a", path="a.py", data=data)], tmp_path / "corpus", valid=set())
    batch = Corpus(tmp_path / "corpus").batch("train", 0, seed=0, rows=400, length=len(data) // 3)
    starts = [data.find(row.astype(np.uint8).tobytes()[:200]) for row in batch]
    assert all(start == 0 or data[start - 1] == 10 for start in starts)
    assert 160 < starts.count(0) < 240  # 4 standard deviations of 400 fair coins are 40
    assert len(set(starts)) > 50


def test_in_an_epoch_a_document_starts_as_many_rows_as_it_is_long(corpus: Corpus) -> None:
    length = 256
    rows = -(-corpus.num_bytes("train") // length)
    shard = corpus.shard("train")
    lines = [shard.document(i).tobytes().splitlines() for i in range(shard.num_documents)]
    owner = {line: i for i, listed in enumerate(lines) for line in listed}
    for epoch in (0, 1):
        batch = corpus.batch("train", epoch, seed=0, rows=rows, length=length)
        first_lines = [row.astype(np.uint8).tobytes().partition(b"\n")[0] for row in batch]
        started = Counter(owner[line] for line in first_lines)
        for i in range(shard.num_documents):
            assert abs(started[i] - len(shard.document(i)) / length) <= 2


def test_every_rearranged_document_is_one_piece_of_a_document(corpus: Corpus) -> None:
    known = contents(corpus, "train").values()
    batch = corpus.batch("train", 1, seed=0, rows=64, length=700, fim_rate=1.0)
    rearranged = 0
    for row in batch:
        for piece in pieces(row):
            if piece[0] != FIM_PREFIX:
                assert len(piece) < 70  # too short to be worth it
                continue
            body = restore(piece).tobytes()
            assert any(body in document for document in known)
            rearranged += 1
    assert rearranged > 64


def test_rates_are_shares_of_documents(corpus: Corpus) -> None:
    batch = corpus.batch("train", 1, seed=0, rows=300, length=700, fim_rate=0.5, path_rate=0.25)
    firsts = [next(pieces(row)) for row in batch]
    headed = sum(bool(piece[0] == FILE) for piece in firsts)
    rearranged = sum(bool((piece == FIM_MIDDLE).any()) for piece in firsts)
    assert 45 < headed < 105  # 75 expected, 4 standard deviations are 30
    assert 100 < rearranged < 185  # 150 expected, less the documents too short to cut


def test_a_header_is_the_path_inside_the_repository(corpus: Corpus) -> None:
    batch = corpus.batch("train", 1, seed=0, rows=64, length=700, path_rate=1.0)
    by_path = {f"src/file{file}.py".encode() for file in range(8)}
    for row in batch:
        assert row[0] == FILE
        header, _, _ = row[1:60].astype(np.uint8).tobytes().partition(b"\n")
        assert header in by_path


def test_half_of_the_rows_stay_in_one_repository(tmp_path: Path) -> None:
    given = [
        Document(repo=f"repo{repo:02}", path=f"{file}.py", data=b"%02d" % repo + text(file, 1))
        for repo in range(40)
        for file in range(20)
    ]
    write_corpus(given, tmp_path / "corpus", valid=set(), dedup=False)
    batch = Corpus(tmp_path / "corpus").batch("train", 0, seed=0, rows=400, length=300)
    stayed = sum(len({p[:2].tobytes() for p in pieces(row) if len(p) > 1}) == 1 for row in batch)
    assert 160 < stayed < 240


def test_tiny_documents_fill_rows_without_padding(tmp_path: Path) -> None:
    given = [Document(repo="a", path="x", data=b"a"), Document(repo="b", path="x", data=b"b")]
    write_corpus(given, tmp_path / "corpus", valid=set())
    batch = Corpus(tmp_path / "corpus").batch("train", 0, seed=0, rows=3, length=50, fim_rate=1.0)
    assert set(batch[:, 0::2].ravel().tolist()) == {97, 98}
    assert set(batch[:, 1::2].ravel().tolist()) == {EOT}
    assert PAD not in batch


def test_a_corpus_replaces_a_corpus_and_nothing_else(tmp_path: Path) -> None:
    given = some_documents()
    out = tmp_path / "corpus"
    write_corpus(given, out)
    write_corpus(given[:8], out)
    assert [entry["name"] for entry in Corpus(out).info["repositories"]] == ["owner/repo0"]
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    with pytest.raises(CorpusError, match="exists and is not a corpus"):
        write_corpus(given, precious)
    assert {file.name for file in tmp_path.iterdir()} == {"corpus", "home"}


def test_a_source_that_breaks_leaves_the_old_corpus_and_no_rubbish(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    before = write_corpus(some_documents(), out)

    def breaking() -> Iterator[Document]:
        yield from some_documents()[:3]
        raise RuntimeError("the disk was pulled")

    with pytest.raises(RuntimeError):
        write_corpus(breaking(), out)
    with pytest.raises(CorpusError, match="no document is left"):
        write_corpus([], out)
    assert Corpus(out).info == before
    assert [file.name for file in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("name", ["train.bin", "train.ends.npy", "valid.paths.txt"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_corpus_is_refused(corpus: Corpus, name: str, damage: str) -> None:
    file = corpus.path / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.unlink()
    with pytest.raises(CorpusError, match="is damaged"):
        Corpus(corpus.path)


def test_what_is_no_corpus_of_ours_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is not a corpus"):
        Corpus(tmp_path)
    with pytest.raises(CorpusError, match="'test' is not a split: use 'train' or 'valid'"):
        corpus.batch("test", 0, seed=0, rows=1, length=8)
    (corpus.path / "corpus.json").write_text('{"format": 2}')
    with pytest.raises(CorpusError, match="has corpus format 2, not 1: write it anew"):
        Corpus(corpus.path)


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    write_corpus(some_documents(), tmp_path / "corpus", valid=set())
    with pytest.raises(CorpusError, match="has no valid text"):
        Corpus(tmp_path / "corpus").batch("valid", 0, seed=0, rows=1, length=8)


def test_a_repository_to_hold_out_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no text of repo3 to hold out; there is of: owner"):
        write_corpus(some_documents(), tmp_path / "corpus", valid={"repo3", "owner/repo1"})
    assert not (tmp_path / "corpus").exists()


def test_odd_paths_survive(tmp_path: Path) -> None:
    given = [
        Document(repo="a", path="caf\udce9/x.py", data=text(1, 5)),
        Document(repo="a", path="two\nlines\x85.py", data=text(2, 5)),
    ]
    write_corpus(given, tmp_path / "corpus", valid=set())
    assert list(contents(Corpus(tmp_path / "corpus"), "train")) == [
        "a/caf\udce9/x.py",
        "a/two lines\x85.py",
    ]
