"""What roomtone says on MQTT: schema 1. Fields are only ever added.

Times are RFC 3339 in UTC with milliseconds; confidences and ratios are 0 to 1; levels are dB of full scale;
arousal and valence are -1 to 1 (edge/hearing/affect.py).
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from edge.voice.microphone import Ear, Microphone

ROOT = "roomtone"  # every topic is ROOT/<device>/...
SCHEMA = 1

# In JSON Schema's dialect of patterns `$` is the very end; in Python's a newline may follow, hence the rest.
Time = Annotated[
    str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$(?!\n)", description="RFC 3339, UTC")
]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Signed = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="an emotion, `unknown` or `quiet`")]
Mood = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=64, description="a group of emotions, `excited`, `calm`, `unknown` or `quiet`"
    ),
]
Count = Annotated[int, msgspec.Meta(ge=0)]
MOST_NAME = 64  # letters of a sensor's name
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)", description="HH:MM")]
LogLevel = Literal["debug", "info", "warning", "error"]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """A message; `schema` tells its version."""

    schema: int = SCHEMA


class State(Payload, kw_only=True):
    """The room now (retained)."""

    ts: Time
    emotion: Label
    confidence: Ratio
    mood: Mood | None = None
    mood_confidence: Ratio | None = None
    since: Time
    scores: dict[str, Ratio]
    arousal: Signed | None = None
    valence: Signed | None = None
    speech_ratio: Ratio
    snr_db: float | None
    level_dbfs: float
    clipped_ratio: Ratio
    microphone: Ear
    model: str
    seq: Count


class Event(Payload, kw_only=True):
    """A change of the label: from `previous` to `event_type`."""

    event_id: str
    event_type: Label
    ts: Time
    previous: Label
    confidence: Ratio
    mood: Mood | None = None
    mood_confidence: Ratio | None = None
    previous_duration_ms: Count
    arousal: Signed | None = None
    valence: Signed | None = None
    speech_ratio: Ratio | None = None
    snr_db: float | None = None
    level_dbfs: float | None = None
    bandwidth_hz: Count | None = None
    late: bool = False
    seq: Count
    model: str


HEARD = ("arousal", "valence", "speech_ratio", "snr_db", "level_dbfs", "bandwidth_hz")  # of an event: how well


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of the last minute, in milliseconds; None where nothing was measured."""

    p50: float | None = None
    p99: float | None = None
    worst: float | None = None


class BrokerLink(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong between the sensor and the broker, and what was last (and when it was noticed); with TLS, when the
    broker's certificate ends, and the sensor's own. The broker that is used, and why it is the second of two."""

    problem: str | None = None
    last_problem: str | None = None
    last_problem_ts: Time | None = None
    certificate_ends: Time | None = None
    own_certificate_ends: Time | None = None
    address: str | None = None
    away: str | None = None


class Health(Payload, kw_only=True):
    """How the sensor itself is (retained, every minute, and when the microphone's or the broker's state changes)."""

    ts: Time
    version: str
    uptime_s: float
    cpu_ratio: float
    rss_mb: float
    temperature_c: float | None
    realtime_factor: float
    dropped_blocks: Count
    inference_ms: Percentiles
    latency_ms: Percentiles
    outbox_depth: Count
    reconnects: Count
    microphone: Microphone
    outbox_dropped: Count = 0
    outbox_problem: str | None = None
    ignored_commands: Count = 0
    broker: BrokerLink = BrokerLink()
    bandwidth_hz: Count | None = None
    room_utterances: Count | None = None
    loudest_minute_db: Count | None = None


class Timeline(Payload, kw_only=True):
    """The last 24 hours as runs `[start, label, confidence]`, oldest first (retained)."""

    ts: Time
    runs: Annotated[list[tuple[Time, Label, Ratio]], msgspec.Meta(max_length=1_440)]


class Recent(Timeline, kw_only=True):
    """What came since the last `timeline`, and the minute before (retained; only of a day of many runs)."""


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours without listening, from `start` to `end`; without `time_zone`, in that of the configuration, else UTC."""

    start: Clock
    end: Clock
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | msgspec.UnsetType = msgspec.UNSET


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that somebody set; the configuration has the others."""

    sensitivity: Annotated[int, msgspec.Meta(ge=0, le=100)] | msgspec.UnsetType = msgspec.UNSET
    quiet_hours: Hours | msgspec.UnsetType | None = msgspec.UNSET
    state_interval_s: Annotated[float, msgspec.Meta(ge=1, le=60)] | msgspec.UnsetType = msgspec.UNSET
    log_level: LogLevel | msgspec.UnsetType = msgspec.UNSET


SETTABLE = Wanted.__struct_fields__
Settable = Literal["sensitivity", "quiet_hours", "state_interval_s", "log_level", "calibration"]


class SettingsCommand(Wanted, kw_only=True):
    """What `settings/set` takes: settings; what to give back to the configuration; and whether to calibrate."""

    reset: bool | Annotated[list[Settable], msgspec.Meta(max_length=8)] = False
    calibrate: bool = False


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is `running`, `done`, or why it failed. `floor_dbfs`: the room's noise; `restless_db`: how far it rises
    by itself. Both are of the last calibration that was done."""

    state: Literal["none", "running", "done", "spoken", "interrupted"] = "none"
    ts: Time | None = None
    floor_dbfs: Annotated[float, msgspec.Meta(ge=-120, le=0)] | None = None
    restless_db: Annotated[float, msgspec.Meta(ge=0, le=30)] | None = None


class SettingsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the last command: `done`, or not, and why."""

    done: bool
    reason: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    ts: Time


class Settings(Payload, kw_only=True):
    """What holds now (retained). `set` names what was set over MQTT; the others are the configuration's. `configured`:
    what that has instead of each that was set. `name`: what people call the sensor; None where they gave it none."""

    ts: Time
    sensitivity: Annotated[int, msgspec.Meta(ge=0, le=100)]
    quiet_hours: Hours | None
    state_interval_s: float
    log_level: LogLevel
    set: list[str]
    configured: Wanted = Wanted()
    calibration: Calibration = Calibration()
    problem: str | None = None
    answer: SettingsAnswer | None = None
    name: Annotated[str, msgspec.Meta(max_length=MOST_NAME)] | None = None


Link = Literal["online", "offline"]
Switch = Literal["ON", "OFF"]


P = TypeVar("P")


def decoded(payload: bytes, kind: type[P]) -> P:
    """Return a message as what it is. Raises ValueError, in words, where it makes no sense, whoever made it."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("nested too deeply") from None


def rfc3339(unix_s: float) -> str:
    """Return Unix seconds as `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_s(text: str) -> float:
    """Return RFC 3339 as Unix seconds. Raises ValueError for what it is not, or what has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
