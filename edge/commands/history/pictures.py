"""How a room's past looks in a terminal."""

from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge.commands.rooms import colour
from edge.history.looking import Steps
from edge.labels import QUIET
from edge.voice.history import Course, RoomPast

_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_BARS = " ▁▂▃▄▅▆▇█"
_BAR_WIDTH = 24
_NARROWEST = 14  # columns of a course
_GAP = "·"
_SMALL = 0.01


def rooms_table(rooms: list[RoomPast], steps: Steps, console: Console) -> Table:
    """Return a row per room: how long anybody listened, what was heard, and the course of it: of its steps the newest,
    as many as the console has place for."""
    rows = [_in_a_row(room, steps) for room in rooms]
    step, count = {1: "hour", 24: "day"}.get(steps.hours, "week"), len(steps.lengths())
    newest = min(count, max(_NARROWEST, console.width - console.measure(_rooms(rows)).maximum - 1))
    table = _rooms(())
    header = f"spoken, by {step}" if newest == count else f"spoken, last {newest} {step}s"
    table.add_column(header, width=max(newest, _NARROWEST))
    for room, row in zip(rooms, rows, strict=True):
        table.add_row(*row, _line(room.course, newest))
    return table


def _rooms(rows: Iterable[tuple[str, ...]]) -> Table:
    """Return a table of what `_in_a_row` says."""
    table = Table(box=None, pad_edge=False)
    for column in ("room", "heard", "spoken", "mostly", "pleasant", "excited"):
        table.add_column(column, justify="left" if column in ("room", "mostly") else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _in_a_row(room: RoomPast, steps: Steps) -> tuple[str, ...]:
    whole = room.whole
    listened = _listened(whole.heard[0], sum(steps.lengths()))
    return (room.room, listened, _percent(_spoken(whole, 0)), _most(whole), _signed(whole.valence[0]),
            _signed(whole.arousal[0]))  # fmt: skip


def room_in_full(room: RoomPast, steps: Steps) -> RenderableType:
    """Return a room's labels, its hours of the week, and its days."""
    parts: list[RenderableType] = [Text(room.room, style="bold"), *_labels(room.whole, steps), Text()]
    if room.hours_of_week is not None:
        parts += [Text("spoken, by the hour of the week (the colour: what was said most)"), _week(room.hours_of_week)]
    parts += [Text(), _days(room.course, steps)]
    return Group(*parts)


def _labels(whole: Course, steps: Steps) -> Iterator[Text]:
    listened = _listened(whole.heard[0], sum(steps.lengths()))
    yield Text(f"listened to {listened}{' of the time' if '%' in listened else ''}; of what was heard:")
    shares = {QUIET: 1.0 - _spoken(whole, 0), **{label: held[0] for label, held in whole.labels.items()}}
    for label, share in sorted(shares.items(), key=lambda item: -item[1]) if whole.heard[0] else ():
        bar = Text("█" * round(_BAR_WIDTH * share) or "▏", style=colour(label))
        yield Text(f"  {label:<12}{share:6.1%}  ") + bar


def _week(hours: Course) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 0))
    table.add_column("")
    for hour in range(24):
        table.add_column(f"{hour:02d}" if hour % 3 == 0 else "  ")
    highest = max(_spoken(hours, at) for at in range(7 * 24)) or 1.0
    for day, name in enumerate(_DAYS):
        table.add_row(name + " ", *(_cell(hours, 24 * day + hour, highest) for hour in range(24)))
    return table


def _cell(course: Course, at: int, highest: float) -> Text:
    if not course.heard[at]:
        return Text(_GAP * 2, style="bright_black")
    spoken = _spoken(course, at)
    height = round((len(_BARS) - 1) * spoken / highest)
    return Text(_BARS[max(height, 1 if spoken else 0)] * 2, style=colour(_most(course, at)))


def _days(course: Course, steps: Steps) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("from", "heard", "spoken", "mostly", "pleasant", "excited", "level"):
        table.add_column(column, justify="left" if column in ("from", "mostly") else "right")
    for at, (start, hours) in enumerate(zip(steps.local_starts(), steps.lengths(), strict=True)):
        level = course.level_dbfs[at]
        table.add_row(start, _listened(course.heard[at], hours) if course.heard[at] else "nobody listened",
                      _percent(_spoken(course, at)) if course.heard[at] else "", _most(course, at),
                      _signed(course.valence[at]), _signed(course.arousal[at]),
                      "" if level is None else f"{level:.0f} dB")  # fmt: skip
    return table


def _line(course: Course, newest: int) -> Text:
    highest = max((_spoken(course, at) for at in range(len(course.heard))), default=0.0) or 1.0
    line = Text()
    for at in range(max(0, len(course.heard) - newest), len(course.heard)):
        if not course.heard[at]:
            line.append(_GAP, style="bright_black")
        else:
            height = round((len(_BARS) - 1) * _spoken(course, at) / highest)
            line.append(_BARS[max(height, 1)], style=colour(_most(course, at)))
    return line


def _spoken(course: Course, at: int) -> float:
    return min(1.0, sum(held[at] for held in course.labels.values()))


def _most(course: Course, at: int = 0) -> str:
    """Return the label that held longest, besides quiet; empty where nobody spoke."""
    held = {label: shares[at] for label, shares in course.labels.items() if shares[at]}
    return max(held, key=held.__getitem__) if held else ""


def _listened(share: float, hours: float) -> str:
    """Return in words for what share of so many hours anybody listened: a small one in minutes."""
    if share >= _SMALL:
        return _percent(share)
    minutes = 60 * share * hours
    return "under 1 min" if 0 < minutes < 1 else f"{minutes:.0f} min"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
