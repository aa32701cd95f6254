"""The yardstick of strangers as files: the figures, and a table to read."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.files import write_atomically
from train.data.clip import Clip
from train.fitting import runs
from train.pages.tables import markdown


def write(folder: Path, found: dict[str, dict[str, dict[str, float]]], clips: Sequence[Clip]) -> str:
    """Write report.json and report.md into `folder`, and return the latter's text: UAR in % by contestant and room."""
    record = {
        "uar": found,
        "clips": len(clips),
        "corpora": runs.corpora_of(clips),
        "created": runs.now(),
        "commit": runs.commit(),
        "versions": runs.versions(),
    }
    text = _table(found)
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(record), indent=1))
    write_atomically(folder / "report.md", text.encode())
    return text


def _table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    corpora = list(next(iter(next(iter(found.values())).values())))
    rows = [
        [name, setting, *(f"{100 * uar[corpus]:.1f}" for corpus in corpora)]
        for name, settings in found.items()
        for setting, uar in settings.items()
    ]
    return markdown(["", "room", *corpora], rows, words=2)
