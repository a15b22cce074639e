"""What the page's tabs are made of, without a browser."""

import stat
import zipfile
from pathlib import Path

import git
import pytest

from codebyte.apps.code_html import code_html
from codebyte.apps.library import Library
from codebyte.apps.page_parts import meter, note
from codebyte.apps.uploads import unpack
from codebyte.errors import CodebyteError, InputError
from codebyte.indexer.updating import silent
from codebyte.megabyte import Megabyte


@pytest.fixture
def library(tmp_path: Path, tiny_repo: Path, tiny_model: Megabyte) -> Library:
    library = Library(tmp_path / "index")
    library.add(str(tiny_repo), silent)
    return library


def test_what_is_shown_is_escaped() -> None:
    assert "<script>" not in note("<script>alert(1)</script>")
    assert "<b>x" not in meter("<b>x", 1, 2)
    drawn = code_html(["x = '<script>'"], "python", 7, {"script"})
    assert "<script>" not in drawn
    assert "<mark>script</mark>" in drawn
    assert '<span class="cb-number">7</span>' in drawn


def test_a_string_over_several_lines_is_drawn_line_by_line() -> None:
    drawn = code_html(['"""one', 'two"""', "x"], "python", 1, set())
    assert drawn.count('<div class="cb-row">') == 3
    assert drawn.count("<i ") == drawn.count("</i>")


def test_a_file_of_an_indexed_repository_can_be_opened_and_no_other(
    library: Library, tiny_repo: Path
) -> None:
    (tiny_repo / "secret.txt").write_text("not indexed")
    assert library.read("tiny", "src/app.py") == (tiny_repo / "src" / "app.py").read_bytes()
    for path in ("secret.txt", "../tiny/src/app.py", "/etc/passwd", "src/../src/app.py", ""):
        with pytest.raises(InputError, match="is not in the index"):
            library.read("tiny", path)
    with pytest.raises(InputError):
        library.read("another", "src/app.py")


def test_a_file_that_became_a_link_out_of_the_repository_is_read_as_it_was_committed(
    library: Library, tiny_repo: Path, tmp_path: Path
) -> None:
    before = (tiny_repo / "src" / "app.py").read_bytes()
    (tmp_path / "elsewhere.py").write_text("a secret")
    (tiny_repo / "src" / "app.py").unlink()
    (tiny_repo / "src" / "app.py").symlink_to(tmp_path / "elsewhere.py")
    assert library.read("tiny", "src/app.py") == before


def test_a_repository_that_was_removed_is_forgotten(library: Library, tiny_repo: Path) -> None:
    assert library.names() == ["tiny"]
    assert library.search("greets a person by name")[0].symbol == "greet"
    library.remove("tiny")
    assert library.names() == []
    assert (tiny_repo / "src" / "app.py").exists()


@pytest.mark.parametrize(
    "source",
    ["", "--upload-pack=touch owned", "file:///etc", "ext::sh -c 'touch owned'", "/nowhere/at/all"],
)
def test_a_source_that_is_no_folder_and_no_safe_address_is_refused(
    tmp_path: Path, tiny_model: Megabyte, source: str
) -> None:
    library = Library(tmp_path / "index")
    with pytest.raises(CodebyteError):
        library.add(source, silent)
    assert library.names() == []
    assert not Path("owned").exists()


def test_an_archive_is_unpacked_inside_its_folder_only(tmp_path: Path) -> None:
    upload = tmp_path / "code.zip"
    folder = tmp_path / "unpacked"
    folder.mkdir()
    with zipfile.ZipFile(upload, "w") as archive:
        archive.writestr("src/a.py", "a = 1\n")
        link = zipfile.ZipInfo("link.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert unpack(upload, folder) == folder
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.py")) == ["src/a.py"]
    for name in ("../out.py", "/tmp/out.py", "src/../../out.py"):
        with zipfile.ZipFile(upload, "w") as archive:
            archive.writestr(name, "x")
        with pytest.raises(InputError, match="leads out of its folder"):
            unpack(upload, folder)
    assert not (tmp_path / "out.py").exists()


def test_an_archive_that_swells_or_is_damaged_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codebyte.apps import uploads

    upload = tmp_path / "code.zip"
    monkeypatch.setattr(uploads, "MOST_UNPACKED", 1000)
    with zipfile.ZipFile(upload, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", b"x" * 100_000)
    with pytest.raises(InputError, match="unpacks to more than 1,000 bytes"):
        unpack(upload, tmp_path)
    upload.write_bytes(upload.read_bytes()[:50])
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(upload, tmp_path)


def test_a_bare_clone_is_opened_from_its_objects(
    tmp_path: Path, tiny_repo: Path, tiny_model: Megabyte
) -> None:
    bare = tmp_path / "tiny.git"
    git.Repo(tiny_repo).clone(str(bare), bare=True)
    library = Library(tmp_path / "index")
    library.add(str(bare), silent)
    (name,) = library.names()
    assert library.read(name, "src/app.py") == (tiny_repo / "src" / "app.py").read_bytes()
