import hashlib
import os
from collections import Counter
from dataclasses import astuple
from pathlib import Path

import git
import pytest
from conftest import APP, KEPT, LATIN1, LEFT_OUT, README, MakeRepo

from codebyte.errors import CorpusError, RepoError
from codebyte.indexer import clone
from codebyte.indexer.filters import format_skips, skip_content, skip_path
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.languages import is_test, language_of
from codebyte.indexer.repo import Repository, documents, open_repo, read_blobs

SKIPS = Counter(reason for reason, _ in LEFT_OUT.values()) + Counter(link=1)


def read(repo: Repository, revision: str | None = None) -> dict[str, bytes]:
    return {blob.path: blob.data for blob in read_blobs(repo, revision)}


def test_a_repository_gives_its_sources_and_counts_all_else_by_reason(tiny_repo: Path) -> None:
    skips: Counter[str] = Counter()
    blobs = list(read_blobs(open_repo(tiny_repo), skips=skips))
    assert {blob.path: blob.data for blob in blobs} == KEPT
    assert [blob.path for blob in blobs] == sorted(KEPT)
    assert skips == SKIPS


def test_a_plain_folder_reads_like_the_repository_with_the_same_ids(
    tiny_repo: Path, tmp_path: Path
) -> None:
    tracked = {astuple(blob) for blob in read_blobs(open_repo(tiny_repo))}
    (tiny_repo / ".git").rename(tmp_path / "elsewhere")
    skips: Counter[str] = Counter()
    plain = open_repo(tiny_repo)
    assert plain.git is None
    assert {astuple(blob) for blob in read_blobs(plain, skips=skips)} == tracked
    assert skips == SKIPS


def test_links_out_of_a_plain_folder_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "secret.py").write_bytes(APP)
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "app.py").write_bytes(LATIN1)
    (folder / "linked.py").symlink_to(secret / "secret.py")
    (folder / "linked").symlink_to(secret, target_is_directory=True)
    assert read(open_repo(folder)) == {"app.py": LATIN1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_counted_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    skips: Counter[str] = Counter()
    assert list(read_blobs(open_repo(tmp_path), skips=skips)) == []
    assert skips == {"not a file": 1}


def test_what_is_committed_is_read_and_not_the_working_tree(tiny_repo: Path) -> None:
    (tiny_repo / "src" / "app.py").write_bytes(b"changed = 'but not committed'\n" * 9)
    (tiny_repo / "src" / "new.py").write_bytes(b"added = 'but not committed'\n" * 9)
    assert read(open_repo(tiny_repo)) == KEPT


def test_an_earlier_revision_is_read_as_it_was(tiny_repo: Path) -> None:
    earlier = KEPT | {"README.md": README * 2}
    assert read(open_repo(tiny_repo, "HEAD~1")) == earlier
    assert read(open_repo(tiny_repo), "HEAD~1") == earlier


@pytest.mark.parametrize("config", [True, False], ids=["config", "no-config"])
def test_a_bare_repository_needs_no_checkout(tiny_repo: Path, tmp_path: Path, config: bool) -> None:
    bare = tmp_path / "greeter.git"
    with git.Repo(tiny_repo) as repo, repo.clone(bare, bare=True):
        pass
    if not config:
        (bare / "config").unlink()
    opened = open_repo(bare)
    assert opened.name == "greeter"
    assert read(opened) == KEPT


def test_a_blob_that_the_clone_lacks_is_counted_and_the_rest_is_read(tiny_repo: Path) -> None:
    oid = hashlib.sha1(b"blob %d\0" % len(APP) + APP).hexdigest()
    (tiny_repo / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    skips: Counter[str] = Counter()
    blobs = {blob.path: blob.data for blob in read_blobs(open_repo(tiny_repo), skips=skips)}
    assert blobs == {path: data for path, data in KEPT.items() if path != "src/app.py"}
    assert skips == SKIPS + Counter({"missing in the clone": 1})


def test_a_partial_clone_fetches_nothing_and_counts_what_it_lacks(
    tiny_repo: Path, tmp_path: Path
) -> None:
    with git.Repo(tiny_repo) as repo:
        repo.git.config("uploadpack.allowFilter", "true")
    partial = tmp_path / "partial.git"
    git.Git().clone("--quiet", "--bare", "--filter=blob:none", tiny_repo.as_uri(), str(partial))
    skips: Counter[str] = Counter()
    assert list(read_blobs(open_repo(partial), skips=skips)) == []
    by_content = {"too small", "too big", "near-empty", "binary", "data-like", "long lines"}
    unread = len(KEPT) + sum(reason in by_content for reason, _ in LEFT_OUT.values())
    assert skips["missing in the clone"] == unread + 1  # src/made.py, told by its notice


def test_hooks_filters_and_monitors_of_a_repository_do_not_run(
    tiny_repo: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    script.chmod(0o755)
    with git.Repo(tiny_repo) as repo:
        for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "filter.evil.smudge"):
            repo.git.config(key, str(script))
    (tiny_repo / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    assert read(open_repo(tiny_repo)) == KEPT
    assert not ran.exists()


def test_an_empty_repository_is_refused_in_one_sentence(tmp_path: Path) -> None:
    git.Repo.init(tmp_path / "empty").close()
    with pytest.raises(RepoError, match=r"empty has no commit yet: commit something first$"):
        open_repo(tmp_path / "empty")


@pytest.mark.parametrize("revision", ["nonsense", "--all", "-h", "", "HEAD:README.md"])
def test_what_is_no_commit_is_refused_and_never_an_option(tiny_repo: Path, revision: str) -> None:
    with pytest.raises(RepoError, match="has no revision"):
        open_repo(tiny_repo, revision)


def test_a_plain_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(RepoError, match="is a plain folder without revision 'main'"):
        open_repo(tmp_path, "main")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc",
        "http://example.org/owner/name",
        "git://example.org/owner/name",
        "ext::sh -c touch% /tmp/ran",
        "https://-oProxyCommand=touch/owner",
        "--upload-pack=touch /tmp/ran",
        "no/such/folder",
    ],
)
def test_only_folders_and_safe_urls_are_opened(url: str, tmp_path: Path) -> None:
    with pytest.raises(RepoError):
        open_repo(url, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def url(tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An https URL that git rewrites to tiny_repo, so that real clones need no network."""
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "file://{tiny_repo}"]\n\tinsteadOf = https://example.org/ada/tiny\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return "https://example.org/ada/tiny"


def test_a_url_is_cloned_into_the_cache_and_brought_up_to_date(
    url: str, tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone, "PROTOCOLS", "https:ssh:file")
    first = open_repo(url, cache=tmp_path / "cache")
    assert first.name == "ada/tiny"
    assert read(first) == KEPT
    with git.Repo(tiny_repo) as repo:
        repo.git.reset("--hard", "HEAD~1")
        expected = repo.head.commit.hexsha
    again = open_repo(url, cache=tmp_path / "cache")
    assert again.commit == expected
    assert [again.folder] == list((tmp_path / "cache").iterdir())


def test_an_earlier_revision_of_a_url_is_found(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone, "PROTOCOLS", "https:ssh:file")
    assert read(open_repo(url, "main~1", tmp_path / "cache"))["README.md"] == README * 2


def test_a_url_rewritten_to_a_file_is_refused_by_git_and_leaves_no_clone(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(RepoError, match="cannot be cloned: transport 'file' not allowed"):
        open_repo(url, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    failures: dict[str, str] = {}
    secret = "https://ada:hunter2@127.0.0.1:1/owner/name"
    with pytest.raises(CorpusError) as raised:
        list(documents([secret], cache=tmp_path, failures=failures))
    assert list(failures) == ["https://127.0.0.1:1/owner/name"]
    assert "hunter2" not in str(raised.value) + str(failures)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://ada:hunter2@host/a/b", "https://host/a/b"),
        ("https://ada:hun@ter2@host/a/b", "https://host/a/b"),
        ("https://token@host/a/@b", "https://host/a/@b"),
        ("ssh://git@github.com/a/b", "ssh://git@github.com/a/b"),
        ("ssh://git:hun@ter2@github.com:22/a/b", "ssh://git@github.com:22/a/b"),
        ("ssh://:hunter2@host/a/b", "ssh://host/a/b"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("no 'ssh://git@h/a', 'https://ada:x@h/b'", "no 'ssh://git@h/a', 'https://h/b'"),
    ],
)
def test_a_public_url_keeps_the_user_of_ssh_and_no_other_login(url: str, public: str) -> None:
    assert clone.public_url(url) == public


def test_the_user_of_an_ssh_url_is_kept_in_what_is_indexed_and_asked_for_again(
    tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "file://{tiny_repo}"]\n\tinsteadOf = ssh://git@host/ada/tiny\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setattr(clone, "PROTOCOLS", "file")
    index = CodeIndex()
    index.update("ssh://git:hunter2@host/ada/tiny", cache=tmp_path / "cache")
    ((source,),) = index.store.rows("SELECT source FROM repos")
    assert source == "ssh://git@host/ada/tiny"
    index.update(source, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_clone_is_taken_as_it_is_where_no_news_are_wanted(
    url: str, tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone, "PROTOCOLS", "https:ssh:file")
    first = open_repo(url, cache=tmp_path / "cache", fetch=False)  # there is none yet
    tiny_repo.rename(tmp_path / "away")
    assert read(open_repo(url, cache=tmp_path / "cache", fetch=False)) == read(first) == KEPT
    with pytest.raises(RepoError, match="an older clone is kept"):
        open_repo(url, cache=tmp_path / "cache")


def test_clones_lose_the_passwords_that_older_versions_kept(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone, "PROTOCOLS", "https:ssh:file")
    old = open_repo(url, "main", tmp_path / "cache").folder / "config"
    kept = old.read_text()
    assert url in kept
    old.write_text(kept.replace("https://", "https://ada:hunter2@"))
    open_repo(url, cache=tmp_path / "cache")
    assert old.read_text() == kept


def test_one_broken_source_is_reported_and_the_others_are_read(
    tiny_repo: Path, make_repo: MakeRepo, tmp_path: Path
) -> None:
    broken = make_repo(tmp_path / "broken", {"a.py": APP})
    (broken / ".git" / "refs" / "heads" / "main").write_text("0" * 40 + "\n")
    text = tmp_path / "notes.txt"
    text.write_bytes(b"short")
    skips: Counter[str] = Counter()
    failures: dict[str, str] = {}
    sources = [broken, tiny_repo, tmp_path / "absent", text]
    found = [astuple(file) for file in documents(sources, skips=skips, failures=failures)]
    assert found == [
        *(("tiny", path, language_of(path), data) for path, data in sorted(KEPT.items())),
        ("notes", "notes.txt", "", b"short"),
    ]
    assert skips == SKIPS
    assert list(failures) == [str(broken), str(tmp_path / "absent")]
    assert "is not a folder" in failures[str(tmp_path / "absent")]


def test_no_source_left_is_an_error_that_gives_every_reason(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none of the 2 sources .*one is not.*two is not"):
        list(documents([tmp_path / "one", tmp_path / "two"]))
    with pytest.raises(CorpusError, match="nothing to read"):
        list(documents([]))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("src/vendor/x.py", "vendored"),
        ("src/vendors.py", None),
        ("shop/vendors/models.py", None),
        ("deps/lua/lua.c", "vendored"),
        ("app/api/deps/user.py", None),
        ("a/node_modules/b/c.js", "vendored"),
        ("package-lock.json", "lock file"),
        ("Cargo.lock", "lock file"),
        ("go.sum", "lock file"),
        ("threading/lock.py", None),
        ("file-lock.c", None),
        ("api/v1/thing.pb.go", "generated"),
        ("locale/de.po", "not source"),
        ("tests/__snapshots__/page.js", "sample data"),
        ("news.py", None),
        ("NEWS.rst", "change log"),
        ("Makefile", None),
        ("docker/dockerfile.dev", None),
        ("caf\udce9.py", None),
    ],
)
def test_a_path_is_left_out_for_the_right_reason(path: str, reason: str | None) -> None:
    assert skip_path(path) == reason


@pytest.mark.parametrize(
    "notice",
    [
        "# This file is automatically generated by tools/idna-data",
        "// Code generated by moq; DO NOT EDIT.",
        "/*\n * Generated by PEG.js 0.9.0.\n */",
        "<!-- Auto-generated by FAQtory -->",
        "# @generated",
        "/* Do not modify this file, it's automatically generated from names.py */",
        '"""\nThis module was autogenerated.\n"""',
        ".. Note this file is autogenerated by scripts/update.py",
        "# DO NOT EDIT THIS FILE BY HAND.",
        "# Please do not edit this file manually",
    ],
)
def test_a_notice_that_says_it_of_the_file_makes_it_generated(notice: str) -> None:
    assert skip_content((notice + "\n" + "number = compute(number)\n" * 20).encode()) == "generated"


@pytest.mark.parametrize(
    "code",
    [
        "import os\n\nprint('/** Auto-generated by web/gen/options_js.py */')",
        "TEXT = '''# This file is autogenerated by the build.'''",
        "# Help for the command is automatically generated from its docstring",
        "# Do not modify the cursor between iterations, it is used again.",
        "import os\n\n"
        + "size = os.sep\n" * 40
        + "# Generated with openssl: it is too slow at startup.",
        "/*\n * What is passed to code generated by compilers\n */",
        "# - A header file is generated by a custom target and passed as source.",
    ],
)
def test_code_that_only_speaks_of_generated_things_is_kept(code: str) -> None:
    assert skip_content((code + "\n" + "number = compute(number)\n" * 20).encode()) is None


def test_text_in_any_encoding_is_kept() -> None:
    text = "Größe, мир и программа, 世界上的程序, été: größer als zuvor und schöner\n" * 3
    for encoding in ("utf-8", "latin-1", "shift_jis", "koi8-r"):
        data = text.encode(encoding, "ignore")
        assert data.decode(encoding)
        assert skip_content(data) is None, encoding


def test_utf_16_is_binary_since_half_its_bytes_are_nul() -> None:
    assert skip_content(("print('hello')\n" * 20).encode("utf-16")) == "binary"


def test_a_paragraph_on_one_line_is_prose_and_the_same_line_no_code() -> None:
    data = b"A paragraph that someone wrote without a single line break in it. " * 5
    assert skip_content(data, "markdown") is None
    assert skip_content(data, "python") == "long lines"


def test_skips_are_told_most_frequent_first() -> None:
    counts = {"too small": 2, "vendored": 1500, "binary": 2, "link": 0}
    told = "1,504 files left out: 1,500 vendored, 2 binary, 2 too small"
    assert format_skips(counts) == told
    assert format_skips({}) == "no file left out"


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("tests/helpers.py", True),
        ("pkg/test_x.py", True),
        ("src/contest.py", False),
        ("web/app.spec.ts", True),
        ("pkg/thing_test.go", True),
        ("latest/x.py", False),
        ("conftest.py", True),
    ],
)
def test_test_code_is_told_by_its_path(path: str, test: bool) -> None:
    assert is_test(path) is test
