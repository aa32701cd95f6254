"""What the verbs of `roomtone history` do."""

import argparse
import difflib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import tzinfo
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console

from edge.commands.history.pictures import room_in_full, rooms_table
from edge.config import EdgeConfig
from edge.daemon.stopping import stop_signal
from edge.delivery.access import access, reached
from edge.errors import OutputError, UnavailableError, UsageError
from edge.files import output
from edge.history.answers import Answers
from edge.history.engine import Engine
from edge.history.export import Table, events, require_parquet, times, write_csv, write_parquet
from edge.history.exposition import Exposition
from edge.history.looking import HOURS_OF_WEEK, names, past, steps
from edge.history.metrics import Metrics
from edge.history.place import opened
from edge.history.recorder import Recorder
from edge.history.sensors import Sensors
from edge.history.store import History
from edge.voice.payloads import rfc3339

STANDARD = "-"
_ENDINGS = ("", ".csv", ".txt", ".parquet")  # of files to export to; all but the last are CSV
_DAY_MS = 86_400_000
_MOST_DAYS_BY_HOUR, _MOST_DAYS_BY_DAY = 2, 92


def history(config: EdgeConfig, options: argparse.Namespace) -> Iterator[str]:
    """Do what `options.verb` names; yield what is said."""
    return _VERBS[options.verb](config, options)


def _record(config: EdgeConfig, options: argparse.Namespace) -> Iterator[str]:
    place = options.metrics or config.history.metrics
    sensors = Sensors() if place else None
    with Exposition(place) if place else nullcontext() as exposition:
        answers = Answers(partial(opened, config, options.store))
        recorder = Recorder(
            partial(opened, config, options.store, create=True, alone=True), answers, access(reached(config.mqtt)),
            config.history, sensors,
        )  # fmt: skip
        if exposition and sensors:
            exposition.serve(Metrics(sensors, recorder.condition))
        with stop_signal() as stopping:
            recorder.run(stopping)
    yield f"{recorder.kept} events kept"


def _show(config: EdgeConfig, options: argparse.Namespace) -> Iterator[str]:
    zone, days = _zone(options.time_zone), options.days
    hours = 1 if days <= _MOST_DAYS_BY_HOUR else 24 if days <= _MOST_DAYS_BY_DAY else HOURS_OF_WEEK
    with _opened(config, options) as kept:
        rooms = _rooms(kept.engine, options.room)
        asked = steps(time.time(), days, hours, zone)
        found = past(kept.engine, rooms, asked, by_week=options.room is not None)
    console = Console()
    if options.room is not None:
        console.print(room_in_full(found[0], asked))
    elif found:
        console.print(rooms_table(found, asked, console))
    else:
        yield "no room has said anything yet"
    yield from ()


def _export(config: EdgeConfig, options: argparse.Namespace) -> Iterator[str]:
    ending = Path(options.file).suffix.lower()
    if options.format is None and ending not in _ENDINGS:
        raise UsageError(f"history export: {options.file}: csv and parquet are written: end it so, or use --format")
    parquet = options.format == "parquet" or (options.format is None and ending == ".parquet")
    if parquet:
        require_parquet()
        if options.file == STANDARD:
            raise UsageError("history export: name a file for --format parquet, which is nothing to look at")
    place = None if options.file == STANDARD else output(options.file, "history export", folder=False)
    from_ms = 0 if options.days is None else round(1_000 * time.time()) - options.days * _DAY_MS
    with _opened(config, options) as kept:
        table = _table(kept.engine, _rooms(kept.engine, options.room), options.what, from_ms)
        if place is None:
            write_csv(table, sys.stdout)
            return
        unfinished = place.with_name(f"{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if parquet:
                count = write_parquet(table, unfinished)
            else:
                with open(unfinished, "w", newline="", encoding="utf-8", opener=_private) as file:
                    count = write_csv(table, file)
            os.chmod(unfinished, 0o600)
            os.replace(unfinished, place)
        except OSError as error:
            raise OutputError(f"history export: {place}: cannot be written: {error.strerror or error}: name another "
                              "place") from error  # fmt: skip
        finally:
            unfinished.unlink(missing_ok=True)
    yield f"{place}: {count} {options.what}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _table(engine: Engine, rooms: dict[int, str], what: str, from_ms: int) -> Table:
    return events(engine, rooms, from_ms) if what == "events" else times(engine, rooms, from_ms, unit=what[:-1])


def _forget(config: EdgeConfig, options: argparse.Namespace) -> Iterator[str]:
    now_ms = round(1_000 * time.time())
    if options.before is not None and options.before > now_ms:
        raise UsageError("history forget --before: that day is still to come")
    with _opened(config, options) as kept:
        _rooms(kept.engine, options.room)
        before = "" if options.before is None else f" from before {rfc3339(options.before / 1_000)[:10]}"
        found = _counted(kept.count(options.room, before_ms=options.before))
        if not _agreed(f"{options.room}: delete {found}{before} from {kept.engine.place}?"):
            yield f"{options.room}: nothing was deleted"
            return
        gone = kept.forget(options.room, before_ms=options.before, now_ms=now_ms)
        yield f"{options.room}: {_counted(gone)} deleted from {kept.engine.place}"
        if options.before is None:
            yield f"what the broker may still have of it: `roomtone forget {options.room}` takes that off"
        yield f"backups of the store have what they had; what {options.room} says from now on is kept as before"


def _counted(rows: Mapping[str, int]) -> str:
    return f"{rows['event']} events, {rows['minute']} minutes and {rows['hour']} hours"


def _agreed(question: str) -> bool:
    """Return whether somebody says yes; where nobody can be asked, it was said by typing the command."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def _opened(config: EdgeConfig, options: argparse.Namespace) -> Iterator[History]:
    kept = opened(config, options.store)
    try:
        yield kept
    finally:
        kept.engine.close()


def _rooms(engine: Engine, name: str | None) -> dict[int, str]:
    """Return the rooms that are meant, all without a name. Raises UnavailableError for one of which nothing is kept."""
    found = names(engine)
    if name is None:
        return found
    meant = {room: known for room, known in found.items() if known == name}
    if not meant:
        near = difflib.get_close_matches(name, found.values(), n=1)
        there = f"did you mean {near[0]}?" if near else f"there are {', '.join([*found.values()][:10]) or 'none yet'}"
        raise UnavailableError(f"{name}: nothing is kept of it in {engine.place}: {there}")
    return meant


def _zone(name: str | None) -> tzinfo | None:
    try:
        return name and ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"--time-zone: unknown time zone {name!r}, expected e.g. Europe/Berlin") from error


_VERBS = {"record": _record, "show": _show, "export": _export, "forget": _forget}
