"""Small pieces of HTML that the tabs of the page share."""

from collections.abc import Iterable
from html import escape
from typing import Any

# What every button of the page has in common: nothing of it is offered as an API by gradio.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def note(message: str, *, failed: bool = False) -> str:
    """A sentence in a frame."""
    return f'<div class="cb-note{" cb-failed" if failed else ""}">{text(message)}</div>'


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """Figures, each over what it is of."""
    drawn = "".join(
        f'<div class="cb-card"><b>{text(a)}</b><span>{text(b)}</span></div>' for a, b in figures
    )
    return f'<div class="cb-cards">{drawn}</div>'


def meter(said: str, done: int, total: int) -> str:
    """A bar that fills."""
    share = min(1.0, done / total) if total else 0.0
    counted = f"{done:,} of {total:,}" if total else ""
    return (
        f'<div class="cb-meter" role="progressbar" aria-valuenow="{share:.0%}">'
        f"<span>{text(said)}</span><i>{counted}</i>"
        f'<b style="--share:{share:.1%}"></b></div>'
    )


def text(value: str) -> str:
    """Any text, escaped; what is not text is shown as its escape."""
    return escape(value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
