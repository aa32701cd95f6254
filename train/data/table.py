"""Tables of clips: CSV as people and spreadsheets write it, and as it is written here."""

import csv
import io
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path

import msgspec

from edge.errors import InputError, printable
from train.data.clip import Clip

NEEDED = frozenset({"path", "label"})
COLUMNS = tuple(name for name in Clip.__struct_fields__ if name != "votes")
OWN_INDEXES = ("index.csv", "votes.csv")  # of a corpus whose file names do not say everything
VOTES = "votes_"  # how many listeners heard the label that follows: a column for each
_SEXES = {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}
_SEPARATORS = (",", ";", "\t", "|")


def read(
    path: Path,
    label_of: Callable[[object, str], str | None],
    *,
    needed: Set[str] = NEEDED,
    side: str | None = None,
) -> Iterator[Clip]:
    """Yield the clips of a CSV with a header; paths are as seen from here, or else from beside the table.

    Separators are commas, semicolons, tabs or bars, whichever the header has; blanks around cells and a byte order
    mark do not count. label_of: (where, word) -> label, or None to leave the clip out. side: only such rows.
    A corpus that no cell names has the name of the table, or of the folder whose own it is (`OWN_INDEXES`).
    Only `needed` columns must be there: who speaks, for one, may not be known. Votes for words that label_of leaves
    out are no votes. Raises InputError, with the line, for what is no such table.
    """
    needed = needed | ({"side"} if side else set())
    corpus = printable(path.resolve().parent.name if path.name in OWN_INDEXES else path.stem)
    for line, row in _rows(path, needed):
        where = f"{path}:{line}"
        label = label_of(where, row.get("label", ""))
        if label is None or (side and row["side"] != side):
            continue
        if not row["path"]:
            raise InputError(f"{where}: the path is missing")
        for column, cell in row.items():
            if column != "path" and any("\ud800" <= letter <= "\udfff" for letter in cell):
                raise InputError(f"{where}: {column} is not UTF-8; save the table as CSV in UTF-8")
        yield Clip(
            path=_found(path, row["path"]), corpus=row.get("corpus") or corpus,
            speaker=row.get("speaker", ""), label=label, text=row.get("text", ""),
            sex=_SEXES.get(row.get("sex", "").lower(), ""), age=row.get("age", ""),
            intensity=row.get("intensity", ""), votes=_votes(row, where, label_of),
        )  # fmt: skip


def sides(path: Path) -> dict[str, str]:
    """Return the sides that a table gives its clips, by their paths as `read` has them; empty where it has none."""
    return {_found(path, row["path"]): row["side"] for _, row in _rows(path, NEEDED) if row.get("side")}


def write(path: Path | str, clips: Sequence[Clip], **more: Sequence[str]) -> None:
    """Write a table of clips with what is known of them, votes too, and `more` columns of a cell per clip.

    The bytes of a file's name stay what they are.
    """
    voted = sorted({label for clip in clips for label in clip.votes})
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow([*COLUMNS, *(f"{VOTES}{label}" for label in voted), *more])
        for clip, *cells in zip(clips, *more.values(), strict=True):
            votes = [f"{clip.votes[label]:g}" if label in clip.votes else "" for label in voted]
            rows.writerow([*(getattr(clip, column) for column in COLUMNS), *votes, *cells])


def written(row: Mapping[str, str]) -> Clip:
    """Return the clip of a row that `write` wrote."""
    votes = {name.removeprefix(VOTES): cell for name, cell in row.items() if name.startswith(VOTES) and cell}
    return msgspec.convert(
        {name: cell for name, cell in row.items() if name in COLUMNS} | {"votes": votes}, Clip, strict=False
    )


def _votes(row: dict[str, str], where: str, label_of: Callable[[object, str], str | None]) -> dict[str, float]:
    votes: dict[str, float] = {}
    for column, cell in row.items():
        if not column.startswith(VOTES) or not cell:
            continue
        try:
            count = float(cell)
        except ValueError:
            count = -1.0
        if not 0 <= count < math.inf:
            raise InputError(f"{where}: {column} is {cell!r}, expected how many listeners heard it")
        label = label_of(f"{where}: column {column}", column.removeprefix(VOTES))
        if count and label is not None:
            votes[label] = votes.get(label, 0.0) + count
    return votes


def _rows(path: Path, needed: Set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line numbers and cells by column."""
    lines = _text(path)
    named = re.fullmatch(r"sep=(.)", lines[0].strip("\r\n")) if lines else None  # a spreadsheet's own first line
    first = 1 if named else 0
    head = lines[first] if len(lines) > first else ""
    # Which of them separates is what makes columns that we know out of the header.
    separator = named[1] if named else max(_SEPARATORS, key=lambda one: len(needed & set(_columns(head, one))))
    columns = _columns(head, separator)
    if not needed & set(columns):
        raise InputError(f"{path}: not a table of clips: its first line names no column path or label "
                         "(path,label[,speaker,corpus,text])")  # fmt: skip
    if missing := needed - set(columns):
        raise InputError(f"{path}: column {', '.join(sorted(missing))} is missing (path,label[,speaker,corpus,text])")
    if twice := next((column for column in columns if columns.count(column) > 1), None):
        raise InputError(f"{path}: column {twice} stands twice")
    table = csv.reader(lines[first + 1 :], delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in table:
            line = first + 1 + table.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(columns):
                raise InputError(f"{path}:{line}: has {len(cells)} cells, the header {len(columns)}")
            if any(cell.strip() for cell in cells[len(columns) :]):
                raise InputError(f"{path}:{line}: has {len(cells)} cells, the header {len(columns)}; "
                                 f"put a cell that holds {separator!r} in quotes")  # fmt: skip
            yield line, dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise InputError(f"{path}:{first + 1 + table.line_num}: not a CSV table ({error})") from error


def _text(path: Path) -> list[str]:
    """Return the lines with their ends. Bytes that are no UTF-8 stay: a file's name may have them."""
    try:
        if stat.S_ISCHR(os.stat(path).st_mode):
            raise InputError(f"{path}: a device, expected a table")  # which may never end
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: not a CSV table in UTF-8 (it begins as UTF-16); save it as CSV in UTF-8")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise InputError(f"{path}: not a CSV table in UTF-8 (line {line} holds a NUL byte)")
    return list(io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline=""))


def _columns(head: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [cell.strip().lower() for cell in cells]


def _found(table: Path, cell: str) -> str:
    """Return the path that a cell means."""
    sound = Path(cell)
    if not sound.is_absolute() and not os.path.exists(sound):
        sound = table.parent / sound
    return str(sound)
