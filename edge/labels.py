"""What a label and a mood may be, and what can be published besides a model's own."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

QUIET = "quiet"  # nobody speaks
UNKNOWN = "unknown"  # somebody does, but no label is confident
EXCITED, CALM = "excited", "calm"  # said of a mood where no more is known

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
    if wrong := next(filter(None, (_unfit(label, "label") for label in labels)), None):
        return wrong
    if twice := next((label for label in labels if list(labels).count(label) > 1), None):
        return f"{twice!r} stands twice"
    if len(labels) < 2:
        return "expected two or more: there is nothing to tell apart"
    return None


def mood_trouble(moods: Mapping[str, Sequence[str]], labels: Sequence[str]) -> str | None:
    """Return in words why these cannot be the moods of a model, groups of its labels; None where they can."""
    for mood, members in moods.items():
        if wrong := _unfit(mood, "mood"):
            return wrong
        if not members:
            return f"{mood!r} has no labels"
        if strange := next((member for member in members if member not in labels), None):
            return f"{_shown(strange)} in {mood!r} is no label of the model"
    placed = [member for members in moods.values() for member in members]
    if twice := next((label for label in placed if placed.count(label) > 1), None):
        return f"{twice!r} stands twice"
    return None


def fitting(name: str) -> str | None:
    """Return how a word of people's (`very excited`, `Wütend`) can be written as a label; None where it cannot."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    label = name if _FIT.fullmatch(name) else re.sub(r"[^a-z]+", "-", plain).strip("-")
    return label if _FIT.fullmatch(label) and label not in _TAKEN else None


def _unfit(name: str, what: str) -> str | None:
    if name in _TAKEN:
        return f"{name!r} cannot be a {what} of a model: it {_TAKEN[name]}"
    if not _FIT.fullmatch(name):
        instead = f"; write {fits}" if (fits := fitting(name)) else ""
        return f"{_shown(name)} cannot be a {what}: expected 1 to 32 of a-z and -, a letter first{instead}"
    return None


def _shown(label: str) -> str:
    shown = ascii(label) if not label.isprintable() else repr(label)
    return shown if len(shown) <= 44 else f"{shown[:40]}..."
