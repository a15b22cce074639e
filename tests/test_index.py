import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import git
import numpy as np
import pytest
from conftest import APP, COUNTER_GO, KEPT, MakeRepo
from indexed import Bag, commit

from codebyte.errors import InputError, RepoError, StaleIndexError
from codebyte.indexer.chunk import chunk_file
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.languages import language_of
from codebyte.indexer.ranking import Mode
from codebyte.indexer.updating import only_writer

GREET = b'def greet(name):\n    """Greets a person."""\n    return f"Hello, {name}"\n\n\n'
PARSE = b'def parse(text):\n    """Parses a number from text."""\n    return int(text)\n\n\n'
RETRY = (
    b'def back_off(attempt):\n    """Waits longer after each failed attempt."""\n'
    b"    sleep(2**attempt)\n\n\n"
)


def contents(index: CodeIndex) -> set[tuple[str, ...]]:
    """All that can be found, without the numbers that depend on history."""
    return {
        (it.repo, it.path, it.symbol, it.kind, str(it.start_line), str(it.end_line), body)
        for it in index.store.entries(
            [number for (number,) in index.store.rows("SELECT id FROM documents")]
        )
        for body in [index.store.bodies([it.id])[it.id].decode("latin-1")]
    }


def found(index: CodeIndex, query: str, **options: object) -> list[tuple[str, str]]:
    return [(hit.path, hit.symbol) for hit in index.search(query, **options)]  # type: ignore[arg-type]


def test_all_that_is_worth_it_is_found_with_its_place(tiny_repo: Path) -> None:
    index = CodeIndex(None, Bag())
    done = index.update(tiny_repo)
    chunks = {
        (path, chunk.symbol, str(chunk.start_line), str(chunk.end_line))
        for path, data in KEPT.items()
        for chunk in chunk_file(path, data, language_of(path))
    }
    got = {(path, symbol, start, end) for _, path, symbol, _, start, end, _ in contents(index)}
    assert {it for it in got if it[0] in KEPT} == chunks
    also = {"CHANGELOG.md", "src/big.py", "src/table.py", "tests/fixtures/sample.py"}
    assert {path for path, *_ in got} - set(KEPT) == also  # found, though not worth training on
    assert done.skips == {
        "link": 1,
        "not source": 1,
        "lock file": 1,
        "empty": 1,
        "generated": 2,
        "binary": 1,
        "vendored": 1,
        "minified": 1,
        "long lines": 1,
    }
    (hit,) = index.search("greets a person by name", 1)
    assert (hit.path, hit.symbol, hit.start_line, hit.end_line) == ("src/app.py", "greet", 7, 9)
    assert hit.snippet == "\n".join(APP.decode().split("\n")[6:9]) + "\n"
    assert (hit.repo, hit.language, hit.why) == ("tiny", "python", "both")


def test_a_second_run_reads_and_embeds_only_what_changed(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET + PARSE, "b.py": RETRY})
    embedder = Bag()
    index = CodeIndex(tmp_path / "index", embedder)
    assert index.update(repo).new_contents == 2
    assert embedder.embedded == 3
    again = index.update(repo)
    assert (again.new_contents, again.added, again.removed) == (0, 0, 0)
    commit(repo, {"a.py": GREET + PARSE.replace(b"int(", b"float("), "c.py": GREET})
    changed = index.update(repo)
    assert (changed.new_contents, changed.files) == (2, 3)
    assert embedder.embedded == 4  # the one function that differs: c.py says what a.py said
    assert found(index, "sym:greet", k=5) != []


def test_a_moved_file_is_found_at_its_new_place_for_nothing(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET, "b.py": PARSE})
    embedder = Bag()
    index = CodeIndex(tmp_path / "index", embedder)
    index.update(repo, "HEAD")
    with git.Repo(repo) as opened:
        (repo / "deep").mkdir()
        opened.git.mv("a.py", "deep/moved.py")
        commit(repo, {})
    before = embedder.embedded
    moved = index.update(repo, "HEAD")
    assert (moved.new_contents, moved.added, moved.removed) == (0, 1, 1)
    assert embedder.embedded == before
    assert found(index, "greet", k=1) == [("deep/moved.py", "greet")]
    assert index.coverage().share == 1.0


def test_deleted_files_vanish_with_all_that_only_they_said(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET + RETRY, "b.py": PARSE})
    index = CodeIndex(tmp_path / "index")
    index.update(repo)
    commit(repo, {"a.py": None})
    index.update(repo)
    assert found(index, "greet a person or back off", mode="lexical") == []
    assert found(index, '"sleep(2**attempt)"') == []
    for table, count in (("files", 1), ("chunks", 1), ("texts", 1), ("symbols", 1)):
        assert index.store.rows(f"SELECT count(*) FROM {table}") == [(count,)], table
    assert index.store.rows("SELECT count(*) FROM trigrams WHERE trigrams MATCH '\"sle\"'") == [
        (0,)
    ]


def test_branches_share_work_and_can_be_told_apart(tmp_path: Path, make_repo: MakeRepo) -> None:
    repo = make_repo(tmp_path / "repo", {f"same{i}.py": GREET + b"# %d\n" % i for i in range(5)})
    with git.Repo(repo) as opened:
        opened.git.checkout("-q", "-b", "feature")
        commit(repo, {"new.py": RETRY})
        opened.git.checkout("-q", "main")
    embedder = Bag()
    index = CodeIndex(tmp_path / "index", embedder)
    index.update(repo, "main")
    before = embedder.embedded
    assert index.update(repo, "feature").new_contents == 1
    assert embedder.embedded == before + 1
    assert found(index, "back_off", k=1, revision="feature") == [("new.py", "back_off")]
    assert found(index, "back_off", k=1, revision="main") != [("new.py", "back_off")]
    with pytest.raises(InputError, match="'master' is not in the index, which has: feature, main"):
        index.search("back_off", revision="master")
    assert index.remove("repo", "feature") == 1
    assert ("new.py", "back_off") not in found(index, "back_off")
    assert {path for path, _ in found(index, "greet", mode="lexical")} == {"same0.py"} | {
        path for path, _ in found(index, "greet", mode="lexical")
    }


def test_a_working_copy_is_indexed_as_it_lies_on_the_disk(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    files = {"a.py": GREET, "gone.py": PARSE, ".gitignore": b"ignored.py\n"}
    repo = make_repo(tmp_path / "repo", files)
    (repo / "a.py").write_bytes(RETRY)
    (repo / "gone.py").unlink()
    (repo / "untracked.py").write_bytes(PARSE)
    (repo / "ignored.py").write_bytes(GREET)
    index = CodeIndex()
    done = index.update(repo)
    assert done.revision == "working tree"
    assert {(path, symbol) for _, path, symbol, *_ in contents(index)} == {
        ("a.py", "back_off"),
        ("untracked.py", "parse"),
    }
    committed = CodeIndex()
    committed.update(repo, "HEAD")
    assert {(path, symbol) for _, path, symbol, *_ in contents(committed)} == {
        ("a.py", "greet"),
        ("gone.py", "parse"),
    }


def test_filters_and_monitors_of_a_repository_do_not_run(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET, ".gitattributes": b"*.py filter=bad\n"})
    trace = tmp_path / "ran"
    with git.Repo(repo) as opened, opened.config_writer() as config:
        config.set_value("core", "fsmonitor", f"touch {trace}")
        config.set_value('filter "bad"', "clean", f"touch {trace}; cat")
    (repo / "a.py").write_bytes(PARSE)
    index = CodeIndex()
    index.update(repo)
    assert found(index, "parse", k=1) == [("a.py", "parse")]
    assert not trace.exists()


def test_an_updated_index_equals_one_built_from_nothing(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    rng = random.Random(5)
    pieces = [GREET, PARSE, RETRY, b"LIMIT = 3\n\n\n", b"class Box:\n    size = 1\n\n\n"]
    names = [f"{folder}f{i}.py" for folder in ("", "deep/") for i in range(4)]
    repo = make_repo(tmp_path / "repo", {"f0.py": GREET})
    index = CodeIndex(tmp_path / "index", Bag())
    for step in range(12):
        files: dict[str, bytes | None] = {"count.py": b"COUNT = %d\n" % step}
        for name in rng.sample(names, 3):
            text = b"".join(rng.sample(pieces, 3)) + b"# %d\n" % rng.randrange(3)
            files[name] = None if (repo / name).exists() and rng.random() < 0.4 else text
        commit(repo, files)
        index.update(repo, "HEAD")
        if step % 4 == 3:
            fresh = CodeIndex(tmp_path / f"fresh{step}", Bag())
            fresh.update(repo, "HEAD")
            assert contents(index) == contents(fresh)
            for query in ("greets a person", "Box", '"int(text)"', "waits after failures"):
                both = [
                    sorted((round(h.score, 4), h.symbol, h.copies) for h in it.search(query, 1000))
                    for it in (index, fresh)
                ]
                assert both[0] == both[1], query


def test_repositories_of_one_name_are_kept_apart(tmp_path: Path, make_repo: MakeRepo) -> None:
    first = make_repo(tmp_path / "one" / "api", {"a.py": GREET})
    second = make_repo(tmp_path / "two" / "api", {"a.py": PARSE})
    index = CodeIndex()
    assert (index.update(first).repo, index.update(second).repo) == ("api", "api-2")
    assert [hit.repo for hit in index.search("parse", 1)] == ["api-2"]
    assert found(index, "greet", repos=["api-2"]) == []
    index.remove("api-2")
    assert found(index, "parse greet") == [("a.py", "greet")]
    with pytest.raises(InputError, match="api-2 is not in the index, which has: api"):
        index.remove("api-2")


def test_filters_let_through_what_they_say(tiny_repo: Path) -> None:
    index = CodeIndex()
    index.update(tiny_repo)
    everything = contents(index)
    for query, wanted in (
        ("path:src/* settings greet limit", {p for _, p, *_ in everything if p.startswith("src/")}),
        ("lang:go greet limit next", {"counter/counter.go"}),
        ("sym:load_settings greet settings", {"src/app.py", "tests/test_app.py"}),
    ):
        paths = {path for path, _ in found(index, query, k=50)}
        assert paths, query
        assert paths <= wanted, query
    assert found(index, "sym:load_settings") == [("src/app.py", "load_settings")]
    assert {path for path, _ in found(index, "next", languages=["Go"])} == {"counter/counter.go"}
    assert {path for path, _ in found(index, "greet", paths=["*.md"], k=50)} == {"README.md"}


def test_exact_text_and_patterns_find_what_a_scan_of_all_finds(
    tiny_repo: Path, tmp_path: Path
) -> None:
    on_disk, in_memory = CodeIndex(tmp_path / "index"), CodeIndex()
    for index in (on_disk, in_memory):
        index.update(tiny_repo, embed=False)
    assert (on_disk.store.has_trigrams, in_memory.store.has_trigrams) == (True, False)
    for query, pattern, flags in (
        ('"Hello, {name}!"', r"Hello, \{name\}!", 0),
        ('"hello, "', "hello, ", re.IGNORECASE),
        ('"if"', "if", re.IGNORECASE),  # shorter than a trigram
        (r"/def \w+_settings\(/", r"def \w+_settings\(", re.IGNORECASE),
        (r"/^func Next/", r"^func Next", 0),
        (r"/colou?r|Café/", r"colou?r|Café", 0),
        ('"ello, {na"', r"ello, \{na", 0),  # parts of words
        (r"/Nothing\s+like it/", r"Nothing\s+like it", 0),
    ):
        compiled = re.compile(pattern, flags | re.MULTILINE)
        wanted = {
            (path, int(start))
            for _, path, _, _, start, _, body in contents(on_disk)
            if compiled.search(body.encode("latin-1").decode("utf-8", "replace"))
        }
        for index in (on_disk, in_memory):
            hits = index.search(query, 1000)
            got = {(hit.path, hit.start_line) for hit in hits}
            assert got <= wanted, query
            assert len(got) + sum(hit.copies for hit in hits) == len(wanted), query


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
def test_filters_alone_find_all_that_they_let_through(tiny_repo: Path, mode: Mode) -> None:
    index = CodeIndex(None, Bag())
    index.update(tiny_repo)
    assert {path for path, _ in found(index, "lang:go", mode=mode)} == {"counter/counter.go"}
    assert found(index, r"/def load_\w+/", mode=mode) == [("src/app.py", "load_settings")]


def test_operators_of_databases_are_words_like_others(tmp_path: Path, tiny_repo: Path) -> None:
    index = CodeIndex(tmp_path / "index")
    index.update(tiny_repo)
    before = contents(index)
    for query in (
        "' OR 1=1 --",
        'a" OR "b',
        '"\'" OR',
        "NEAR(a b)",
        "* AND NOT",
        "\x00",
        "",
        "%",
        "é",
    ):
        index.search(query)
        index.search(f'"{query}"')
    assert contents(index) == before
    with pytest.raises(InputError, match="the query has 100,000 characters"):
        index.search("a" * 100_000)


def test_documents_are_found_by_their_place() -> None:
    documents = [
        ("b.py", PARSE),
        ("a.py", GREET),
        ("b.py", PARSE),
        ("c.go", COUNTER_GO),
        ("d.py", RETRY),
    ]
    index = CodeIndex.from_documents(documents, Bag())
    for mode in ("hybrid", "dense", "lexical"):
        assert index.search("waits longer after a failed attempt", 1, mode=mode)[0].id == 4, mode
    assert {hit.id for hit in index.search("parse", 2)} == {0, 2}  # equal ones, each by itself
    assert index.search("next limit", 1)[0].path == "c.go"
    assert CodeIndex.from_documents([], Bag()).search("anything") == []


def test_an_index_that_was_saved_finds_the_same(tmp_path: Path, tiny_repo: Path) -> None:
    index = CodeIndex(None, Bag())
    index.update(tiny_repo)
    index.save(tmp_path / "saved")
    loaded = CodeIndex.load(tmp_path / "saved", Bag())
    for query in ("greet a person", "settings", '"return limit"', "lang:go next"):
        assert loaded.search(query) == index.search(query)
    assert loaded.coverage() == index.coverage()
    with pytest.raises(InputError, match="exists already"):
        index.save(tmp_path / "saved")


def test_words_can_be_searched_before_there_are_vectors(tmp_path: Path, tiny_repo: Path) -> None:
    index = CodeIndex(tmp_path / "index", Bag())
    index.update(tiny_repo, embed=False)
    assert index.coverage().share == 0.0
    assert found(index, "greets a person", k=1) == [("src/app.py", "greet")]
    with pytest.raises(InputError, match="no vectors yet"):
        index.search("greet", mode="dense")
    steps: list[tuple[str, int, int]] = []
    total = index.embed(lambda *step: steps.append(step))
    assert (steps[0], steps[-1]) == (("embedding", 0, total), ("embedding", total, total))
    assert index.coverage().share == 1.0


@pytest.mark.parametrize("in_memory", [True, False])
def test_vectors_come_in_one_thread_while_others_search(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    monkeypatch.setattr("codebyte.indexer.embedding.BATCH", 4)
    files = {f"f{i}.py": b"def count_%d(items):\n    return len(items)\n" % i for i in range(60)}
    index = CodeIndex(None if in_memory else tmp_path / "index", Bag())
    index.update(make_repo(tmp_path / "repo", files), embed=False)
    with ThreadPoolExecutor(4) as pool:
        embedding = pool.submit(index.embed)
        searches = [pool.submit(found, index, f"count_{i % 60}", k=1) for i in range(120)]
        assert embedding.result() == 60
        for i, search in enumerate(searches):
            assert search.result() == [(f"f{i % 60}.py", f"count_{i % 60}")]
    assert index.coverage().share == 1.0


def test_a_changed_model_is_refused_with_the_remedy(tmp_path: Path, tiny_repo: Path) -> None:
    CodeIndex(tmp_path / "index", Bag()).update(tiny_repo)
    other = Bag(model_id="other", dim=32)
    with pytest.raises(StaleIndexError, match="vectors of model bag, not of other: run"):
        CodeIndex.load(tmp_path / "index", other)
    index = CodeIndex(tmp_path / "index", other)
    for refused in (lambda: index.search("greet"), lambda: index.update(tiny_repo)):
        with pytest.raises(StaleIndexError, match=r"index --reembed`, or search with"):
            refused()
    assert found(index, "greet", mode="lexical", k=1) == [("src/app.py", "greet")]
    index.reembed()
    assert index.coverage().share == 0.0
    index.update(tiny_repo)
    assert index.coverage().share == 1.0
    assert found(index, "greet a person", mode="dense", k=1) == [("src/app.py", "greet")]


def test_similar_code_is_found_and_the_place_itself_is_not(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    twin = RETRY.replace(b"back_off", b"wait_longer").replace(b"2**", b"3**")
    repo = make_repo(tmp_path / "repo", {"a.py": GREET + RETRY, "b.py": PARSE, "c.py": twin})
    index = CodeIndex(None, Bag())
    index.update(repo)
    hits = index.similar("a.py", 7, k=3)
    assert (hits[0].path, hits[0].symbol) == ("c.py", "wait_longer")
    assert ("a.py", "back_off") not in [(hit.path, hit.symbol) for hit in hits]
    assert index.similar("elsewhere.py", 1, k=1, data=twin)[0].symbol == "wait_longer"
    with pytest.raises(InputError, match=r"nope\.py is not in the index"):
        index.similar("nope.py", 1)
    index.embedder = None
    with pytest.raises(InputError, match="mode 'dense' cannot be used, no model was given"):
        index.similar("a.py", 7, mode="dense")


def test_similar_code_is_that_of_the_repository_asked_for_as_it_lies_on_the_disk(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    first = make_repo(tmp_path / "one", {"a.py": GREET})
    second = make_repo(tmp_path / "two", {"a.py": b"\n" + PARSE, "b.py": RETRY})
    index = CodeIndex()
    for repo in (first, second):
        index.update(repo)
        index.update(repo, "HEAD")
    (first / "a.py").write_bytes(b"\n\n" + RETRY.replace(b"2**", b"3**"))
    (second / "c.py").write_bytes(PARSE.replace(b"parse", b"parse_all"))
    for repo in (first, second):
        index.update(repo)
    for name, symbol in (("one", "back_off"), ("two", "parse_all")):
        assert index.similar("a.py", 2, 1, repo=name)[0].symbol == symbol
    with pytest.raises(InputError, match=r"b\.py is not in the index"):
        index.similar("b.py", 1, repo="one")


def test_a_file_on_the_disk_is_looked_up_as_itself_and_not_as_one_of_its_name(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = make_repo(tmp_path / "outer", {"setup.py": GREET, "inner/setup.py": GREET})
    inner = make_repo(outer / "inner", {"setup.py": GREET, "src/app.py": PARSE})
    index = CodeIndex()
    index.update(inner)
    index.update(outer, "HEAD")
    monkeypatch.chdir(inner)
    assert index.place_of("setup.py") == ("inner", "setup.py")
    assert index.place_of(outer / "setup.py") == ("outer", "setup.py")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert index.place_of("src/app.py") == ("inner", "src/app.py")  # as hits have it
    Path("setup.py").write_bytes(RETRY)
    assert index.place_of("setup.py") is None


def test_a_plain_folder_follows_its_changes(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_bytes(GREET)
    (folder / ".gitignore").write_bytes(b"*.gen.py\n")
    (folder / "b.gen.py").write_bytes(PARSE)
    index = CodeIndex()
    assert index.update(folder).revision == "folder"
    assert {path for _, path, *_ in contents(index)} == {"a.py"}
    (folder / "a.py").write_bytes(RETRY)
    index.update(folder)
    assert [symbol for _, _, symbol, *_ in contents(index)] == ["back_off"]


def test_a_folder_that_becomes_a_repository_and_back_is_found_as_it_is_now(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "a.py").write_bytes(GREET)
    index = CodeIndex()
    index.update(folder)
    (folder / "a.py").unlink()
    make_repo(folder, {"b.py": PARSE})
    index.update(folder)
    assert {path for _, path, *_ in contents(index)} == {"b.py"}
    shutil.rmtree(folder / ".git")
    (folder / "b.py").rename(folder / "c.py")
    index.update(folder)
    assert {path for _, path, *_ in contents(index)} == {"c.py"}


def test_a_branch_called_folder_stays_beside_the_working_tree(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    with git.Repo(repo) as opened:
        opened.create_head("folder")
    index = CodeIndex()
    index.update(repo, "folder")
    (repo / "a.py").unlink()
    index.update(repo)
    assert found(index, "greet", revision="folder") == [("a.py", "greet")]


def test_a_file_changed_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    index = CodeIndex()
    for number in range(5):
        (folder / "a.py").write_bytes(b"NUMBER_%d = 12345\n" % number)
        index.update(folder)
        assert [body for *_, body in contents(index)] == [f"NUMBER_{number} = 12345\n"]


def test_commits_are_remembered_in_their_order(tmp_path: Path, make_repo: MakeRepo) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    index = CodeIndex()
    ids = []
    for text in (PARSE, RETRY):
        ids.append(commit(repo, {"a.py": text}))
        index.update(repo, "HEAD")
        index.update(repo, "HEAD")
    assert index.store.rows("SELECT commit_id FROM commits ORDER BY rowid") == [(it,) for it in ids]
    assert found(index, "back_off", revision=ids[1][:10]) == [("a.py", "back_off")]


def test_a_source_that_cannot_be_read_leaves_the_index_as_it_was(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    index = CodeIndex(tmp_path / "index")
    index.update(repo)
    before = contents(index)
    empty = tmp_path / "empty"
    git.Repo.init(empty).close()
    for source, revision, message in (
        (tmp_path / "nowhere", None, "is not a folder"),
        (empty, None, "no commit yet"),
        (repo, "nosuch", "no revision 'nosuch'"),
        (tmp_path / "index", "HEAD", "is a plain folder without revision"),
        ("http://example.org/x.git", None, "is no URL to clone"),
    ):
        with pytest.raises(RepoError, match=message):
            index.update(source, revision)
    assert contents(index) == before


def test_names_that_are_not_utf8_links_submodules_and_giants_are_no_trouble(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    inner = make_repo(tmp_path / "inner", {"x.py": PARSE})
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    (repo / "loop").symlink_to(repo, target_is_directory=True)
    bad = b"caf\xe9.py"
    with open(bytes(repo) + b"/" + bad, "wb") as file:
        file.write(RETRY)
    with git.Repo(repo) as opened:
        allow = ["git", "-c", "protocol.file.allow=always"]
        opened.git.execute([*allow, "submodule", "--quiet", "add", str(inner), "sub"])
    commit(repo, {})
    with (repo / "giant.py").open("wb") as file:
        file.truncate(2 << 30)
    for revision in (None, "HEAD"):
        index = CodeIndex()
        done = index.update(repo, revision)
        assert found(index, "back_off", k=1) == [("caf\\xe9.py", "back_off")]
        assert (done.skips["submodule"], done.skips["link"]) == (1, 1)
        assert done.skips.get("too big") == (1 if revision is None else None)


def test_the_index_equals_git_after_a_commit_was_deleted_under_it(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    commit(repo, {"b.py": PARSE})
    index = CodeIndex(tmp_path / "index")
    index.update(repo, "HEAD")
    for command in (["reset", "-q", "--hard", "HEAD~1"], ["reflog", "expire", "--expire=now", "--all"]):  # fmt: skip  # noqa: E501
        subprocess.run(["git", "-C", repo, *command], check=True)
    subprocess.run(["git", "-C", repo, "gc", "-q", "--prune=now"], check=True)
    assert found(index, "parse", k=1) == [("b.py", "parse")]
    index.update(repo, "HEAD")
    assert found(index, "parse greet") == [("a.py", "greet")]


def test_others_search_and_write_while_a_url_is_cloned(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    index = CodeIndex(tmp_path / "index")
    index.update(repo)
    done: list[object] = []

    def cloned(*_: object) -> Path:
        with only_writer(tmp_path / "index"):
            done.append(pool.submit(found, index, "greet").result(timeout=20))
        return make_repo(tmp_path / "clone", {"b.py": PARSE})

    monkeypatch.setattr("codebyte.indexer.repo.clone", cloned)
    with ThreadPoolExecutor(1) as pool:  # the lock would let this thread itself through
        assert index.update("https://example.org/ada/api", "main").repo == "ada/api"
    assert done == [[("a.py", "greet")]]
    assert found(index, "parse") == [("b.py", "parse")]


def test_vectors_in_no_use_are_dropped_once_they_are_many(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebyte.indexer.embedding._SPARE", 0)
    repo = make_repo(
        tmp_path / "repo", {"a.py": b"".join(b"def f%d(): pass\n\n" % i for i in range(50))}
    )
    index = CodeIndex(tmp_path / "index", Bag())
    index.update(repo)
    size = (tmp_path / "index" / "vectors-1.f16").stat().st_size
    commit(repo, {"a.py": b"def f1(): pass\n\ndef f2(): pass\n"})
    index.update(repo)
    assert not (tmp_path / "index" / "vectors-1.f16").exists()
    assert (tmp_path / "index" / "vectors-2.f16").stat().st_size == size * 2 // 50
    assert index.coverage().share == 1.0
    scores = {hit.symbol: hit.score for hit in index.search("f1", mode="dense")}
    assert set(scores) == {"f1", "f2"}
    assert np.isfinite(list(scores.values())).all()
