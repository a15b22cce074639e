"""What a scan finds, as editors show it: diagnostics, and their repairs as quick fixes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsprotocol import types as lsp

from codebyte.apps.positions import Positions

if TYPE_CHECKING:  # it needs torch
    from codebyte.tasks.findings import Finding

REPAIR = lsp.CodeActionKind.QuickFix


def repairs(
    findings: "Sequence[Finding]", then: Positions, now: Positions, uri: str, wanted: lsp.Range
) -> list[lsp.CodeAction]:
    """Quick fixes for findings in a range; none once the text is not the one scanned.

    Args:
        findings: of the scan.
        then: the text that was scanned.
        now: the text as it is.
        uri: of the document.
        wanted: where fixes are asked for.
    """
    actions = []
    for finding in findings if now.data == then.data else ():
        problem, repair = diagnostic(finding, then), finding.repair
        if repair is None or _apart(problem.range, wanted):
            continue
        text = repair.replacement.decode("utf-8", "replace")
        old = now.data[repair.start : repair.end].decode("utf-8", "replace")
        edit = lsp.TextEdit(now.range(repair.start, repair.end), text)
        actions.append(
            lsp.CodeAction(
                f"codebyte: write {_short(text)} for {_short(old)}",
                kind=REPAIR,
                diagnostics=[problem],
                edit=lsp.WorkspaceEdit(changes={uri: [edit]}),
            )
        )
    return actions


def diagnostic(finding: "Finding", places: Positions) -> lsp.Diagnostic:
    """A finding as editors show it."""
    start = places.line_start(finding.line)
    message = finding.message
    if finding.repair is not None:
        likelier = finding.repair.replacement.decode("utf-8", "replace")
        message += f" (likelier: {_short(likelier)})"
    return lsp.Diagnostic(
        places.range(start + finding.column - 1, start + finding.end_column - 1),
        message,
        severity=lsp.DiagnosticSeverity.Information,
        code=finding.rule,
        source="codebyte",
    )


def _apart(one: lsp.Range, other: lsp.Range) -> bool:
    def place(position: lsp.Position) -> tuple[int, int]:
        return position.line, position.character

    return place(one.end) < place(other.start) or place(other.end) < place(one.start)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return f"'{line[:40]}...'" if len(line) > 40 else f"'{line}'"
