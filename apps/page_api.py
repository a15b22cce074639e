"""What the page's server does for programs: Gradio's named functions, for `gradio_client`."""

from typing import Any

import gradio as gr

from codebyte.apps.library import Library
from codebyte.apps.lines import encoded
from codebyte.apps.session import Session
from codebyte.errors import CodebyteError, InputError

LARGEST_SCORED = 1 << 20  # bytes of a text to be scored


def named_functions(session: Session, library: Library) -> None:
    """Adds the functions to the page that is being laid out."""

    def search(query: str, path: str = "", repo: str = "") -> list[dict[str, Any]]:
        """Find code in the indexed repositories, in words or by example.

        Args:
            query: what to find.
            path: a pattern for paths, such as src/**/*.py; all if empty.
            repo: a repository's name; all if empty.
        """
        if not library.exists:
            raise _said(InputError("nothing is indexed yet: add a repository"))
        try:
            hits = library.search(query, path=path, repos=[repo] if repo else [])
        except CodebyteError as error:
            raise _said(error) from error
        return [
            {
                "repo": hit.repo,
                "file": hit.path,  # a "path" would be taken for a file to be fetched
                "start_line": hit.start_line,
                "end_line": hit.end_line,
                "symbol": hit.symbol,
                "score": round(hit.score, 4),
                "snippet": hit.snippet,
            }
            for hit in hits
        ]

    def score(text: str) -> dict[str, Any]:
        """Tell how much each byte of a text surprises the model, in bits.

        Args:
            text: any text.
        """
        data = encoded(text)
        if not 0 < len(data) <= LARGEST_SCORED:
            wrong = f"the text has {len(data)} bytes, it may have 1 to {LARGEST_SCORED}"
            raise _said(InputError(wrong))
        bits = session.score(data)
        return {
            "bytes": len(data),
            "bits_per_byte": round(float(bits.mean(dtype="float64")), 4),
            "bits": [round(float(value), 3) for value in bits],
        }

    gr.api(search, api_name="search", concurrency_limit=1)
    gr.api(score, api_name="score", concurrency_limit=1)


def _said(error: CodebyteError) -> gr.Error:
    return gr.Error(str(error), print_exception=False)
