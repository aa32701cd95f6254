"""What `roomtone watch` knows of each sensor, and how it looks in a terminal."""

from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge.labels import QUIET, UNKNOWN
from edge.voice.microphone import NO_PROBLEM, ON_PURPOSE
from edge.voice.payloads import Event, Health, State, decoded

MOST_ROOMS = 2_000
_AROUND = 4  # lines of a table besides its rows
_STALE_S = 90.0  # three times the interval in which a healthy sensor speaks
_COLOURS = {
    "angry": "red",
    "disgust": "green",
    "fear": "magenta",
    "happy": "yellow",
    "neutral": "white",
    "sad": "blue",
    "surprise": "cyan",
    UNKNOWN: "bright_black",
    QUIET: "bright_black",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What came from the broker, on `roomtone/<device>/<kind>`."""

    device: str
    kind: str
    payload: bytes
    retained: bool


@dataclass(slots=True)
class Room:
    """What is known of one sensor."""

    status: str | None = None
    listening: str | None = None
    state: State | None = None
    health: Health | None = None
    late: set[str] = field(default_factory=set)


class Rooms:
    """All sensors heard of. Messages that make no sense are counted in `ignored`."""

    def __init__(self) -> None:
        self.by_device: dict[str, Room] = {}
        self.ignored = 0

    def hear(self, message: Message) -> None:
        """Take a message."""
        try:
            value = _decode(message.kind, message.payload)
        except ValueError:
            self.ignored += 1
            return
        if message.device not in self.by_device and len(self.by_device) >= MOST_ROOMS:
            self.ignored += 1
            return
        room = self.by_device.setdefault(message.device, Room())
        if isinstance(value, Event):
            if value.late and len(room.late) < 10**6:
                room.late.add(value.event_id)
        else:
            setattr(room, message.kind, value)

    def line(self, device: str) -> str | None:
        """Return what is known of one sensor as plain text; None of one of which nothing made sense."""
        if (room := self.by_device.get(device)) is None:
            return None
        heard = f"{_plain(room.state.emotion)} {room.state.confidence:.0%}" if room.state else "-"
        return f"{device}  {_unheard(room) or heard}  microphone {_microphone(room)}  {room.status or '-'}"

    def fault(self, device: str) -> str | None:
        """Return in a line what is wrong with a sensor's microphone, as far as it told; None where nothing is."""
        room = self.by_device.get(device)
        if room is None or _unheard(room) != "deaf" or room.health is None:
            return None
        told = room.health.microphone
        return f"{device}: {_plain(told.detail)}" if told.state == room.state.microphone and told.detail else None

    def table(self, now: float, most_lines: int | None = None) -> Group:
        """Return a row per sensor, as of Unix time `now`, and below them what is wrong with whose microphone.

        Where that is more than so many lines, those that need a look come first, then those where somebody speaks, as
        many as have room; the last line counts the others.
        """
        shown, rest = self._fitting(now, most_lines)
        table = Table(expand=False)
        for column in ("sensor", "emotion"):
            table.add_column(column, no_wrap=True)
        table.add_column("confidence", min_width=17, no_wrap=True)
        table.add_column("microphone", no_wrap=True)
        table.add_column("age", justify="right", no_wrap=True)
        table.add_column("late", justify="right", no_wrap=True)
        for device in shown:
            room = self.by_device[device]
            table.add_row(Text(device), *_cells(room, now), Text(str(len(room.late)) if room.late else "-"))
        faults = (Text(told) for device in shown if (told := self.fault(device)))
        return Group(table, *faults, *([Text(rest)] if rest else []))

    def _fitting(self, now: float, most_lines: int | None) -> tuple[list[str], str]:
        """Return the sensors that are shown in so many lines, and in words how many are not."""
        everyone = sorted(self.by_device)
        lines = {device: 1 + (self.fault(device) is not None) for device in everyone}
        if most_lines is None or _AROUND + sum(lines.values()) <= most_lines:
            return everyone, ""
        urgency = {device: _urgency(room, now) for device, room in self.by_device.items()}
        everyone.sort(key=urgency.get)  # and by their names
        left, shown = max(1, most_lines - _AROUND - 1), []
        for device in everyone:
            left -= lines[device]
            if left < 0 and shown:
                break
            shown.append(device)
        troubled = sum(each == 0 for each in urgency.values())
        need = f"{troubled} of all {'needs' if troubled == 1 else 'need'} a look; " if troubled else ""
        hidden = len(everyone) - len(shown)
        return shown, f"and {hidden} more; {need}--once lists all, --json tells all that is said"


def colour(label: str) -> str:
    """Return the colour of a label in a terminal."""
    return _COLOURS.get(label, "white")


def _decode(kind: str, payload: bytes) -> object:
    if kind == "state":
        return decoded(payload, State) if payload else None
    if kind == "health":
        return decoded(payload, Health) if payload else None
    if kind == "event":
        return decoded(payload, Event)
    word = payload.decode()
    if word not in ("", "online", "offline", "ON", "OFF"):
        raise ValueError(word)
    return word or None


def _cells(room: Room, now: float) -> list[Text | ProgressBar | Table]:
    state, microphone = room.state, _microphone(room)
    fine = str(microphone) in (*NO_PROBLEM, "-")
    ear = Text(microphone, style="" if fine else "red")
    if state is None:
        return [Text(room.status or "-"), Text("-"), ear, Text("-")]
    age_s = max(0.0, now - _unix_s(state.ts))
    stale = age_s > _STALE_S
    age = Text(_age(age_s), style="red" if stale or room.status == "offline" else "")
    if (word := _unheard(room)) is not None:
        return [Text(word, style="dim"), Text("-"), ear, age]
    label = _plain(state.emotion)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1.0, completed=min(1.0, max(0.0, state.confidence)), width=10),
        Text(f"{state.confidence:4.0%}"),
    )
    return [Text(label, style="dim" if stale else f"bold {colour(label)}"), bar, ear, age]


def _urgency(room: Room, now: float) -> int:
    """Return 0 for a sensor that needs a look, 1 where somebody speaks, 2 for the others."""
    why = _unheard(room)
    if why in ("offline", "deaf") or (room.state is not None and now - _unix_s(room.state.ts) > _STALE_S):
        return 0
    return 2 if why is not None or room.state is None or room.state.emotion == QUIET else 1


def _unheard(room: Room) -> str | None:
    """Return a word for why nothing is heard now; None where something is, or that is not known."""
    if room.status == "offline":
        return "offline"
    ear = room.state.microphone if room.state is not None else "ok"
    if room.listening == "OFF" or ear in ON_PURPOSE:
        return "off"
    return "deaf" if ear not in NO_PROBLEM else None


def _microphone(room: Room) -> str:
    if room.listening == "OFF":
        return "off"
    return _plain(room.state.microphone if room.state else room.health.microphone.state if room.health else "-")


def _age(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def _unix_s(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _plain(text: str) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:400])
