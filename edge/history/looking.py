"""What a store is asked: how rooms were, step by step in local time, and by the hour of the week."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import NamedTuple

from edge.history.engine import Engine
from edge.history.schema import NAMELESS
from edge.history.zones import HOUR_S, Stretch, day_begins, offset_hours, stretches
from edge.voice.history import Course, RoomPast
from edge.voice.payloads import rfc3339

HOURS_OF_WEEK = 168
_FINE = 6  # digits of a share in which a minute of a year still shows
_THURSDAY = 72  # hours from a Monday on: 1970 began on that day
_MS = 1_000 * HOUR_S
_SUMS = """sum(heard_ms), sum(voiced_ms), sum(CASE WHEN level_dbfs IS NULL THEN 0 ELSE heard_ms END),
    sum(1.0 * level_dbfs * heard_ms), sum(1.0 * speech_permille * heard_ms), sum(1.0 * arousal_permille * voiced_ms),
    sum(1.0 * valence_permille * voiced_ms)"""
_COLUMNS = "heard_ms, voiced_ms, level_dbfs, speech_permille, arousal_permille, valence_permille"


class Steps(NamedTuple):
    """Steps of `hours` each, in local time, from a UTC hour up to Unix time `until_s`."""

    first: int
    until_s: float
    hours: int
    zone: tzinfo | None

    def starts(self) -> list[str]:
        """Return when each begins, RFC 3339; the first not before `first`."""
        return [rfc3339(HOUR_S * hour) for hour in self._begins()]

    def local_starts(self) -> list[str]:
        """Return when each begins, for people."""
        shown = "%a %d %b %H:00" if self.hours == 1 else "%a %d %b"
        return [datetime.fromtimestamp(HOUR_S * hour, UTC).astimezone(self.zone).strftime(shown)
                for hour in self._begins()]  # fmt: skip

    def lengths(self) -> list[float]:
        """Return how many hours each has: one that is not over has fewer."""
        begins = [*self._begins(), self.until_s / HOUR_S]
        return [max(end - begin, 1e-9) for begin, end in pairwise(begins)]

    def _begins(self) -> list[int]:
        found: dict[int, int] = {}
        for stretch in self.stretches():
            for hour in range(stretch.first, stretch.last):
                found.setdefault(self.number(hour, stretch.offset), hour)
        return list(found.values())

    def number(self, hour: int, offset: int) -> int:
        return (hour + offset + _aligned(self.hours)) // self.hours

    def stretches(self) -> list[Stretch]:
        return stretches(self.first, int(self.until_s // HOUR_S) + 1, self.zone)


def steps(now_s: float, days: int, hours: int, zone: tzinfo | None) -> Steps:
    """Return the steps of so many days, of which today is the last."""
    return Steps(day_begins(now_s, days, zone), now_s, hours, zone)


def names(engine: Engine) -> dict[int, str]:
    """Return every room that is not forgotten, in the order of their names."""
    return dict(engine.ask("SELECT room, name FROM room WHERE name NOT LIKE ? ORDER BY name", (f"{NAMELESS}%",)))


def past(engine: Engine, rooms: dict[int, str], asked: Steps, *, by_week: bool = False) -> list[RoomPast]:
    """Return how rooms (numbers and names) were."""
    if not rooms:
        return []
    first = asked.number(asked.first, offset_hours(asked.first, asked.zone))
    lengths = asked.lengths()
    by_step = _summed(engine, asked, f"(hour + {{offset}} + {_aligned(asked.hours)}) / {asked.hours} - {first}", rooms)
    by_hour = _summed(engine, asked, f"(hour + {{offset}} + {_THURSDAY}) % {HOURS_OF_WEEK}", rooms) if by_week else {}
    listed = _lengths_by_week(asked) if by_week else []
    found = []
    for room, name in rooms.items():
        told = by_step.get(room, {})
        found.append(
            RoomPast(
                room=name,
                whole=_course([_together(told.values())], [sum(lengths)]),
                course=_course([told.get(number, _Sums()) for number in range(len(lengths))], lengths),
                hours_of_week=_course([by_hour.get(room, {}).get(hour, _Sums()) for hour in range(HOURS_OF_WEEK)],
                                      listed) if by_week else None,
            )
        )  # fmt: skip
    return found


@dataclass(slots=True)
class _Sums:
    """Of a step: milliseconds, and values times milliseconds."""

    heard: int = 0
    voiced: int = 0
    told: int = 0
    level: float = 0.0
    speech: float = 0.0
    arousal: float = 0.0
    valence: float = 0.0
    labels: dict[str, int] = field(default_factory=dict)

    def add(self, *more: float | None) -> None:
        names = ("heard", "voiced", "told", "level", "speech", "arousal", "valence")
        for name, value in zip(names, more, strict=True):
            setattr(self, name, getattr(self, name) + (0 if value is None else float(value)))

    def add_label(self, label: str, ms: float) -> None:
        self.labels[label] = self.labels.get(label, 0) + int(ms)


def _summed(engine: Engine, asked: Steps, step: str, rooms: Collection[int]) -> dict[int, dict[int, _Sums]]:
    """Return sums by room and by step, which is SQL of `hour` and of `{offset}`.

    Steps of weeks, of many rooms, are asked of days in UTC: each counts where its noon is.
    """
    rolled = engine.ask("SELECT rolled_hour FROM kept")[0][0]
    by_day = len(rooms) > 1 and asked.hours >= HOURS_OF_WEEK
    found: dict[int, dict[int, _Sums]] = {}
    for stretch in asked.stretches():
        number = step.format(offset=stretch.offset)
        means, bounds = _told(stretch, rolled, rooms, _COLUMNS, "", by_day=by_day)
        for who, at, *sums in engine.ask(f"SELECT room, {number}, {_SUMS} FROM {means} GROUP BY 1, 2", bounds):
            found.setdefault(who, {}).setdefault(at, _Sums()).add(*sums)
        labels, bounds = _told(stretch, rolled, rooms, "label, ms", "_label", by_day=by_day)
        for who, at, label, ms in engine.ask(
            f"SELECT room, {number}, label, sum(ms) FROM {labels} GROUP BY 1, 2, 3", bounds
        ):
            found.setdefault(who, {}).setdefault(at, _Sums()).add_label(label, ms)
    return found


def _told(
    stretch: Stretch, rolled: int, rooms: Collection[int], columns: str, kind: str, *, by_day: bool
) -> tuple[str, list]:
    """Return SQL of a table with `room`, `hour` and columns, and its parameters: what is summed up before the hour
    `rolled`, and the minutes since then. kind: the end of the tables' names.

    Rooms are named, also where all are meant: rows of a room lie together, and else every hour ever kept is read.
    """
    of = f" AND room IN ({', '.join(map(str, rooms))})"
    hour, bounds = "hour", [stretch.first, min(stretch.last, rolled)]
    if by_day:
        last = stretch.last - 1  # today's noon may be to come
        hour = f"CASE WHEN 24 * day + 12 > {last} THEN {last} ELSE 24 * day + 12 END"
        bounds = [-(-(stretch.first - 12) // 24), -(-(stretch.last - 12) // 24)]
        if stretch.last > rolled - 24:
            bounds[1] = max(bounds[1], -(-rolled // 24))
    table = "day" if by_day else "hour"
    fresh = [60 * max(stretch.first, rolled), 60 * stretch.last]
    sql = (
        f"(SELECT room, {hour} AS hour, {columns} FROM {table}{kind} WHERE {table} >= ? AND {table} < ?{of} UNION ALL "
        f"SELECT room, minute / 60, {columns} FROM minute{kind} WHERE minute >= ? AND minute < ?{of}) AS told"
    )
    return sql, [*bounds, *fresh]


def _together(many: Iterable[_Sums]) -> _Sums:
    whole = _Sums()
    for each in many:
        whole.add(each.heard, each.voiced, each.told, each.level, each.speech, each.arousal, each.valence)
        for label, ms in each.labels.items():
            whole.add_label(label, ms)
    return whole


def _course(many: Sequence[_Sums], hours: Sequence[float]) -> Course:
    labels = sorted({label for each in many for label in each.labels})
    return Course(
        heard=[_share(each.heard, _MS * length, _FINE) for each, length in zip(many, hours, strict=True)],
        labels={label: [_share(each.labels.get(label, 0), each.heard) for each in many] for label in labels},
        speech_ratio=[_mean(each.speech, 1_000 * each.told, 3) for each in many],
        level_dbfs=[_mean(each.level, each.told, 1) for each in many],
        arousal=[_mean(each.arousal, 1_000 * each.voiced, 3) for each in many],
        valence=[_mean(each.valence, 1_000 * each.voiced, 3) for each in many],
    )


def _share(part: float, whole: float, digits: int = 4) -> float:
    return round(min(1.0, part / whole), digits) if whole else 0.0


def _mean(summed: float, weight: float, digits: int) -> float | None:
    return round(summed / weight, digits) if weight else None


def _aligned(hours: int) -> int:
    """Return what makes weeks begin on Mondays."""
    return _THURSDAY if hours == HOURS_OF_WEEK else 0


def _lengths_by_week(asked: Steps) -> list[float]:
    """Return how many hours there were of each hour of the week."""
    counted = [0.0] * HOURS_OF_WEEK
    for stretch in asked.stretches():
        for hour in range(stretch.first, stretch.last):
            counted[(hour + stretch.offset + _THURSDAY) % HOURS_OF_WEEK] += min(1.0, asked.until_s / HOUR_S - hour)
    return counted
