"""What is kept, as a table for other programs: CSV, or Parquet through pyarrow."""

import csv
import importlib.util
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from edge.errors import UnavailableError
from edge.history.engine import Engine
from edge.history.taken import Taken, unpacked
from edge.labels import QUIET
from edge.voice.payloads import rfc3339

_AT_A_TIME = 50_000  # rows of a group in a Parquet file
_TEXT = {"event_id", "room", "ts", "label", "previous", "mood", "model", "start"}
_WHOLE = {"seq", "previous_duration_ms", "bandwidth_hz"}


class Table(NamedTuple):
    """Columns, and rows of as many values; None where something is not known."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


def events(engine: Engine, rooms: dict[int, str], from_ms: int) -> Table:
    """Return events of rooms (numbers and names) from a Unix time in milliseconds on, the fields as on the wire."""
    names = {"label": "event_type", "ts_ms": "ts", "previous_ms": "previous_duration_ms"}
    columns = [names.get(name, name) for name in Taken._fields]

    def rows() -> Iterator[tuple[Any, ...]]:
        sql = f"SELECT {', '.join(Taken._fields)} FROM event WHERE room = ? AND ts_ms >= ? ORDER BY ts_ms, seq"
        for room, name in rooms.items():
            for row in map(Taken._make, engine.stream(sql, (room, from_ms))):
                yield row._replace(event_id=unpacked(row.event_id), room=name, ts_ms=rfc3339(row.ts_ms / 1_000),
                                   late=bool(row.late))  # fmt: skip

    return Table(columns, rows())


def times(engine: Engine, rooms: dict[int, str], from_ms: int, *, unit: str) -> Table:
    """Return the minutes or hours (`unit`) of rooms: seconds in which anybody listened, of each label, and means."""
    unit_ms = {"minute": 60_000, "hour": 3_600_000}[unit]
    first = -(-from_ms // unit_ms)
    labels = [label for (label,) in engine.ask(
        f"SELECT DISTINCT label FROM {unit}_label WHERE {unit} >= ? ORDER BY label", (first,))]  # fmt: skip
    order = ", ".join(f"told.{name}" for name in (("minute", "room") if unit == "minute" else ("room", "hour")))
    sql = (
        f"SELECT told.{unit}, told.room, heard_ms, level_dbfs, speech_permille, arousal_permille, valence_permille, "
        f"label, ms FROM {unit} told "
        f"LEFT JOIN {unit}_label held ON held.{unit} = told.{unit} AND held.room = told.room "
        f"WHERE told.{unit} >= ? ORDER BY {order}"
    )

    def rows() -> Iterator[tuple[Any, ...]]:
        for (at, room), found in itertools.groupby(engine.stream(sql, (first,)), key=lambda row: row[:2]):
            told = list(found)
            if room not in rooms:
                continue
            _, _, heard_ms, level, *permille, _, _ = told[0]
            held = {row[-2]: row[-1] for row in told if row[-2] is not None}
            seconds = [held.get(label, 0) / 1_000 for label in labels]
            quiet_s = (heard_ms - sum(held.values())) / 1_000
            yield (rooms[room], rfc3339(at * unit_ms / 1_000), heard_ms / 1_000, quiet_s, *seconds, level,
                   *(None if each is None else each / 1_000 for each in permille))  # fmt: skip

    means = ["level_dbfs", "speech_ratio", "arousal", "valence"]
    return Table(["room", "start", "heard_s", f"{QUIET}_s", *(f"{label}_s" for label in labels), *means], rows())


def write_csv(table: Table, file: IO[str]) -> int:
    """Write a table with its columns in the first line; return how many rows it has."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    count = 0
    for count, row in enumerate(table.rows, start=1):  # noqa: B007 (counted)
        writer.writerow(row)
    return count


def require_parquet() -> None:
    """Raise UnavailableError where there is nothing to write Parquet with."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UnavailableError(f"--format parquet: pyarrow is not installed; `{sys.executable} -m pip install pyarrow` "
                               "does it, or take --format csv")  # fmt: skip


def write_parquet(table: Table, path: Path) -> int:
    """Write a table, times as timestamps in UTC; return how many rows it has."""
    import pyarrow
    from pyarrow import parquet

    def kind(column: str) -> "pyarrow.DataType":
        if column in ("ts", "start"):
            return pyarrow.timestamp("ms", tz="UTC")
        if column == "late":
            return pyarrow.bool_()
        return (pyarrow.string() if column in _TEXT | {"event_type"} else pyarrow.int64() if column in _WHOLE
                else pyarrow.float64())  # fmt: skip

    schema = pyarrow.schema([(column, kind(column)) for column in table.columns])
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := list(itertools.islice(table.rows, _AT_A_TIME)):
            count += len(rows)
            writer.write_table(pyarrow.table(_columns(rows, schema), schema=schema))
    return count


def _columns(rows: list[tuple[Any, ...]], schema: Any) -> list[Any]:
    import pyarrow
    import pyarrow.compute

    made: Iterable[Any] = zip(*rows, strict=True)
    return [
        pyarrow.compute.cast(pyarrow.array([value.rstrip("Z") for value in values]), pyarrow.timestamp("ms"))
        .cast(field.type) if pyarrow.types.is_timestamp(field.type)
        else pyarrow.array([None if value is None else float(value) for value in values])
        if pyarrow.types.is_floating(field.type) else pyarrow.array(values, field.type)
        for values, field in zip(made, schema, strict=True)
    ]  # fmt: skip
