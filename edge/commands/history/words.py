"""The words of `roomtone history`."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime

from edge.addresses import listening_place, store_place

_ROOM = "[a-z0-9-]{1,64}"


def history_parser(verb: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the verbs, each made by its name and its help."""
    record = verb("record", "keep what sensors on the broker say: events, and of each minute labels and means")
    show = verb("show", "show how rooms were: labels, the hours of the week, the days")
    record.add_argument("--metrics", type=_place, metavar="HOST:PORT", help="where Prometheus finds how every sensor "
                        "is, e.g. 127.0.0.1:9464; default: as configured (edge.history.metrics)")  # fmt: skip
    show.add_argument("--room", type=_room, metavar="ROOM", help="this room alone (its edge.device.id), in full")
    show.add_argument("--days", type=_days, default=30, metavar="N", help="of which today is the last (30)")
    show.add_argument("--time-zone", metavar="ZONE", help="e.g. Europe/Berlin; default: this machine's")
    export = verb("export", "write what is kept as a table, for pandas, DuckDB or a spreadsheet")
    export.add_argument("file", metavar="FILE", help="- for standard output (csv only)")
    export.add_argument("--what", choices=("events", "minutes", "hours"), default="events", help="default: events")
    export.add_argument("--format", choices=("csv", "parquet"), help="default: by the file's name, else csv")
    export.add_argument("--room", type=_room, metavar="ROOM", help="this room alone")
    export.add_argument("--days", type=_days, metavar="N", help="the last N times 24 hours; default: all")
    forget = verb("forget", "delete what is kept of a room; it is not taken in again")
    forget.add_argument("room", type=_room, metavar="ROOM", help="its edge.device.id")
    forget.add_argument("--before", type=_date, metavar="DATE", help="only what is older, e.g. 2026-11-01 (0 h UTC)")
    for made in (record, show, export, forget):
        made.add_argument("--store", type=_store, metavar="WHERE", help="a file, or a postgresql:// address; default: "
                          "as configured (edge.history.store)")  # fmt: skip


def _store(text: str) -> str:
    try:
        return store_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from error


def _place(text: str) -> str:
    try:
        return listening_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from error


def _room(text: str) -> str:
    if not re.fullmatch(_ROOM, text):
        meant = text.strip().lower().replace(" ", "-").replace("_", "-")
        perhaps = f": did you mean {meant}?" if re.fullmatch(_ROOM, meant) else ""
        raise argparse.ArgumentTypeError(f"expected a device's id (a-z, 0-9 and - only), got {text!r}{perhaps}")
    return text


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3_660:
        raise argparse.ArgumentTypeError(f"expected a number of days from 1 to 3660, got {text!r}")
    return int(text)


def _date(text: str) -> int:
    """Return a day's begin in UTC as Unix milliseconds."""
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-11-01, got {text!r}") from None
