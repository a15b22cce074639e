"""What is uploaded to the page is kept for a while, and never without end."""

from pathlib import Path

import httpx
import pytest
from browsing import served_page

from codebyte.apps import uploads

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # gradio's own


def upload(address: str, name: str, size: int) -> Path:
    files = {"files": (name, name.encode()[:1] * size)}
    reply = httpx.post(f"{address}/gradio_api/upload", files=files, timeout=60, trust_env=False)
    (path,) = reply.json()
    return Path(path)


def test_the_oldest_uploads_go_for_new_ones_and_all_when_the_server_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(uploads, "MOST_KEPT", 2500)
    foreign = tmp_path / "uploads" / "foreign" / "file.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"x" * 5000)
    with served_page(tmp_path) as address:
        files = [upload(address, name, 1000) for name in ("a.py", "b.py", "c.py")]
        assert all(file.stat().st_size == 1000 for file in files)
        files.append(upload(address, "d.py", 1000))
        assert [file.exists() for file in files] == [False, True, True, True]
    assert not any(file.exists() for file in files)
    assert foreign.exists()
