"""The switch: whether people want the sensor to listen. What they last said holds over restarts and power cuts.

It is kept in the state folder and, retained, on the broker, each with the time at which it was switched. Either may be
missing or old: the later one counts, and where that cannot be told, OFF. A sensor that got another name finds no switch
of its own; what was last said of those that had its state folder before holds for it where it was OFF.
"""

import logging
import threading
import time
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import msgspec

from edge.delivery.packets import Word
from edge.files import write_atomically
from edge.voice.payloads import Switch as Position
from edge.voice.payloads import Time, rfc3339, unix_s

log = logging.getLogger("roomtone.switch")

KEPT_AS = "listening"
_RETRY_S = 10.0  # of what could not be written
_LEAST_LATER_S = 0.001  # as fine as times are told


class Setting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """ON or OFF, and when that was switched; None: never, or nobody knows when. broker: through which of two."""

    listening: Position
    ts: Time | None = None
    broker: str | None = None

    @property
    def on(self) -> bool:
        return self.listening == "ON"

    def word(self) -> Word:
        """Return what is retained on `listening`."""
        return Word(word=self.listening.encode(), ts=self.ts)


def setting_of(retained: Word | None) -> Setting | None:
    """Return what a broker had retained; None where it had nothing that makes sense."""
    try:
        return msgspec.convert({"listening": retained.word.decode(), "ts": _time(retained.ts)}, Setting)
    except (AttributeError, UnicodeDecodeError, msgspec.ValidationError):
        return None


def later(one: Setting, other: Setting) -> Setting:
    """Return the one that was switched later; where that cannot be told of two that differ, OFF."""
    if one.ts is not None and other.ts is not None and one.ts != other.ts:
        return max(one, other, key=lambda setting: unix_s(setting.ts))
    if one.on == other.on:
        return one if one.ts is not None else other
    return other if one.on else one


def latest(*settings: Setting | None) -> Setting | None:
    """Return the one of several that counts, each of them None where its keeper knows nothing."""
    return reduce(later, known) if (known := [setting for setting in settings if setting is not None]) else None


class Switch:
    """The switch of one device, kept at `path` (None: in memory only). `setting` is None until it is known.

    others: the files of other devices. left_by: the one whose OFF holds here, None where nobody's does.

    Thread-safe. Where the file cannot be written that is logged, and tried again by `keep`.
    """

    def __init__(self, path: Path | None, others: Iterable[Path] = ()) -> None:
        self.path = path
        self.left_by: str | None = None
        self._lock = threading.Lock()
        self._turned_s: float | None = None  # in this life (monotonic): whatever else is told, is older
        self._problem: str | None = None
        self._due_s = 0.0
        self.setting = _read(path) if path else None
        if self.setting is None:
            self._inherit({other: _read(other) for other in others})

    def turn(self, *, on: bool, broker: str | None = None) -> None:
        """People switch it, through a broker where there are two: when this returns, it is on disk."""
        with self._lock:
            now = time.time()
            if self.setting is not None and self.setting.ts is not None:  # also where the clock went back since
                now = max(now, unix_s(self.setting.ts) + _LEAST_LATER_S)
            self._turned_s = time.monotonic()
            self._set(Setting(listening="ON" if on else "OFF", ts=rfc3339(now), broker=broker))

    def off_elsewhere(self, broker: str | None, waited_since_s: float | None) -> bool:
        """Return whether it is OFF by a word that came through another broker, and perhaps later than one that has
        waited at this one since then."""
        setting = self.setting
        if waited_since_s is None or setting is None or setting.on or setting.broker in (None, broker):
            return False
        return self._turned_s is None or self._turned_s >= waited_since_s

    def recall(self, told: Setting | None) -> None:
        """The broker answered: it had this retained, or nothing (None). The setting is known from now on."""
        with self._lock:
            if self._turned_s is not None:
                return
            setting = latest(self.setting, told) or Setting(listening="ON")
            if setting != self.setting:
                self._set(setting)
            elif self.left_by is not None:
                self._write()

    def keep(self, now_s: float) -> None:
        """Write what could not be written, now and then. `now_s` is of a monotonic clock."""
        with self._lock:
            if self._problem is not None and now_s >= self._due_s:
                self._write()

    def _set(self, setting: Setting) -> None:
        self.setting, self.left_by = setting, None
        self._write()

    def _inherit(self, left: dict[Path, Setting | None]) -> None:
        """Take over an OFF that another name left: off is off, whatever the sensor is called by now."""
        last = latest(*left.values())
        if last is not None and not last.on:
            self.setting = last
            path = next(path for path in left if left[path] == last)
            self.left_by = path.stem.removeprefix(f"{KEPT_AS}-")
            log.warning("%s: switched off under that name, and off here, too, until somebody switches it on", path)

    def _write(self) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.path, msgspec.json.encode(self.setting))
        except OSError as error:
            problem = f"{self.path}: {error.strerror}"
            if problem != self._problem:
                word = self.setting.listening
                log.error("%s: that listening is %s is not kept on disk, a restart may forget it", problem, word)
            self._problem, self._due_s = problem, time.monotonic() + _RETRY_S
        else:
            self._problem = None


def _read(path: Path) -> Setting | None:
    """Return what was kept. OFF where a file is there that makes no sense: it may have said so."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Setting)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        log.error("%s: damaged (%s): listening stays off until it is switched on", path, error)
        return Setting(listening="OFF")
    except OSError as error:
        log.error("%s: %s: whether to listen is known when the broker answers", path, error.strerror)
        return None


def _time(text: str | None) -> str | None:
    try:
        return text if text is None else rfc3339(unix_s(text))
    except (ValueError, OverflowError, OSError):
        return None
