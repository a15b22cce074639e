"""`from_pretrained` and `save_pretrained`, as users of the Hugging Face hub know them.

What is saved is a checkpoint (`codebyte.checkpoint`) with a model card beside it. Reading takes the
same checks as `codebyte.load`: nothing in a downloaded folder is run.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from codebyte.errors import CheckpointError

if TYPE_CHECKING:
    from codebyte.megabyte import Megabyte

_CARD = """---
{{ card_data }}
---

# A codebyte model

A byte-level language model of code. `pip install codebyte`, then:

```python
from codebyte import Megabyte, generate

model = Megabyte.from_pretrained("NAME/OF-THIS-REPOSITORY")
print(b"".join(generate(model, b"def ")))
```
"""


class HubMixin(
    ModelHubMixin,
    model_card_template=_CARD,
    library_name="codebyte",
    pipeline_tag="text-generation",
    tags=["code", "bytes", "megabyte"],
):
    """Gives a Megabyte `from_pretrained`, `save_pretrained` and `push_to_hub`."""

    def _save_pretrained(self, save_directory: Path) -> None:
        from codebyte.checkpoint import save

        save(cast("Megabyte", self), save_directory)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        model_id: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str | None = None,
    ) -> Self:
        """Gives the model of a folder, or of a repository on the hub.

        Args:
            model_id: a folder that `save_pretrained` or `codebyte.save` wrote, or NAME/REPOSITORY.
            revision: branch, tag or commit on the hub.
            cache_dir: where downloads are kept.
            force_download: download again what is kept.
            local_files_only: use only what is kept.
            token: for repositories that are not public.
            device: where to put the model; None picks one.

        Raises:
            CheckpointError: if there is none, or it is damaged or not one of codebyte's.
        """
        from codebyte.checkpoint import CONFIG_NAME, WEIGHTS_NAME, load

        folder = Path(model_id)
        if not folder.is_dir():
            try:
                for name in (CONFIG_NAME, WEIGHTS_NAME):
                    found = hf_hub_download(
                        str(model_id),
                        name,
                        revision=revision,
                        cache_dir=cache_dir,
                        force_download=force_download,
                        local_files_only=local_files_only,
                        token=token,
                    )
            except (HfHubHTTPError, HFValidationError, OSError) as error:
                raise CheckpointError(
                    f"{model_id} is no folder here and could not be downloaded "
                    f"({str(error).splitlines()[0]}); give a folder or NAME/REPOSITORY"
                ) from error
            folder = Path(found).parent
        return cast("Self", load(folder, device))
