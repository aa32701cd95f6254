"""Local time for questions in UTC hours: a zone's offset is constant but for a few moments of a year.

A zone of None is the machine's own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Stretch:
    """UTC hours from `first` up to, but without, `last`, in which local time is `offset` hours ahead."""

    first: int
    last: int
    offset: int


def stretches(first: int, last: int, zone: tzinfo | None) -> list[Stretch]:
    """Return hours as stretches of one offset each. An offset of half hours counts as the full hours in it."""
    found: list[Stretch] = []
    at = first
    while at < last:
        offset = offset_hours(at, zone)
        end = min(at + 24, last)
        while end > at + 1 and offset_hours(end - 1, zone) != offset:
            end -= 1
        if found and found[-1].offset == offset:
            found[-1] = Stretch(found[-1].first, end, offset)
        else:
            found.append(Stretch(at, end, offset))
        at = end
    return found


def offset_hours(hour: int, zone: tzinfo | None) -> int:
    """Return by how many full hours local time is ahead of a UTC hour."""
    ahead = datetime.fromtimestamp(hour * HOUR_S, UTC).astimezone(zone).utcoffset() or timedelta()
    return ahead // timedelta(hours=1)


def day_begins(now_s: float, days: int, zone: tzinfo | None) -> int:
    """Return the UTC hour at which the first of so many local days began, the last of which is today; where it began at
    half an hour, the next full one."""
    today = datetime.fromtimestamp(now_s, UTC).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    first = (today.replace(tzinfo=None) - timedelta(days=days - 1)).replace(tzinfo=zone)
    return -int(-first.timestamp() // HOUR_S)
