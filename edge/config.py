"""The sensor's settings: the `edge` key of config.yaml."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from edge.errors import ConfigError
from edge.section import Positive, Ratio, Section, load_section

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Identifier = Annotated[
    str, msgspec.Meta(pattern="^[a-z0-9-]{1,64}$", description="a-z, 0-9 and - only (at most 64 of them)")
]
Decibels = Annotated[float, msgspec.Meta(gt=0, le=100)]
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Device(Section, kw_only=True):
    """Which sensor this is: `id` stands in every topic, `name` is for people."""

    id: Identifier = "room"
    name: str = "Room"


class Audio(Section, kw_only=True):
    """Where sound comes from: `microphone` is part of a device's name or an ALSA card id; None is the default one.

    After `give_up_after_s` without sound `run` ends with status 69, for its supervisor to start it afresh.
    """

    microphone: str | None = None
    give_up_after_s: Positive = 600.0


class Gate(Section, kw_only=True):
    """What counts as speech: see edge/hearing/gate.py."""

    margin_db: Decibels = 6.0
    floor_window_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 20.0
    speech_probability: Ratio = 0.8
    doubtful_probability: Ratio = 0.5
    strong_margin_db: Decibels = 10.0
    certain_probability: Ratio = 0.9
    certain_ms: Annotated[int, msgspec.Meta(ge=0, le=5_000)] = 480
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

    def __post_init__(self) -> None:
        if None not in (self.enter, self.exit) and self.exit > self.enter:
            raise ValueError("expected exit at most as high as enter")


class Tls(Section, kw_only=True):
    """TLS towards the broker: files in PEM. `ca_file` None trusts the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class Mqtt(Section, kw_only=True):
    """The broker. `host: embedded` starts a mosquitto of our own on loopback. Secrets come from `password_file`."""

    host: str = "embedded"
    port: Port | None = None
    username: str | None = None
    password_file: str | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3_600)] = 30
    websockets_port: Port = 8080


class OutboxLimits(Section, kw_only=True):
    """How many undelivered events are kept on disk, and how many bytes of them; beyond, the oldest are dropped."""

    rows: Annotated[int, msgspec.Meta(ge=1)] = 50_000
    bytes: Annotated[int, msgspec.Meta(ge=1_000)] = 20_000_000


class ModelStore(Section, kw_only=True):
    """Which models `roomtone model install` and the sensor accept: see edge/model/store.py."""

    trusted_keys: tuple[str, ...] = ()
    allow_unsigned: bool = False
    allow_older: bool = False


class HomeAssistant(Section, kw_only=True):
    """Whether the sensor announces itself to Home Assistant, and under which discovery prefix."""

    enabled: bool = True
    prefix: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_/-]{1,64}$", description="a topic without wildcards")] = (
        "homeassistant"
    )


class QuietHours(Section, kw_only=True):
    """From `start` to `end` (HH:MM; over midnight where `end` is the earlier one) in `time_zone` (IANA name)."""

    start: Clock
    end: Clock
    time_zone: str = "UTC"

    def zone(self) -> ZoneInfo:
        """Return the time zone. Raises ConfigError for one that this machine does not know."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"edge.quiet_hours.time_zone: unknown time zone {self.time_zone!r} (expected e.g. Europe/Berlin)"
            ) from error


class EdgeConfig(Section, kw_only=True):
    """The sensor's settings: the `edge` key of config.yaml."""

    device: Device = Device()
    audio: Audio = Audio()
    gate: Gate = Gate()
    decision: Decision = Decision()
    mqtt: Mqtt = Mqtt()
    homeassistant: HomeAssistant = HomeAssistant()
    outbox: OutboxLimits = OutboxLimits()
    state_folder: str | None = None
    model: str | None = None
    model_store: ModelStore = ModelStore()
    quiet_hours: QuietHours | None = None
    health_interval_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 60.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load_edge(path: str | Path | None) -> EdgeConfig:
    """Return the `edge` section of the file (defaults where `path` is None). Raises ConfigError."""
    if path is None:
        return EdgeConfig()
    config = load_section(path, "edge", EdgeConfig)
    try:
        if config.quiet_hours is not None:
            config.quiet_hours.zone()  # knows whether there is such a time zone
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config
