"""The contract as JSON Schema, from the payload types themselves: `python -m edge.voice.contract` writes the files."""

import json
from pathlib import Path

import msgspec

from edge.voice.history import HistoryAnswer, HistoryGet
from edge.voice.models import Install, Model
from edge.voice.payloads import Event, Health, Link, Recent, Settings, SettingsCommand, State, Switch, Timeline
from edge.voice.teaching import Forget, Lessons, Teach

FOLDER = Path(__file__).parent / "schemas"

# status, listening, its command and the recorder's status are bare words on the wire: their schemas describe them as
# JSON strings.
PAYLOADS = {
    "status": Link,
    "state": State,
    "event": Event,
    "timeline": Timeline,
    "recent": Recent,
    "health": Health,
    "listening": Switch,
    "settings": Settings,
    "lessons": Lessons,
    "model": Model,
}
HISTORY = {"history/recorder": Link, "history/get": HistoryGet, "history/answer": HistoryAnswer}  # of a recorder
# What the sensor takes.
COMMANDS = {
    "listening/set": Switch,
    "settings/set": SettingsCommand,
    "teach": Teach,
    "forget": Forget,
    "model/install": Install,
}


def documents() -> dict[str, str]:
    """Return the text of every schema, by file name."""
    topics = {f"<device>/{name}": kind for name, kind in (PAYLOADS | COMMANDS).items()} | HISTORY
    return {f"{topic.removeprefix('<device>/').replace('/', '-')}.json": _document(topic, kind)
            for topic, kind in topics.items()}  # fmt: skip


def _document(topic: str, kind: type) -> str:
    schema = msgspec.json.schema(kind)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"roomtone/{topic}"}
    return json.dumps({**head, **schema}, indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)
