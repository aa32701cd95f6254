"""What each sensor said last of itself, for metrics. Who says it need not be one of ours."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import msgspec

from edge.errors import printable
from edge.voice.payloads import Health, Time, decoded, unix_s

KINDS = ("status", "listening", "state", "health")
MOST_DEVICES = 5_000
_WORDS = {"status": {b"online": True, b"offline": False}, "listening": {b"ON": True, b"OFF": False}}
_REASON = re.compile(r"[a-z0-9-]{1,32}")  # how codes of a microphone's state are written
_MOST_REASONS = 16  # of one microphone, besides `other`
_LONGEST_NAME = 64  # of a version or a model
_LARGEST = 1e15
_GONE_S = 300.0  # after a connection, when all that is retained and every sensor that lives was heard


class _State(msgspec.Struct, frozen=True):
    """What is taken of a state: nothing of what was heard."""

    ts: Time
    microphone: str
    model: str


@dataclass(frozen=True, slots=True)
class Sensor:
    """What is known of one; None: nothing was said of it.

    microphone: its state, as a reason code. seen: all that it was in since the recorder's start, and `ok`. figures: of
    health, by the names of its fields (`inference_ms.p50`), times as Unix seconds, a problem as 1 and none as 0.
    last_s: when it said something last, Unix time. ahead_s: by how much its clock is ahead of the recorder's.
    heard_s: when anything was heard of it, seconds of a monotonic clock.
    """

    online: bool | None = None
    listening: bool | None = None
    microphone: str | None = None
    seen: tuple[str, ...] = ("ok",)
    version: str | None = None
    model: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    last_s: float | None = None
    ahead_s: float | None = None
    heard_s: float = 0.0

    @property
    def unknown(self) -> bool:
        """Whether the broker has nothing retained of it."""
        return (self.online, self.listening, self.model, self.version) == (None, None, None, None)


class Sensors:
    """All sensors that the broker knows, so many at most. ignored: messages that made no sense, or were of too many.

    May be asked from any thread.
    """

    def __init__(self) -> None:
        self.ignored = 0
        self._known: dict[str, Sensor] = {}
        self._connected_s = time.monotonic()
        self._lock = threading.Lock()

    def connected(self) -> None:
        """Begin anew: what the broker tells of on this connection is what there is."""
        self._connected_s = time.monotonic()

    def hear(self, device: str, kind: str, payload: bytes, *, retained: bool) -> None:
        """Take a message on one of a device's topics; an empty one takes what was retained there off the broker."""
        now_s = time.time()
        with self._lock:
            before = self._known.get(device)
            try:
                if before is None and (not payload or len(self._known) >= MOST_DEVICES):
                    self.ignored += bool(payload)
                    return
                found = _heard(before or Sensor(), kind, payload, now_s=now_s, retained=retained)
            except (ValueError, OverflowError):
                self.ignored += 1
                return
            if found.unknown:
                self._known.pop(device, None)
            else:
                self._known[device] = replace(found, heard_s=time.monotonic())

    def each(self) -> dict[str, Sensor]:
        """Return every sensor that the broker knows of, by its device's id."""
        with self._lock:
            if time.monotonic() - self._connected_s > _GONE_S:
                # Taken off the broker while we were away.
                self._known = {name: sensor for name, sensor in self._known.items()
                               if sensor.heard_s >= self._connected_s}  # fmt: skip
            return dict(self._known)


def _heard(sensor: Sensor, kind: str, payload: bytes, *, now_s: float, retained: bool) -> Sensor:
    """Return what is known of a sensor after a message. Raises ValueError or OverflowError for one without sense."""
    if kind in _WORDS:
        if payload and payload not in _WORDS[kind]:
            raise ValueError(payload)
        word = _WORDS[kind].get(payload)
        spoke = not retained and payload not in (b"", b"offline")  # which the broker says for it
        name = "online" if kind == "status" else kind
        return replace(sensor, **{name: word}, last_s=now_s if spoke else sensor.last_s)
    if kind == "state":
        state = decoded(payload, _State) if payload else None
        sensor = replace(sensor, model=_name(state.model) if state else None)
        return _said(sensor, state.ts, state.microphone, now_s=now_s, retained=retained) if state else sensor
    if kind == "health":
        if not payload:
            return replace(sensor, version=None, figures={})
        health = decoded(payload, Health)
        sensor = replace(sensor, version=_name(health.version), figures=dict(_figures(health)))
        return _said(sensor, health.ts, health.microphone.state, now_s=now_s, retained=retained)
    return replace(sensor, last_s=sensor.last_s if retained or not payload else now_s)


def _said(sensor: Sensor, ts: str, microphone: str, *, now_s: float, retained: bool) -> Sensor:
    reason = microphone if _REASON.fullmatch(microphone) else "other"
    if reason not in sensor.seen and len(sensor.seen) >= _MOST_REASONS:
        reason = "other"
    seen = sensor.seen if reason in sensor.seen else (*sensor.seen, reason)
    at_s = unix_s(ts)
    if retained:  # it was said at some time before, by the sensor's own clock
        last_s, ahead_s = max(sensor.last_s or 0.0, min(at_s, now_s)), sensor.ahead_s
    else:
        last_s, ahead_s = now_s, at_s - now_s
    return replace(sensor, microphone=reason, seen=seen, last_s=last_s, ahead_s=ahead_s)


def _figures(part: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield what of a message is a number, and what is none of it said in numbers."""
    for name, value in msgspec.structs.asdict(part).items():
        if isinstance(value, msgspec.Struct):
            yield from _figures(value, f"{prefix}{name}.")
        elif name in ("problem", "outbox_problem"):
            yield prefix + name, float(value is not None)
        elif isinstance(value, str) and name.endswith(("_ts", "_ends")):
            yield prefix + name, unix_s(value)
        elif isinstance(value, int | float) and name != "schema":
            if not abs(value) <= _LARGEST:
                raise ValueError(f"{prefix}{name}: too large")
            yield prefix + name, float(value)


def _name(text: str) -> str:
    return printable(text[:_LONGEST_NAME])
