"""A sign of life for whoever cannot be systemd, such as a container's health check: `roomtone health`.

Where RUNTIME_DIRECTORY (systemd's name for it) says a folder, in memory as /run is, the sensor leaves a line there
while it would feed systemd's watchdog, too. Nothing is written elsewhere, and nothing without that variable.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.errors import UnavailableError

FILE = "pulse.json"
PERIOD_S = 5.0
LIVES_S = 30.0  # WatchdogSec of deploy/roomtone.service


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the sensor last worked, on this machine's monotonic clock, and what it did, in words."""

    monotonic_s: float
    words: str


def folder() -> Path | None:
    """Return where signs of life are left, if anywhere."""
    named = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(named) if named else None


def beat(words: str) -> None:
    """Leave a sign of life, where there is a place for it."""
    if (place := folder()) is None:
        return
    fresh = place / f".{FILE}"
    with suppress(OSError):  # who finds no sign of life draws the conclusion
        fresh.write_bytes(msgspec.json.encode(Beat(time.monotonic(), words)))
        fresh.replace(place / FILE)


def has_begun() -> bool:
    """Return whether a sensor beside us, in the same container, has given a sign of life."""
    return (place := folder()) is not None and (place / FILE).exists()


def require_life() -> str:
    """Return what the sensor beside us does. Raises UnavailableError where it gave no sign of life in time."""
    if (place := folder()) is None:
        raise UnavailableError(
            "RUNTIME_DIRECTORY is not set: this asks the sensor in the same container (elsewhere: `roomtone watch "
            "--once`, or `systemctl status roomtone`)"
        )
    try:
        last = msgspec.json.decode((place / FILE).read_bytes(), type=Beat)
    except (OSError, msgspec.MsgspecError) as error:
        raise UnavailableError(f"no sign of life in {place}: is `roomtone run` started?") from error
    age_s = time.monotonic() - last.monotonic_s
    if not 0 <= age_s <= LIVES_S:
        raise UnavailableError(f"no sign of life for {abs(age_s):.0f} s; the last one was: {last.words}")
    return last.words
