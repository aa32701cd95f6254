"""What `roomtone watch` knows of each sensor, and how it looks in a terminal."""

from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge.labels import QUIET, UNKNOWN
from edge.voice.payloads import NO_PROBLEM, ON_PURPOSE, Event, Health, State

MOST_ROOMS = 500
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
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
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
        if _off(room):
            heard = "off"
        return f"{device}  {heard}  microphone {_microphone(room)}  {room.status or '-'}"

    def table(self, now: float) -> Table:
        """Return a row per sensor, as of Unix time `now`."""
        table = Table(expand=False)
        for column in ("sensor", "emotion"):
            table.add_column(column, no_wrap=True)
        table.add_column("confidence", min_width=17, no_wrap=True)
        table.add_column("microphone", overflow="fold")
        table.add_column("age", justify="right", no_wrap=True)
        table.add_column("late events", justify="right", no_wrap=True)
        for device, room in sorted(self.by_device.items()):
            table.add_row(Text(device), *_cells(room, now), Text(str(len(room.late)) if room.late else "-"))
        return table


def colour(label: str) -> str:
    """Return the colour of a label in a terminal."""
    return _COLOURS.get(label, "white")


def _decode(kind: str, payload: bytes) -> object:
    if kind == "state":
        return msgspec.json.decode(payload, type=State) if payload else None
    if kind == "health":
        return msgspec.json.decode(payload, type=Health) if payload else None
    if kind == "event":
        return msgspec.json.decode(payload, type=Event)
    word = payload.decode()
    if word not in ("", "online", "offline", "ON", "OFF"):
        raise ValueError(word)
    return word or None


def _cells(room: Room, now: float) -> list[Text | ProgressBar | Table]:
    state = room.state
    if state is None:
        return [Text(room.status or "-"), Text("-"), _microphone(room), Text("-")]
    age_s = max(0.0, now - _unix_s(state.ts))
    gone = room.status == "offline" or age_s > _STALE_S
    if _off(room) and not gone:
        return [Text("off", style="dim"), Text("-"), _microphone(room), Text(_age(age_s))]
    label = _plain(state.emotion)
    emotion = Text(label, style="dim" if gone else f"bold {colour(label)}")
    if room.status == "offline":
        emotion.append(" (offline)")
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1.0, completed=min(1.0, max(0.0, state.confidence)), width=10),
        Text(f"{state.confidence:4.0%}"),
    )
    return [emotion, bar, _microphone(room), Text(_age(age_s), style="red" if gone else "")]


def _off(room: Room) -> bool:
    """Whether it does not listen on purpose."""
    silenced = room.state is not None and room.state.microphone in ON_PURPOSE
    return room.listening == "OFF" or silenced


def _microphone(room: Room) -> Text:
    if room.listening == "OFF":
        return Text("off")
    word = room.state.microphone if room.state else room.health.microphone.state if room.health else "-"
    if word in (*NO_PROBLEM, "-"):
        return Text(word)
    detail = room.health.microphone.detail if room.health and room.health.microphone.state == word else ""
    return Text(_plain(f"{word}: {detail}" if detail else word), style="red")


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
    return "".join(character if character.isprintable() else "?" for character in text[:200])
