"""`from_pretrained` and `save_pretrained`, as users of the Hugging Face hub know them.

What is saved is a checkpoint (`codebyte.checkpoint`) with a model card beside it. Reading takes the
same checks as `codebyte.load`: nothing in a downloaded folder is run.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from codebyte.errors import CheckpointError

if TYPE_CHECKING:
    from codebyte.megabyte import Megabyte

_CARD = """---
{{ card_data }}
---

# A codebyte model

A byte-level language model of code. `pip install codebyte`, then:

```python
from codebyte import Megabyte, SamplingParams, generate

model = Megabyte.from_pretrained("NAME/OF-THIS-REPOSITORY")
print(b"".join(generate(model, b"def ", SamplingParams())))
```
"""


class HubMixin:
    """Gives a Megabyte `from_pretrained`, `save_pretrained` and `push_to_hub`.

    Not huggingface_hub's own mixin, which every model would have to be made with: importing it
    takes 9 MB, and a tenth of the time of starting; its `from_pretrained` reads a downloaded
    config.json of any size and kind before a checkpoint's checks, and its `save_pretrained` deletes
    the old config.json before the new weights are written.
    """

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push: Any,
    ) -> str | None:
        """Writes a checkpoint and a model card to a folder.

        Args:
            save_directory: made if missing.
            repo_id: NAME/REPOSITORY to push to; None for the folder's name.
            push_to_hub: whether to push it, too.
            push: as for `push_to_hub`.

        Returns:
            The address of what was pushed, or None.
        """
        from huggingface_hub import ModelCard, ModelCardData

        from codebyte.checkpoint import save

        folder = Path(save_directory)
        save(cast("Megabyte", self), folder)
        if not (folder / "README.md").exists():
            about = ModelCardData(
                library_name="codebyte",
                pipeline_tag="text-generation",
                tags=["bytes", "code", "megabyte"],
            )
            ModelCard.from_template(about, template_str=_CARD).save(folder / "README.md")
        return self.push_to_hub(repo_id or folder.name, **push) if push_to_hub else None

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push a codebyte model",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Uploads a checkpoint and a model card to the hub.

        Args:
            repo_id: NAME/REPOSITORY, made if missing.
            commit_message: of the upload.
            private: whether a new repository is private; None for what is usual there.
            token: None for the one that is logged in.
            branch: None for the main one.
            create_pr: whether to open a pull request.

        Returns:
            The address of the commit.
        """
        from huggingface_hub import HfApi

        hub = HfApi(token=token)
        name = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            commit = hub.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
        return str(commit)

    @classmethod
    def from_pretrained(
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
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import HfHubHTTPError, HFValidationError

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
