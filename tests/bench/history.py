"""What a history costs, in SQLite, DuckDB and PostgreSQL: size, what a day writes to disk, and how soon it answers.

    python -m tests.bench.history FOLDER [--stores sqlite duckdb postgres page] [--out reports/history.json]

FOLDER has recordings of people. The sensor's own code hears a few hundred of them: from the labels, lengths and
confidences it gives, minutes of talk are put together, and of these a year of 20 rooms. DuckDB is in nobody's
dependencies: `pip install duckdb` first. Figures are by store; of others than those asked for they stay.
"""

import argparse
import json
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from playwright.sync_api import sync_playwright

from edge.commands.classify import classify
from edge.config import EdgeConfig
from edge.errors import InputError
from edge.history.engine import Engine, Row, Work
from edge.history.looking import HOURS_OF_WEEK, names, past, steps
from edge.history.minutes import MINUTE_MS
from edge.history.postgres import PostgresEngine
from edge.history.recorder import LONGEST_WAIT_S
from edge.history.schema import all_rooms, sum_days
from edge.history.sqlite import SqliteEngine
from edge.history.store import History
from edge.history.taken import Taken, event_of, packed
from edge.history.told.days import Day
from edge.history.told.samples import Sample
from edge.model.artifact import DEFAULT_MODEL, load
from edge.voice.sequence import uuid7
from tests.bench import asked
from tests.conftest import DASHBOARD
from tests.dashboard.puppet import Puppet
from tests.history.test_recorder import recording
from tests.support.broker import Broker
from tests.support.chromium import Visit, launch
from tests.support.postgres import Postgres

STORES = ("sqlite", "duckdb", "postgres", "page")
REPORT = Path(__file__).parent / "reports" / "history.json"
ROOMS, DAYS, DETAILED, COPIED, RECORDINGS, TALKS = 20, 365, 55, 10, 300, 400
END_S = datetime(2026, 11, 25, 18, tzinfo=UTC).timestamp()
END = round(END_S / 60)
DAY = 24 * 60
# Share of an hour in which a room at home talks; nights are quiet. On weekdays nobody is there from 9 to 16.
TALKS_AT = {**dict.fromkeys(range(24), 0.0), **dict.fromkeys((7, 8, 12, 13), 0.12),
            **dict.fromkeys(range(17, 23), 0.16), **dict.fromkeys((9, 10, 11, 14, 15, 16), 0.03)}  # fmt: skip
GAPS = 0.04  # share of hours in which nobody listened
PAUSE_S = (0.8, 6.0)  # between two utterances of a minute of talk
PARTS = {"events": ("event", "event_of_room"), "minutes": ("minute", "minute_label"),
         "hours": ("hour", "hour_label", "day", "day_label")}  # fmt: skip
TABLES = ("room", "event", "minute", "minute_label", "hour", "hour_label", "day", "day_label")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the label within a minute: at a second of it."""

    at_s: float
    label: str
    confidence: float
    arousal: float | None
    valence: float | None


Talk = list[Change]  # a minute of it; it begins and ends quiet


def utterances(folder: Path, dice: random.Random) -> list[tuple[float, Talk]]:
    """Return what the sensor hears of recordings in a folder: their lengths in seconds, and the changes in them."""
    artifact, model = load(DEFAULT_MODEL)
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".flac", ".opus", ".ogg", ".wav"})
    if not files:
        raise InputError(f"{folder}: no recordings there (.flac, .opus, .ogg, .wav)")
    found = []
    for file in dice.sample(files, min(RECORDINGS, len(files))):
        try:
            *events, summary = classify(file, model, artifact.manifest, EdgeConfig())
        except InputError:
            continue
        found.append((summary["summary"]["duration_s"], [
            Change(each["t_s"], each["event_type"], each["confidence"], each["arousal"], each["valence"])
            for each in events
        ]))  # fmt: skip
    return found


def talk(heard: Sequence[tuple[float, Talk]], dice: random.Random) -> Talk:
    """Return a minute of utterances, one after the other."""
    made: Talk = []
    at_s = dice.uniform(0.0, PAUSE_S[1])
    while True:
        length_s, changes = dice.choice(heard)
        if at_s + length_s + 1.0 > 60.0:
            return made
        made += [Change(at_s + each.at_s, each.label, each.confidence, each.arousal, each.valence) for each in changes]
        if changes and changes[-1].label != "quiet":
            made.append(Change(at_s + length_s + 0.7, "quiet", 0.99, None, None))
        at_s += length_s + 0.7 + dice.uniform(*PAUSE_S)


def minutes_of_talk(folder: Path, cache: Path) -> list[Talk]:
    """Return minutes of talk, heard once."""
    if not cache.exists():
        dice = random.Random(25)
        heard = utterances(folder, dice)
        cache.write_bytes(msgspec.json.encode([talk(heard, dice) for _ in range(TALKS)]))
    return msgspec.json.decode(cache.read_bytes(), type=list[Talk])


@dataclass(frozen=True, slots=True)
class Told:
    """What a minute of talk comes to: of each label so many milliseconds, and the columns of a minute."""

    labels: dict[str, int]
    columns: tuple[int | None, ...]


def told(talk: Talk) -> Told:
    labels: dict[str, int] = {}
    voiced, arousal, valence = 0, 0.0, 0.0
    for change, after in zip(talk, [*talk[1:], Change(60.0, "quiet", 1.0, None, None)], strict=True):
        ms = round(1_000 * (after.at_s - change.at_s))
        if change.label != "quiet":
            labels[change.label] = labels.get(change.label, 0) + ms
        if change.arousal is not None and change.valence is not None:
            voiced, arousal, valence = voiced + ms, arousal + ms * change.arousal, valence + ms * change.valence
    means = (round(1_000 * arousal / voiced), round(1_000 * valence / voiced)) if voiced else (None, None)
    return Told(labels, (MINUTE_MS, voiced, -38, round(sum(labels.values()) / 60), *means))


def share_of_talk(hour: int) -> float:
    """Return the share of an hour's minutes in which somebody talks."""
    away = (hour // 24 + 3) % 7 < 5 and 9 <= hour % 24 < 16
    return 0.0 if away else TALKS_AT[hour % 24]


def talking(room: int, first: int, last: int) -> Iterator[tuple[int, int | None]]:
    """Yield the minutes in which anybody listens to a room, each with the talk that is heard in it, if any."""
    dice = random.Random(room)
    for hour in range(first // 60, last // 60):
        share = share_of_talk(hour)
        if dice.random() < GAPS:
            continue
        for minute in range(60 * hour, 60 * hour + 60):
            yield minute, dice.randrange(TALKS) if dice.random() < share else None


def events_of(talk: Talk, room: int, minute: int, seq: int) -> Iterator[Taken]:
    before = Change(0.0, "quiet", 1.0, None, None)
    for number, change in enumerate(talk):
        at_s = 60 * minute + change.at_s
        yield Taken(packed(uuid7(at_s)), room, round(1_000 * at_s), seq + number, change.label, before.label,
                    round(1_000 * (change.at_s - before.at_s)), change.confidence, "tense", change.confidence,
                    change.arousal, change.valence, 0.25, 24.5, -38.1, 8_000, 0, "default-1-step-int8")  # fmt: skip
        before = change


def fill(history: History, talks: Sequence[Talk]) -> None:
    """Fill a store with a year, in its own tables. Cut short, it goes on.

    Its first DETAILED days have their events and minutes, and hours summed up of these as a recorder does it; of the
    others there are the hours alone, which is what questions of weeks and years look at.
    """
    engine, summed = history.engine, [told(each) for each in talks]
    with engine.writing() as work:
        work.each("INSERT INTO room (room, name, until_minute) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                  [(room, f"room-{room:02d}", END) for room in range(1, ROOMS + 1)])  # fmt: skip
    begin = END - DAY * DAYS
    done = max(0, 60 * engine.ask("SELECT rolled_hour FROM kept")[0][0] - begin) // DAY
    for day in range(done, DAYS, 5):  # in the order of time, as it would come
        first = begin + DAY * day
        last = min(END, first + 5 * DAY)
        with engine.writing() as work:
            if day < DETAILED:
                _in_detail(work, talks, summed, day, first, last)
                work.do("UPDATE kept SET rolled_hour = ? WHERE rolled_hour = 0", (first // 60,))
            else:
                _hours_alone(work, summed, first // 60, last // 60)
                work.do("UPDATE kept SET rolled_hour = ?", (last // 60,))
        history.sum_up(last // 60)
    with engine.writing() as work:
        sum_days(work, begin // DAY, END // DAY + 1, all_rooms(work))


def _in_detail(work: Work, talks: Sequence[Talk], summed: Sequence[Told], day: int, first: int, last: int) -> None:
    quiet = (MINUTE_MS, 0, -58, 0, None, None)
    minutes, labels, events = [], [], []
    for room in range(1, ROOMS + 1):
        for minute, which in talking(1_000 * day + room, first, last):
            found = None if which is None else summed[which]
            minutes.append((minute, room, *(quiet if found is None else found.columns)))
            if found is not None:
                labels += [(minute, room, label, ms) for label, ms in found.labels.items()]
                events += events_of(talks[which], room, minute, 20 * minute)
    work.each(f"INSERT INTO event VALUES ({', '.join('?' * 18)})", sorted(events))
    work.each("INSERT INTO minute VALUES (?, ?, ?, ?, ?, ?, ?, ?)", sorted(minutes, key=lambda row: row[:2]))
    work.each("INSERT INTO minute_label VALUES (?, ?, ?, ?)", sorted(labels))


def _hours_alone(work: Work, summed: Sequence[Told], first: int, last: int) -> None:
    dice = random.Random(first)
    hours, labels = [], []
    for room in range(1, ROOMS + 1):
        for hour in range(first, last):
            if dice.random() < GAPS:
                continue
            share = share_of_talk(hour)
            minutes = min(60, max(0, round(dice.gauss(60 * share, (60 * share * (1 - share)) ** 0.5)))) if share else 0
            held: dict[str, int] = {}
            for found in dice.choices(summed, k=minutes):
                for label, ms in found.labels.items():
                    held[label] = held.get(label, 0) + ms
            labels += [(room, hour, label, ms) for label, ms in held.items()]
            means = (150, 80) if held else (None, None)
            hours.append((room, hour, 60 * MINUTE_MS, sum(held.values()), -55, 20 if held else 0, *means))
    work.each("INSERT INTO hour VALUES (?, ?, ?, ?, ?, ?, ?, ?)", hours)
    work.each("INSERT INTO hour_label VALUES (?, ?, ?, ?)", labels)


class DuckEngine:
    """DuckDB, as far as this bench needs it: as a recorder would use it, with the same SQL."""

    words = {"bytes": "BLOB", "real": "DOUBLE", "clustered": ""}  # noqa: RUF012 (never changed)

    def __init__(self, path: Path) -> None:
        import duckdb

        self.place, self._path = str(path), path
        self._database = duckdb.connect(str(path))
        self._database.execute("SET integer_division = true")

    @contextmanager
    def writing(self) -> Iterator[Work]:
        self._database.execute("BEGIN")
        try:
            yield self
            self._database.execute("COMMIT")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise

    def do(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return len(self._database.execute(sql, list(parameters)).fetchall())

    def each(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        for row in rows:
            self._database.execute(sql, list(row))
        return len(rows)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._database.execute(sql, list(parameters)).fetchall()

    def copy(self, table: str, rows: list[Row]) -> None:
        import pyarrow

        columns = [name for _, name, *_ in self.ask(f"PRAGMA table_info('{table}')")]
        whole = pyarrow.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
        self._database.register("rows", whole)
        self._database.execute(f"INSERT INTO {table} SELECT * FROM rows")
        self._database.unregister("rows")

    def mb_of(self, tables: Sequence[str]) -> float:
        """Return how large a file is that has these tables alone, with their keys."""
        import duckdb

        alone = self._path.with_name("alone.duckdb")
        alone.unlink(missing_ok=True)
        History(DuckEngine(alone)).engine.close()
        empty = alone.stat().st_size
        with duckdb.connect(str(alone)) as other:
            other.execute(f"ATTACH '{self._copied()}' AS whole (READ_ONLY)")
            for table in tables:
                if table in TABLES:
                    other.execute(f"INSERT INTO {table} SELECT * FROM whole.{table}")
            other.execute("DETACH whole; CHECKPOINT")
        return (alone.stat().st_size - empty) / 1e6

    def _copied(self) -> Path:
        """Return a copy of the file: another connection may not open one that is written to."""
        self._database.execute("CHECKPOINT")
        return Path(shutil.copy(self._path, self._path.with_name("copy.duckdb")))

    def size_bytes(self) -> int:
        self._database.execute("CHECKPOINT")
        return self._path.stat().st_size

    def close(self) -> None:
        self._database.close()


def copied(whole: SqliteEngine, into: Engine) -> History:
    """Return a store with what a whole one has, of events and minutes the first COPIED days."""
    history = History(into)
    until = END - DAY * (DAYS - COPIED)
    detail = {"event": f"WHERE ts_ms < {until * MINUTE_MS}", "minute": f"WHERE minute < {until}",
              "minute_label": f"WHERE minute < {until}"}  # fmt: skip
    for table in TABLES:
        rows: list[Row] = []
        for row in whole.stream(f"SELECT * FROM {table} {detail.get(table, '')}"):
            rows.append(row)
            if len(rows) == 200_000:
                _copy(into, table, rows)
                rows = []
        if rows:
            _copy(into, table, rows)
    with into.writing() as work:
        work.do("UPDATE kept SET rolled_hour = ?", whole.ask("SELECT rolled_hour FROM kept")[0])
    return history


def _copy(into: Engine, table: str, rows: list[Row]) -> None:
    if isinstance(into, DuckEngine):
        into.copy(table, rows)
        return
    with into._database.transaction(), into._database.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as to:
        for row in rows:
            to.write_row(row)


def answers(engine: Engine, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Return how many milliseconds the page's questions take, the first time and after: by the clock, and of this
    process's CPU, which is what counts on a busy machine (PostgreSQL's own work is not in it)."""
    rooms, zone = names(engine), ZoneInfo("Europe/Berlin")
    one = dict([next(iter(rooms.items()))])
    asked: dict[str, Callable[[], object]] = {
        "a room's week": lambda: past(engine, one, steps(END_S, 7, 1, zone), by_week=True),
        "a room's year": lambda: past(engine, one, steps(END_S, 365, 24, zone), by_week=True),
        "20 rooms' week": lambda: past(engine, rooms, steps(END_S, 7, 24, zone)),
        "20 rooms' month": lambda: past(engine, rooms, steps(END_S, 30, 24, zone)),
        "20 rooms' year": lambda: past(engine, rooms, steps(END_S, 365, HOURS_OF_WEEK, zone)),
    }
    found = {}
    for name, question in asked.items():
        took = []
        for _ in range(rounds + 1):
            began_s, before_s = time.perf_counter(), time.process_time()
            question()
            took.append((1_000 * (time.perf_counter() - began_s), 1_000 * (time.process_time() - before_s)))
        wall, cpu = (statistics.median(column) for column in zip(*took[1:], strict=True))
        found[name] = {"first_ms": round(took[0][0]), "median_ms": round(wall), "median_cpu_ms": round(cpu)}
    return found


def written_by_a_day(history: History, talks: Sequence[Talk], hours: int) -> dict[str, float]:
    """Return what an evening of 20 rooms writes to disk, committed as the recorder does it; scaled to a day."""
    first, wait_s = END - 60 * hours, round(LONGEST_WAIT_S)
    by_commit: dict[int, list[tuple[str, Taken]]] = {}
    spans: dict[str, list[tuple[int, int, str]]] = {}
    payload = 0
    for room in range(1, ROOMS + 1):
        name = f"room-{room:02d}"
        for minute, which in talking(room, first, END):
            spans.setdefault(name, []).append((minute * MINUTE_MS, (minute + 1) * MINUTE_MS, "quiet"))
            for event in events_of(talks[which], room, minute, 20 * minute) if which is not None else ():
                by_commit.setdefault(event.ts_ms // (1_000 * wait_s), []).append((name, event))
                payload += len(msgspec.json.encode(event_of(event)))
    began_s, before = time.perf_counter(), _written_bytes()
    for minute in range(first, END):
        for number in range(60 * minute // wait_s, 60 * (minute + 1) // wait_s):
            if number in by_commit:
                history.take(by_commit[number])
        until = (minute + 1) * MINUTE_MS
        samples = [Sample(until - 30_000 * back, -50.0, 0.1, None, None, False) for back in (4, 3, 2, 1)]
        recent = {name: tuple(span for span in heard if until - 120_000 <= span[0] < until)
                  for name, heard in spans.items()}  # fmt: skip
        history.take_days({name: (Day(heard, until), samples) for name, heard in recent.items()})
    events = sum(map(len, by_commit.values()))
    written = _written_bytes() - before
    commits, took_s = len(by_commit) + 60 * hours, time.perf_counter() - began_s
    return {"hours": hours, "events": events, "commits": commits, "payload_mb": round(payload / 1e6, 2),
            "written_mb": round(written / 1e6, 1), "times_payload": round(written / payload, 1),
            "ms_a_commit": round(1_000 * took_s / commits, 2)}  # fmt: skip


def _written_bytes() -> int:
    """Return how much this process gave to the disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def on_the_page(store: Path, scratch: Path) -> dict[str, float]:
    """Return how many milliseconds pass between a click and what it shows, in Chromium: page, broker and recorder."""
    took: dict[str, list[float]] = {}
    with (
        Broker(scratch / "broker", http_dir=DASHBOARD) as broker,
        recording(scratch, broker.port, str(store)),
        Puppet(broker.port, "room-01") as one,
        Puppet(broker.port, "room-02") as other,
        sync_playwright() as playwright,
    ):
        one.state("quiet")
        other.state("quiet")
        browser = launch(playwright)
        for name, at, card in (("a room's", "#room-01", "#room-history"), ("20 rooms'", "", "#all-history")):
            page = Visit.begin(browser, broker.page_url + at).page
            page.wait_for_selector(f"{card} .courses li")
            for span in ("month", "year", "week") * 3:
                took.setdefault(f"{name} {span}", []).append(page.evaluate(_CLICKED, [card, span]))
        browser.close()
    return {name: round(statistics.median(times)) for name, times in took.items()}


_CLICKED = """async ([card, span]) => {
    const began = performance.now();
    [...document.querySelectorAll(`${card} .spans button`)].find(button => button.textContent === span).click();
    const shown = () => document.querySelector(`${card} canvas[aria-label^="Course over the ${span}"]`) !== null;
    while (!shown()) await new Promise(resolve => requestAnimationFrame(resolve));
    return performance.now() - began;
}"""


def table(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    stores = {"sqlite": "SQLite", "duckdb": "DuckDB", "postgres": "PostgreSQL"}
    lines = ["| | " + " | ".join(stores.values()) + " |", "|---|" + "---:|" * len(stores)]

    def row(name: str, cell: Callable[[dict[str, Any]], str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cell(report[store]) for store in stores) + " |")

    row("a day of events, MB", lambda found: f"{found['events_mb_a_day']:.1f}")
    row("a day of minutes, MB", lambda found: f"{found['minutes_mb_a_day']:.1f}")
    row("a year of hours and days, MB", lambda found: f"{found['hours_mb_a_year']:.0f}")
    for name, key in (("written by 6 hours, MB", "written_mb"), ("times what was said", "times_payload"),
                      ("a commit, ms", "ms_a_commit")):  # fmt: skip
        row(name, lambda found, key=key: f"{found['day'][key]:.0f}" if "day" in found else "")
    for question in report["sqlite"]["answers"]:
        row(f"{question}, ms (of CPU)", lambda found, asked=question: "{median_ms} ({median_cpu_ms})".format(
            **found["answers"][asked]))  # fmt: skip
    page = ", ".join(f"{name} {ms} ms" for name, ms in report["page"].items())
    return "\n".join(lines) + f"\n\nFrom a click to what it shows, on the page: {page}."


def sizes(engine: Engine) -> dict[str, Any]:
    """Return what a day of 20 rooms takes in detail, and a year of their hours and days, in MB."""
    if isinstance(engine, DuckEngine):  # which has no size of a table: that of a file with nothing else
        mb = {name: engine.mb_of(tables) for name, tables in PARTS.items()}
    else:
        sql = ("SELECT name, sum(pgsize) FROM dbstat GROUP BY name" if isinstance(engine, SqliteEngine) else
               "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'")  # fmt: skip
        bytes_of = {name: int(size) for name, size in engine.ask(sql)}
        mb = {name: sum(bytes_of.get(table, 0) for table in tables) / 1e6 for name, tables in PARTS.items()}
    days = DETAILED if isinstance(engine, SqliteEngine) else COPIED
    a_day = {f"{name}_mb_a_day": round(mb[name] / days, 2) for name in ("events", "minutes")}
    return {**a_day, "hours_mb_a_year": round(mb["hours"], 1)}


def measured(store: str, scratch: Path, talks: Sequence[Talk]) -> dict[str, Any]:
    """Return the figures of one kind of store; the year in SQLite is made first, and the others are copies of it."""
    for left in {*scratch.glob("day.*"), *scratch.glob("*.duckdb*")}:
        left.unlink()
    whole = SqliteEngine(scratch / "year.sqlite", create=True)
    fill(History(whole), talks)
    if store == "postgres":
        with Postgres(scratch / "server") as server:
            history = copied(whole, PostgresEngine(server.address))
            history.engine._database.execute("VACUUM ANALYZE")
            return {**sizes(history.engine), "answers": answers(history.engine)}
    if store == "duckdb":
        history = copied(whole, DuckEngine(scratch / "year.duckdb"))
        day: Engine = DuckEngine(scratch / "day.duckdb")
    else:
        history, day = History(whole), SqliteEngine(scratch / "day.sqlite", create=True)
    return {**sizes(history.engine), "answers": answers(history.engine),
            "day": written_by_a_day(History(day), talks, hours=6)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/roomtone-history-bench"))
    parser.add_argument("--out", type=Path, default=REPORT, help="a file for the figures")
    options = parser.parse_args()
    out = asked.file(options.out)
    options.scratch.mkdir(parents=True, exist_ok=True)
    talks = minutes_of_talk(options.folder, options.scratch / "talks.json")
    report = json.loads(out.read_text()) if out.exists() else {}
    report["changes_a_minute_of_talk"] = round(sum(map(len, talks)) / TALKS, 2)
    for store in options.stores:
        page = store == "page"
        report[store] = (on_the_page(options.scratch / "year.sqlite", options.scratch) if page else
                         measured(store, options.scratch, talks))  # fmt: skip
        print(store, json.dumps(report[store]), flush=True)
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    asked.answer(main)
