"""What people set over MQTT, remembered on the sensor. It wins over the configuration until it is reset.

Kept in the state folder, written when it changes, as a whole; before the command is acknowledged. Where the folder has
lost it, it is what the broker has retained on `settings`.
"""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import UNSET

from edge.config import Device, EdgeConfig, QuietHours
from edge.daemon.quiet_hours import QuietClock
from edge.errors import ConfigError
from edge.files import write_atomically
from edge.voice.payloads import (
    MOST_NAME,
    SETTABLE,
    Calibration,
    Hours,
    Settings,
    SettingsAnswer,
    SettingsCommand,
    Wanted,
    rfc3339,
)

log = logging.getLogger("roomtone.settings")

MOST_BYTES = 4_096  # of a command, and of the file


class Kept(Wanted, kw_only=True):
    """The file's content."""

    calibration: Calibration = Calibration()


class Preferences:
    """The settings of one device, kept at `path` (None: in memory only). Thread-safe.

    others: the files of other devices. config: the configuration with what was set in its place.
    """

    def __init__(self, path: Path | None, config: EdgeConfig, others: Iterable[Path] = ()) -> None:
        self._path, self._own = path, config
        self._lock = threading.Lock()
        self.problem: str | None = None
        kept = _read(path) if path else None
        self._lost = kept is None  # or nothing was ever set
        self._kept = self._inherited(others) if kept is None else kept
        self._tidy()
        self.config = self._together()

    @property
    def kept(self) -> Kept:
        return self._kept

    @property
    def names(self) -> list[str]:
        """What was set."""
        return [name for name in SETTABLE if getattr(self._kept, name) is not UNSET]

    @property
    def quiet_clock(self) -> QuietClock:
        """The quiet hours that hold."""
        return QuietClock(self.config.quiet_hours, over_mqtt="quiet_hours" in self.names)

    @property
    def words(self) -> str:
        """What was set, beside what the configuration says; empty where nothing was."""
        return ", ".join(
            f"{name} {shown(getattr(self.config, name))} (the configuration: {shown(getattr(self._own, name))})"
            for name in self.names
        )

    def take(self, command: SettingsCommand) -> None:
        """Set and reset. When this returns, it is on disk, or `problem` says why not.

        Raises ConfigError for quiet hours that cannot be.
        """
        with self._lock:
            changed = {name: given for name in SETTABLE if (given := getattr(command, name)) is not UNSET}
            if isinstance(hours := changed.get("quiet_hours"), Hours):
                changed["quiet_hours"] = self._whole(hours)
            back = (*SETTABLE, "calibration") if command.reset is True else command.reset or ()
            before = {name: Calibration() if name == "calibration" else UNSET for name in back}
            self._lost = self._lost and not back  # what is reset does not come back
            self._set(msgspec.structs.replace(self._kept, **before | changed))

    def recall(self, told: Settings) -> bool:
        """The broker answered: it had this retained. Return whether anything of it holds again. Raises ConfigError for
        quiet hours that cannot be."""
        with self._lock:
            if not self._lost:
                return False
            lost = {name: getattr(told, name) for name in SETTABLE if name in told.set and name not in self.names}
            if isinstance(hours := lost.get("quiet_hours"), Hours):
                lost["quiet_hours"] = self._whole(hours)
            if told.calibration.floor_dbfs is not None and self._kept.calibration == Calibration():
                lost["calibration"] = msgspec.structs.replace(told.calibration, state="done")
            self._lost = False
            self._set(msgspec.structs.replace(self._kept, **lost))
            return bool(lost)

    def calibrated(self, calibration: Calibration) -> None:
        """Remember what the room is like."""
        with self._lock:
            self._set(msgspec.structs.replace(self._kept, calibration=calibration))

    def said(self, calibration: Calibration, answer: SettingsAnswer | None) -> Settings:
        """Return what is retained on `settings`, with how the last calibration went and the last command's answer."""
        names = self.names
        return Settings(
            ts=rfc3339(time.time()),
            **_of(self.config, SETTABLE),
            set=names,
            configured=Wanted(**_of(self._own, names)),
            calibration=calibration,
            problem=self.problem,
            answer=answer,
            name=self._name(),
        )

    def _name(self) -> str | None:
        """Return what people call the device; None where the configuration has but the usual name, alike of all."""
        name = self._own.device.name.strip()[:MOST_NAME]
        return None if name in ("", Device().name) else name

    def _whole(self, hours: Hours) -> Hours:
        """Return hours with their time zone. Raises ConfigError."""
        if hours.time_zone is UNSET:
            own = self._own.quiet_hours
            hours = msgspec.structs.replace(hours, time_zone=own.time_zone if own else "UTC")
        as_configured(hours).zone()
        return hours

    def _set(self, kept: Kept) -> None:
        if kept == self._kept and self.problem is None:
            return
        self._kept = kept
        self.config = self._together()
        self._write()

    def _together(self) -> EdgeConfig:
        chosen = {name: getattr(self._kept, name) for name in self.names}
        if isinstance(hours := chosen.get("quiet_hours"), Hours):
            chosen["quiet_hours"] = as_configured(hours)
        return msgspec.structs.replace(self._own, **chosen)

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._path, msgspec.json.encode(self._kept))
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror}: what is set is forgotten at a restart"
            log.error("%s", self.problem)
        else:
            self.problem = None

    def _tidy(self) -> None:
        """Take away what a power cut left of a file that was being written."""
        with suppress(OSError):
            for left in self._path.parent.glob(f".{self._path.name}.*") if self._path else ():
                left.unlink()

    def _inherited(self, others: Iterable[Path]) -> Kept:
        """Return what a device begins with: the quiet hours of the name it had before. Nobody means to be heard by a
        new one."""
        for path in sorted(others, key=_changed_ns, reverse=True):
            if isinstance(hours := (_read(path) or Kept()).quiet_hours, Hours):
                log.warning("%s: quiet hours were set under that name, and hold here, too, until they are reset", path)
                return Kept(quiet_hours=hours)
        return Kept()


def _read(path: Path) -> Kept | None:
    """Return what was kept; None where nothing is, or what makes no sense, which the log tells."""
    try:
        kept = msgspec.json.decode(path.read_bytes()[:MOST_BYTES], type=Kept)
        if isinstance(kept.quiet_hours, Hours):
            as_configured(kept.quiet_hours).zone()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ConfigError, msgspec.MsgspecError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"damaged ({error})"
        log.error("%s: %s: what was set over MQTT is lost here; what the broker has of it holds", path, why)
        return None
    return kept


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _of(config: EdgeConfig, names: Iterable[str]) -> dict[str, object]:
    """Return these settings of a configuration, as they are told."""
    told = {name: getattr(config, name) for name in names}
    if (hours := told.get("quiet_hours")) is not None:
        told["quiet_hours"] = Hours(start=hours.start, end=hours.end, time_zone=hours.time_zone)
    return told


def shown(value: object) -> str:
    """Return a setting's value in words."""
    if isinstance(value, QuietHours | Hours):
        return f"{value.start} to {value.end} {value.time_zone}"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def as_configured(hours: Hours) -> QuietHours:
    """Return hours as the configuration has them. Raises ConfigError."""
    try:
        zone = "UTC" if hours.time_zone is UNSET else hours.time_zone
        return QuietHours(start=hours.start, end=hours.end, time_zone=zone)
    except ValueError as error:
        raise ConfigError(f"quiet_hours: {error}") from error
