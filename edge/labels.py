"""What a label may be, and what can be published besides a model's own."""

import re
from collections.abc import Sequence

QUIET = "quiet"  # nobody speaks
UNKNOWN = "unknown"  # somebody does, but no label is confident

_TAKEN = {
    QUIET: "says that nobody speaks",
    UNKNOWN: "says that no label is confident",
    "unavailable": "is Home Assistant's for a sensor that is away",
}
_FIT = re.compile(r"[a-z][a-z-]{0,31}")


def trouble(labels: Sequence[str]) -> str | None:
    """Return in words why these cannot be the labels of a model; None where they can.

    The one place that says what a label may be: training, conversion and the sensor ask here, so that whatever is
    trained can be published, and stands in a file name or a table as it is.
    """
    for label in labels:
        if label in _TAKEN:
            return f"{label!r} cannot be a label of a model: it {_TAKEN[label]}"
        if not _FIT.fullmatch(label):
            return f"{_shown(label)} cannot be a label: expected 1 to 32 of a-z and -, a letter first"
    if twice := next((label for label in labels if list(labels).count(label) > 1), None):
        return f"{twice!r} stands twice"
    if len(labels) < 2:
        return "expected two or more: there is nothing to tell apart"
    return None


def _shown(label: str) -> str:
    shown = ascii(label) if not label.isprintable() else repr(label)
    return shown if len(shown) <= 44 else f"{shown[:40]}..."
