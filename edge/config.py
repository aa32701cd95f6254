"""The sensor's settings: the `edge` key of config.yaml."""

import os
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from edge.addresses import Host, Hosts, Listens, Model, Port, Store, Topic, require_two, store_in
from edge.credentials import beside
from edge.errors import ConfigError
from edge.section import File, Line, Ratio, Secret, Section, load_section, looked_at, written

Identifier = Annotated[str, written("[a-z0-9-]{1,64}", "a-z, 0-9 and - only (at most 64 of them)")]
Decibels = Annotated[float, msgspec.Meta(gt=0, le=100)]
Clock = Annotated[str, written(r"([01][0-9]|2[0-3]):[0-5][0-9]", 'hours and minutes such as "07:00"')]
Days = Annotated[int, msgspec.Meta(ge=2, le=36_500)]  # of two, for a timeline may bring a day
PASSWORD = "{password}"
NO_DEVICES = {"history": "a recorder answers", "models": "models are published"}  # their topics are taken
LogLevel = Literal["debug", "info", "warning", "error"]


class Device(Section, kw_only=True):
    """Which sensor this is: `id` stands in every topic, `name` is for people."""

    id: Identifier = "room"
    name: Line = "Room"

    def __post_init__(self) -> None:
        if said := NO_DEVICES.get(self.id):
            raise ValueError(f"expected another id: on roomtone/{self.id}/ {said} (deploy/contract.md)")


class Pcm(Section, kw_only=True):
    """How a command's samples stand in what it writes, where no header says so."""

    rate_hz: Annotated[int, msgspec.Meta(ge=4_000, le=768_000)] = 16_000
    channels: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    format: Literal["s16le", "s16be", "s24le", "s32le", "f32le"] = "s16le"


class Audio(Section, kw_only=True):
    """Where sound comes from: `microphone` is part of a device's name or an ALSA card id; None is the default one.

    Or `command`, a program with its arguments that writes sound to its standard output, as `pcm` or with a header.
    `command_input` is what it finds on its standard input. `{password}` in either is what `password_file` holds.
    After `give_up_after_s` without sound `run` ends with status 69, for its supervisor to start it afresh.
    """

    microphone: Line | None = None
    command: tuple[Line, ...] | None = None
    command_input: Annotated[str, written(r"[^\x00]{1,4000}", "a text of at most 4,000 letters")] | None = None
    password_file: Secret | None = None
    pcm: Pcm = Pcm()
    give_up_after_s: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] = 600.0

    def __post_init__(self) -> None:
        if self.command is None:
            if self.command_input is not None or self.password_file is not None:
                raise ValueError("expected command beside command_input and password_file, which are for it")
            return
        if not self.command or not self.command[0].strip():
            raise ValueError("expected a program in command, and its arguments, such as [arecord, -t, raw]")
        if self.microphone is not None:
            raise ValueError("expected either microphone or command: one of them is null")
        wanted = any(PASSWORD in text for text in (*self.command, self.command_input or ""))
        if wanted and self.password_file is None:
            raise ValueError(f"expected password_file, a file with what {PASSWORD} stands for")
        if self.password_file is not None and not wanted:
            raise ValueError(f"expected {PASSWORD} in command or command_input, where the password is to stand")


class Gate(Section, kw_only=True):
    """What counts as speech: see edge/hearing/gate.py."""

    margin_db: Decibels = 6.0
    floor_window_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 20.0
    speech_probability: Ratio = 0.7
    doubtful_probability: Ratio = 0.4
    strong_margin_db: Decibels = 10.0
    certain_probability: Ratio = 0.8
    certain_ms: Annotated[int, msgspec.Meta(ge=0, le=5_000)] = 320
    pre_roll_ms: Annotated[int, msgspec.Meta(ge=0, le=2_000)] = 800
    hang_over_ms: Annotated[int, msgspec.Meta(ge=80, le=5_000)] = 640


class Decision(Section, kw_only=True):
    """Overrides of the artifact's decision settings; what is None comes from the artifact."""

    smoothing_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] | None = None
    enter: Ratio | None = None
    exit: Ratio | None = None
    dwell_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    unknown_after_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    first_within_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    refractory_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] | None = None
    mood_enter: Ratio | None = None
    arousal_enter: Ratio | None = None

    def __post_init__(self) -> None:
        if None not in (self.enter, self.exit) and self.exit > self.enter:
            raise ValueError("expected exit at most as high as enter")


class Tls(Section, kw_only=True):
    """TLS towards the broker: files in PEM. `ca_file` None trusts the system's authorities."""

    ca_file: Secret | None = None
    cert_file: Secret | None = None
    key_file: Secret | None = None

    def __post_init__(self) -> None:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("expected cert_file beside key_file")


class Mqtt(Section, kw_only=True):
    """The broker. `host: embedded` starts a mosquitto of our own on loopback. Secrets come from `password_file`.

    Of two hosts the second is used where the first is away; all else is the same for both.
    """

    host: Host | Hosts = "embedded"
    port: Port | None = None
    username: Line | None = None
    password_file: Secret | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3_600)] = 30
    websockets_port: Port = 8080

    def __post_init__(self) -> None:
        require_two(self.host)


class OutboxLimits(Section, kw_only=True):
    """How many undelivered events are kept on disk, and how many bytes of them; beyond, the oldest are dropped."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 50_000
    bytes: Annotated[int, msgspec.Meta(ge=1_000, le=1_000_000_000_000)] = 20_000_000


class ModelStore(Section, kw_only=True):
    """Which models `roomtone model install` and the sensor accept: see edge/model/store.py.

    And whether it takes those that are published to its `ring` on the broker: see edge/updates.
    """

    trusted_keys: tuple[File, ...] = ()
    allow_unsigned: bool = False
    allow_older: bool = False
    updates: Literal["never", "ask", "auto"] = "never"
    ring: Identifier = "house"

    def __post_init__(self) -> None:
        if self.updates != "never" and not self.trusted_keys:
            raise ValueError(f"expected trusted_keys beside updates: {self.updates}: only what they signed is taken")


class History(Section, kw_only=True):
    """What `roomtone history record` keeps, and where: a file or a postgresql:// address; None: in the state folder.

    `password_file` holds a database's password. After so many days events, minutes and hours are deleted. `metrics`:
    HOST:PORT where Prometheus finds how every sensor is; None: nowhere.
    """

    store: Store | None = None
    password_file: Secret | None = None
    events_days: Days = 90
    minutes_days: Days = 400
    hours_days: Days = 1_100
    metrics: Listens | None = None


class HomeAssistant(Section, kw_only=True):
    """Whether the sensor announces itself to Home Assistant, and under which discovery prefix."""

    enabled: bool = True
    prefix: Topic = "homeassistant"


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name. Raises ValueError in words for one that this machine does not know."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        none = "this machine has none but UTC: install tzdata (Debian: `sudo apt install tzdata`)"
        hint = "expected e.g. Europe/Berlin" if available_timezones() else none
        raise ValueError(f"unknown time zone {name!r} ({hint})") from error


class QuietHours(Section, kw_only=True):
    """From `start` to `end` (HH:MM; over midnight where `end` is the earlier one) in `time_zone` (IANA name)."""

    start: Clock
    end: Clock
    time_zone: Annotated[Line, looked_at(lambda name: zone_of(name) and name)] = "UTC"

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError(
                f"start and end are both {self.start}, which says neither never nor always: write quiet_hours: null "
                "for none, or switch listening off"
            )

    def zone(self) -> tzinfo:
        """Return the time zone. Raises ConfigError, from `quiet_hours` on, for one that this machine does not know."""
        try:
            return zone_of(self.time_zone)
        except ValueError as error:
            raise ConfigError(f"quiet_hours.time_zone: {error}") from error


class EdgeConfig(Section, kw_only=True):
    """The sensor's settings: the `edge` key of config.yaml."""

    device: Device = Device()
    audio: Audio = Audio()
    gate: Gate = Gate()
    decision: Decision = Decision()
    mqtt: Mqtt = Mqtt()
    homeassistant: HomeAssistant = HomeAssistant()
    outbox: OutboxLimits = OutboxLimits()
    history: History = History()
    state_folder: File | None = None
    model: Model | None = None
    model_store: ModelStore = ModelStore()
    quiet_hours: QuietHours | None = None
    sensitivity: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50
    state_interval_s: Annotated[float, msgspec.Meta(ge=1, le=60)] = 30.0
    health_interval_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 60.0
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        if self.model is not None and self.model_store.updates != "never":
            raise ValueError("expected model: null beside model_store.updates: a model that is named stays")


def load_edge(path: str | Path | None) -> EdgeConfig:
    """Return the `edge` section of the file (defaults where `path` is None), the environment's settings over it.

    Relative paths in it are meant from the file's folder, wherever the program is run. Raises ConfigError.
    """
    folder = os.getcwd() if path is None else os.path.dirname(os.path.abspath(path))
    places = {"file": os.path.join, "secret": beside, "store": store_in}
    return load_section(path, "edge", EdgeConfig, place=lambda name, of: places[of](folder, name), environ=os.environ)
