from pathlib import Path

import huggingface_hub
import pytest
import torch

import codebyte
from codebyte import Megabyte
from codebyte.errors import CheckpointError


def test_a_saved_model_comes_back_with_the_same_logits(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path / "model")
    again = Megabyte.from_pretrained(tmp_path / "model")
    ids = torch.arange(64)[None] * 3 % 256
    assert again.config == tiny_model.config
    torch.testing.assert_close(again(ids), tiny_model(ids), rtol=0, atol=0)
    assert not again.training


def test_what_save_pretrained_writes_is_a_checkpoint_with_a_card(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    assert codebyte.load(tmp_path).config == tiny_model.config
    card = (tmp_path / "README.md").read_text()
    assert "library_name: codebyte" in card
    assert "Megabyte.from_pretrained(" in card


def test_the_example_on_the_card_runs(
    tiny_model: Megabyte, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    tiny_model.save_pretrained(tmp_path)
    example = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    exec(example.replace("NAME/OF-THIS-REPOSITORY", str(tmp_path)))
    written = b"".join(codebyte.generate(tiny_model, b"def ", codebyte.SamplingParams()))
    assert capsysbinary.readouterr().out == repr(written).encode() + b"\n"


def test_what_save_writes_can_be_read_by_from_pretrained(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    codebyte.save(tiny_model, tmp_path, quantize="int8")
    assert Megabyte.from_pretrained(str(tmp_path)).config == tiny_model.config


def test_a_name_that_is_neither_a_folder_nor_a_repository_is_named(tmp_path: Path) -> None:
    missing = "nobody/nothing"
    with pytest.raises(CheckpointError, match="nobody/nothing is no folder here"):
        Megabyte.from_pretrained(missing, local_files_only=True, cache_dir=tmp_path)


def test_what_is_pushed_is_what_is_saved(
    tiny_model: Megabyte, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object]] = []

    class Hub:
        def __init__(self, token: str | None) -> None:
            asked.append(("token", token))

        def create_repo(self, name: str, **options: object) -> huggingface_hub.RepoUrl:
            asked.append((name, options))
            return huggingface_hub.RepoUrl(f"https://huggingface.co/ada/{name}")

        def upload_folder(self, *, repo_id: str, folder_path: str, **options: object) -> str:
            files = sorted(path.name for path in Path(folder_path).iterdir())
            asked.append((repo_id, files))
            return "https://huggingface.co/ada/shapes/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    link = tiny_model.save_pretrained(
        tmp_path / "shapes", push_to_hub=True, token="a", private=True
    )
    assert link == "https://huggingface.co/ada/shapes/commit/1"
    assert asked == [
        ("token", "a"),
        ("shapes", {"private": True, "exist_ok": True}),
        ("ada/shapes", ["README.md", "config.json", "model.safetensors"]),
    ]
    assert tiny_model.save_pretrained(tmp_path / "kept") is None
