"""The history of every room, in a store."""

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edge.history.engine import Engine, StoreError, Work
from edge.history.minutes import HOUR_MS, MINUTE_MS, Day, Minute, Sample, minutes
from edge.history.schema import MEANS, prepare
from edge.history.taken import Taken

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

    def take(self, events: Iterable[tuple[str, Taken]]) -> int:
        """Commit events, each with the name of its room; return how many are new. What is there already stays so."""
        with self.engine.writing() as work:
            rooms = _Rooms(work)
            rows = [event._replace(room=rooms.of(name).room) for name, event in events
                    if event.ts_ms >= rooms.of(name).from_ms]  # fmt: skip
            return work.each(_EVENT, rows)

    def take_days(self, days: Mapping[str, tuple[Day, Sequence[Sample]]]) -> int:
        """Commit the minutes that rooms' timelines tell of and are not kept yet; return how many those are."""
        added = 0
        with self.engine.writing() as work:
            rooms = _Rooms(work)
            rolled = work.ask("SELECT rolled_hour FROM kept")[0][0]
            for name, (day, samples) in days.items():
                room, last = rooms.of(name), day.until_ms // MINUTE_MS
                if last <= room.until_minute:
                    continue
                earliest = day.heard[0][0] // MINUTE_MS if day.heard else last
                made = minutes(day, samples, max(room.first_minute, earliest), last)
                _keep(work, room.room, made)
                work.do("UPDATE room SET until_minute = ? WHERE room = ?", (last, room.room))
                for hour in sorted({each.minute // 60 for each in made if each.minute // 60 < rolled}):
                    _sum_up(work, hour, hour + 1, room.room)
                added += len(made)
        return added

    def sum_up(self, hour: int) -> None:
        """Sum the hours before `hour` up, of every room. Minutes that come later are added to theirs."""
        with self.engine.writing() as work:
            rolled = work.ask("SELECT rolled_hour FROM kept")[0][0]
            if hour > rolled:
                _sum_up(work, rolled, hour)
                work.do("UPDATE kept SET rolled_hour = ?", (hour,))

    def expire(self, before_ms: Mapping[str, int]) -> int:
        """Delete what is older than the moment of its table; return how many rows that were."""
        with self.engine.writing() as work:
            rooms = [room for (room,) in work.ask("SELECT room FROM room")]
            return sum(_delete(work, table, room, before) for table, before in before_ms.items() for room in rooms)

    def forget(self, name: str, *, before_ms: int | None, now_ms: int) -> dict[str, int]:
        """Delete what is kept of a room, all or up to a moment; return how many rows of each table that were.

        What is not to be kept any more is not taken in again, whoever still has it.
        """
        with self.engine.writing() as work:
            known = _Rooms(work).of(name)
            gone = {table: _delete(work, table, known.room, before_ms) for table in _KEPT}
            from_ms = max(known.from_ms, now_ms if before_ms is None else before_ms)
            work.do("UPDATE room SET from_ms = ? WHERE room = ?", (from_ms, known.room))
        self.engine.tidy()
        return gone


# When a row of a table begins: the column that says so, and the unit of that in milliseconds.
_KEPT = {
    "event": ("ts_ms", 1),
    **{f"minute{kind}": ("minute", MINUTE_MS) for kind in ("", "_label")},
    **{f"hour{kind}": ("hour", HOUR_MS) for kind in ("", "_label")},
    **{f"day{kind}": ("day", 24 * HOUR_MS) for kind in ("", "_label")},
}


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
    """The rooms as a transaction finds them; one that is new gets its number."""

    def __init__(self, work: Work) -> None:
        self._work = work
        found = work.ask("SELECT name, room, until_minute, from_ms FROM room")
        self._known = {name: Known(*rest) for name, *rest in found}

    def of(self, name: str) -> Known:
        if name not in self._known:
            room = 1 + max((known.room for known in self._known.values()), default=0)
            self._work.do("INSERT INTO room (room, name) VALUES (?, ?)", (room, name))
            self._known[name] = Known(room)
        return self._known[name]


def _keep(work: Work, room: int, made: Sequence[Minute]) -> None:
    work.each(_MINUTE, [(each.minute, room, each.heard_ms, min(each.voiced_ms, each.heard_ms), *each.means())
                        for each in made])  # fmt: skip
    work.each(_LABEL, [(each.minute, room, label, ms) for each in made for label, ms in each.label_ms.items()])


def _delete(work: Work, table: str, room: int, before_ms: int | None) -> int:
    """Delete a room's rows of a table, those that began before a moment or all; return how many."""
    if before_ms is None:
        return work.do(f"DELETE FROM {table} WHERE room = ?", (room,))
    column, unit_ms = _KEPT[table]
    return work.do(f"DELETE FROM {table} WHERE room = ? AND {column} < ?", (room, -(-before_ms // unit_ms)))


def _sum_up(work: Work, first: int, last: int, room: int | None = None) -> None:
    """Write the hours from `first` up to, but without, `last` anew, of a room or of all, and the days they are of."""
    _sum(work, "minute", "hour", 60, (first, last), room)
    sum_days(work, first // 24, -(-last // 24), room)


def sum_days(work: Work, first: int, last: int, room: int | None = None) -> None:
    """Write the days from `first` up to, but without, `last` anew, of a room or of all."""
    _sum(work, "hour", "day", 24, (first, last), room)


def _sum(work: Work, part: str, whole: str, parts: int, bounds: tuple[int, int], room: int | None) -> None:
    of, who = ("", ()) if room is None else (" AND room = ?", (room,))
    for table in (whole, f"{whole}_label"):
        work.do(f"DELETE FROM {table} WHERE {whole} >= ? AND {whole} < ?{of}", (*bounds, *who))
    within = (*(parts * bound for bound in bounds), *who)
    where, number = f"WHERE {part} >= ? AND {part} < ?{of}", f"{part} / {parts}"
    work.do(f"INSERT INTO {whole} SELECT room, {number}, {MEANS} FROM {part} {where} GROUP BY room, {number}", within)
    work.do(f"INSERT INTO {whole}_label SELECT room, {number}, label, sum(ms) FROM {part}_label {where} "
            f"GROUP BY room, {number}, label", within)  # fmt: skip
