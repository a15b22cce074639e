"""Puts what was measured of a line into words, and the best edit of it into a repair."""

import numpy as np

from codebyte.tasks.edit import KINDS, Edit, apply
from codebyte.tasks.findings import RULES, SURPRISING, Finding, Repair
from codebyte.tasks.judged import ALL, Judged
from codebyte.tasks.syntax import parse

LEAST_ODDS = -4.0  # log odds below which an edit is not offered
LEAST_GAIN = 1.0  # bits; what gains less is as likely as it was
LONGEST_SHOWN = 60  # characters of code in a message

LEAST_TIMES = 3.0  # that a line is as likely to be fixed as others, to be worth saying

_SAID = (  # feature, from what value on it is worth saying, how
    ("bits within kind", 1.5, "takes {bits:.0f} bits, {value:.1f} deviations over lines like it"),
    ("most excess in a token", 6.0, "one token is {value:.0f} bits more surprising than expected"),
    ("bits per byte within file", 3.0, "stands out in this file ({value:.1f} times its spread)"),
    ("rate of kind", 1.3, "lines of this kind are fixed {value:.1f} times as often as others"),
)


def finding_of(judged: Judged, source: bytes, path: str, row: int, suspicion: float) -> Finding:
    """The finding at a line.

    Args:
        judged: of the file.
        source: the file.
        path: its name.
        row: the line, from 0.
        suspicion: of the line, 0 to 1.
    """
    lines = source.split(b"\n")
    start = sum(len(line) + 1 for line in lines[:row])
    text = lines[row]
    indent = len(text) - len(text.lstrip())
    edit, gain = _best_edit(judged, source, path, row)
    if edit is None:
        return Finding(
            rule=SURPRISING,
            path=path,
            line=row + 1,
            column=indent + 1,
            end_column=len(text.rstrip()) + 1,
            suspicion=suspicion,
            message="this line looks unlike the code around it",
            reasons=_reasons(judged, row),
        )
    old, new = source[edit.start : edit.end], edit.replacement
    column = min(max(edit.start - start, 0), len(text))
    end_column = max(min(edit.end - start, len(text)), column)
    rule = KINDS[edit.kind]
    likelier = f"the repair makes the code {gain:.1f} bits likelier"
    return Finding(
        rule=rule,
        path=path,
        line=row + 1,
        column=column + 1,
        end_column=end_column + 1,
        suspicion=suspicion,
        message=f"{RULES[rule]}: {_change(old, new)}",
        reasons=(likelier, *_reasons(judged, row)),
        repair=Repair(start=edit.start, end=edit.end, replacement=new, gain_bits=gain),
    )


def _best_edit(judged: Judged, source: bytes, path: str, row: int) -> tuple[Edit | None, float]:
    """The likeliest repair on a line that leaves the file parsing as well as it does.

    It must gain more than such an edit does in good code: a model likes nearly any text better
    without a `not`, and with `==` for `!=`.
    """
    tree = parse(source, path)
    for i in np.flatnonzero(judged.edit_lines == row):
        if judged.edit_odds[i] < LEAST_ODDS or tree is None:
            break
        if judged.gains[i] < LEAST_GAIN or judged.over[i] <= 0:
            continue
        changed = parse(apply(source, judged.edits[i]), path)
        if changed is not None and changed.root_node.has_error <= tree.root_node.has_error:
            return judged.edits[i], float(judged.gains[i])
    return None, 0.0


def _reasons(judged: Judged, row: int) -> tuple[str, ...]:
    values = dict(zip(ALL, judged.table[row].tolist(), strict=True))
    said = [
        words.format(value=values[name], bits=values["bits"])
        for name, least, words in _SAID
        if values[name] >= least
    ]
    if (times := judged.fixed_times[row]) >= LEAST_TIMES:
        said.append(f"the model finds it {times:.1f} times as likely to be fixed as the others")
    return tuple(said)


def _change(old: bytes, new: bytes) -> str:
    """The change in words: "`a` for `b`" with the new text first."""
    if not old:
        return f"put in `{_shown(new)}`"
    if not new:
        return f"take out `{_shown(old)}`"
    return f"`{_shown(new)}` for `{_shown(old)}`"


def _shown(code: bytes) -> str:
    text = " ".join(code.decode("utf-8", "replace").split())
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
