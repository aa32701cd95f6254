"""The history of every room, in a store."""

import hashlib
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from edge import config
from edge.history.engine import Engine, StoreError, Work
from edge.history.minutes import HOUR_MS, MINUTE_MS, Minute, minutes
from edge.history.schema import AT_A_TIME, NAMELESS, all_rooms, marks, prepare, sum_up
from edge.history.taken import Taken
from edge.history.told.days import Day
from edge.history.told.samples import Sample

log = logging.getLogger("roomtone.history")

_EVENT = f"INSERT INTO event VALUES ({', '.join('?' * len(Taken._fields))}) ON CONFLICT DO NOTHING"
_MINUTE = "INSERT INTO minute VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_LABEL = "INSERT INTO minute_label VALUES (?, ?, ?, ?)"


class History:
    """What is kept in a store. Of one thread. Every method but `give_up` raises StoreError where the store fails.

    client_id: whose session at the broker this store's is: another store has another.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        prepare(engine)
        with engine.writing() as work:
            found = work.ask("SELECT client_id FROM kept")
            if not found:
                found = [(f"roomtone-history-{uuid.uuid4().hex[:12]}",)]
                work.do("INSERT INTO kept VALUES (1, ?, 0)", found[0])
        self.client_id: str = found[0][0]

    def give_up(self) -> None:
        """Close a store that may have failed, whatever it says."""
        try:
            self.engine.close()
        except StoreError as error:
            log.debug("%s", error)

    def take(self, events: Collection[tuple[str, Taken]]) -> int:
        """Commit events, each with the name of its room; return how many are new. What is there already stays so."""
        with self.engine.writing() as work:
            rooms = _Rooms(work, {name for name, _ in events})
            rows = [event._replace(room=rooms.of(name).room) for name, event in events
                    if event.ts_ms >= rooms.from_ms(name)]  # fmt: skip
            return work.each(_EVENT, rows)

    def take_days(self, days: Mapping[str, tuple[Day, Sequence[Sample]]]) -> int:
        """Commit the minutes that rooms' timelines tell of and are not kept yet; return how many those are.

        The last one, which is not over, is kept as far as it is told: more may never come. What comes takes its place.
        """
        made: dict[int, list[Minute]] = {}
        until: list[tuple[int, int]] = []
        with self.engine.writing() as work:
            rooms = _Rooms(work, days)
            rolled = work.ask("SELECT rolled_hour FROM kept")[0][0]
            for name, (day, samples) in days.items():
                if day.until_ms <= rooms.from_ms(name):
                    continue
                room, last = rooms.of(name), day.until_ms // MINUTE_MS
                if last < room.until_minute:
                    continue
                earliest = day.heard[0][0] // MINUTE_MS if day.heard else last
                made[room.room] = _beyond(work, room, minutes(day, samples, max(room.first_minute, earliest), last + 1))
                until.append((last, room.room))
            _keep(work, made)
            work.each("UPDATE room SET until_minute = ? WHERE room = ?", until)
            for room, told in made.items():
                for first, last in _stretches({each.minute // 60 for each in told if each.minute // 60 < rolled}):
                    sum_up(work, first, last, room)
        return sum(map(len, made.values()))

    def sum_up(self, hour: int) -> None:
        """Sum the hours before `hour` up, of every room. Minutes that come later are added to theirs."""
        with self.engine.writing() as work:
            rolled = work.ask("SELECT rolled_hour FROM kept")[0][0]
            if hour > rolled:
                sum_up(work, rolled, hour)
                work.do("UPDATE kept SET rolled_hour = ?", (hour,))

    def expire(self, before_ms: Mapping[str, int]) -> int:
        """Delete what is older than the moment of its table; return how many rows that were."""
        with self.engine.writing() as work:
            rooms = all_rooms(work)
            return sum(_expire(work, table, rooms, before) for table, before in before_ms.items())

    def count(self, name: str, *, before_ms: int | None) -> dict[str, int]:
        """Return how many rows of each table `forget` would delete."""
        with self.engine.writing() as work:
            room = _Rooms(work, [name]).of(name).room
            return {table: work.ask(f"SELECT count(*) {sql}", values)[0][0]
                    for table in _KEPT for sql, values in [_rows(table, room, before_ms)]}  # fmt: skip

    def forget(self, name: str, *, before_ms: int | None, now_ms: int) -> dict[str, int]:
        """Delete what is kept of a room, all or up to a moment; return how many rows of each table that were.

        What is not to be kept any more is not taken in again, whoever still has it. Of a room of which all is
        forgotten, its name is, too.
        """
        with self.engine.writing() as work:
            rooms = _Rooms(work, [name])
            known = rooms.of(name)
            gone = {table: _delete(work, table, known.room, before_ms) for table in _KEPT}
            from_ms = max(known.from_ms, now_ms if before_ms is None else before_ms)
            kept_as = name if before_ms is not None else rooms.nameless(name)
            work.do("UPDATE room SET from_ms = ?, name = ? WHERE room = ?", (from_ms, kept_as, known.room))
        self.engine.tidy()
        return gone


# When a row of a table begins: the column that says so, and the unit of that in milliseconds.
_KEPT = {
    "event": ("ts_ms", 1),
    **{f"minute{kind}": ("minute", MINUTE_MS) for kind in ("", "_label")},
    **{f"hour{kind}": ("hour", HOUR_MS) for kind in ("", "_label")},
    **{f"day{kind}": ("day", 24 * HOUR_MS) for kind in ("", "_label")},
}


def oldest_ms(settings: config.History, now_ms: int) -> dict[str, int]:
    """Return of each table how old what it has may be (Unix milliseconds), at `now_ms`."""
    days = {"event": settings.events_days, "minute": settings.minutes_days}
    return {table: now_ms - 24 * HOUR_MS * days.get(table.removesuffix("_label"), settings.hours_days)
            for table in _KEPT}  # fmt: skip


class Known(NamedTuple):
    """A room as a store has it: kept up to until_minute, from from_ms on."""

    room: int
    until_minute: int = 0
    from_ms: int = 0

    @property
    def first_minute(self) -> int:
        """The first minute that may still be kept."""
        return max(self.until_minute, -(-self.from_ms // MINUTE_MS))


class _Rooms:
    """Rooms as a transaction finds them; one that is new gets its number, one that was forgotten its name again."""

    def __init__(self, work: Work, meant: Collection[str]) -> None:
        self._work = work
        [(self._salt,)] = work.ask("SELECT client_id FROM kept")
        asked = [*meant, *map(self.nameless, meant)]
        self._known: dict[str, Known] = {}
        for begin in range(0, len(asked), AT_A_TIME):
            some = asked[begin : begin + AT_A_TIME]
            found = work.ask(f"SELECT name, room, until_minute, from_ms FROM room WHERE name IN ({marks(some)})", some)
            self._known |= {name: Known(*rest) for name, *rest in found}

    def nameless(self, name: str) -> str:
        """Return by what a forgotten room is known again, which no other store has."""
        return NAMELESS + hashlib.sha256(f"{self._salt} {name}".encode()).hexdigest()[:32]

    def from_ms(self, name: str) -> int:
        """Return since when a room may be kept, Unix milliseconds."""
        known = self._known.get(name) or self._known.get(self.nameless(name))
        return known.from_ms if known else 0

    def of(self, name: str) -> Known:
        if (forgotten := self._known.pop(self.nameless(name), None)) is not None:
            self._work.do("UPDATE room SET name = ? WHERE room = ?", (name, forgotten.room))
            self._known[name] = forgotten
        if name not in self._known:
            [(room,)] = self._work.ask("SELECT 1 + coalesce(max(room), 0) FROM room")
            self._work.do("INSERT INTO room (room, name) VALUES (?, ?)", (room, name))
            self._known[name] = Known(room)
        return self._known[name]


def _beyond(work: Work, known: Known, made: list[Minute]) -> list[Minute]:
    """Return minutes without the one that was not over when it was kept, where they tell no more of it; else what is
    kept of it is deleted."""
    if not made or made[0].minute != known.until_minute:
        return made
    which = "WHERE room = ? AND minute = ?", (known.room, known.until_minute)
    found = work.ask(f"SELECT heard_ms FROM minute {which[0]}", which[1])
    if found and found[0][0] >= made[0].heard_ms:
        return made[1:]
    for table in ("minute", "minute_label"):
        work.do(f"DELETE FROM {table} {which[0]}", which[1])
    return made


def _keep(work: Work, made: Mapping[int, Sequence[Minute]]) -> None:
    """Write minutes of rooms, in the order in which they lie in the store."""
    rows = sorted(((each.minute, room, each) for room, told in made.items() for each in told), key=lambda row: row[:2])
    work.each(_MINUTE, [(minute, room, each.heard_ms, min(each.voiced_ms, each.heard_ms), *each.means())
                        for minute, room, each in rows])  # fmt: skip
    work.each(_LABEL, [(minute, room, label, ms) for minute, room, each in rows for label, ms in each.label_ms.items()])


def _stretches(hours: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield from when up to, but without, when hours follow each other."""
    for first in sorted(hour for hour in hours if hour - 1 not in hours):
        last = first + 1
        while last in hours:
            last += 1
        yield first, last


def _expire(work: Work, table: str, rooms: Sequence[int], before_ms: int) -> int:
    """Delete the rows of a table that began before a moment; return how many."""
    column, unit_ms = _KEPT[table]
    before = -(-before_ms // unit_ms)
    if column == "minute":  # a minute's rows lie together, in every other table a room's
        return work.do(f"DELETE FROM {table} WHERE minute < ?", (before,))
    return work.each(f"DELETE FROM {table} WHERE room = ? AND {column} < ?", [(room, before) for room in rooms])


def _delete(work: Work, table: str, room: int, before_ms: int | None) -> int:
    """Delete a room's rows of a table, those that began before a moment or all; return how many."""
    sql, values = _rows(table, room, before_ms)
    return work.do(f"DELETE {sql}", values)


def _rows(table: str, room: int, before_ms: int | None) -> tuple[str, tuple[int, ...]]:
    """Return SQL that names a room's rows of a table, those that began before a moment or all, and its parameters."""
    if before_ms is None:
        return f"FROM {table} WHERE room = ?", (room,)
    column, unit_ms = _KEPT[table]
    return f"FROM {table} WHERE room = ? AND {column} < ?", (room, -(-before_ms // unit_ms))
