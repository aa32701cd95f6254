"""What a device left on the broker, taken off it: for a sensor that is gone, or has another name now."""

import difflib
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge.config import EdgeConfig, Mqtt
from edge.delivery.embedded import brokers
from edge.delivery.packets import Word
from edge.delivery.past import Retained, Writer
from edge.errors import OutputError, UnavailableError
from edge.state_folder import as_owner, state_folder
from edge.voice import homeassistant
from edge.voice.payloads import ROOT

_MOST_NAMED = 10  # devices
_KEEPS_NOTHING = ("nothing to take off a broker: no embedded one runs here, and what it had ended with it "
                  "(another broker: --config FILE, which names it)")  # fmt: skip
_NOT_SEEN = "not seen, and cleared all the same, for an account that may write but not read it"


class _UnknownError(UnavailableError):
    """A broker has nothing of a device."""


def forget(config: EdgeConfig, device: str, *, everything: bool = False, force: bool = False) -> Iterator[str]:
    """Clear every retained topic of a device, its description for Home Assistant too; yield what was done, and what the
    sensor itself keeps, which stays, or, with `everything`, goes.

    Raises UnavailableError where the broker is not there, refuses, or has nothing of it; and, before anything is done,
    where the sensor runs: it would say it all again. `force` does it all the same.
    """
    there = brokers(config.mqtt)
    reached, failed = _asked(there, device, force=force)
    if failed and not reached and not force:  # whether it runs is not known
        raise failed[0]
    kept = list(_kept_here(config, device, wipe=everything))
    yield from kept
    if everything and not kept:
        yield f"{state_folder(config.state_folder) or 'this account'}: nothing of {device} is kept there"
    for mqtt in reached:
        try:
            yield from _taken_off(mqtt, config, device)
        except UnavailableError as error:
            failed.append(error)
    if not there:
        yield _KEEPS_NOTHING
    elif len(failed) == len(there):
        if not (everything and kept and isinstance(failed[-1], _UnknownError)):
            raise failed[-1]
        yield str(failed[-1])
    elif config.mqtt.host != "embedded":
        yield from map(str, failed)  # of two brokers, the other one


def _asked(there: list[Mqtt], device: str, *, force: bool) -> tuple[list[Mqtt], list[UnavailableError]]:
    """Return the brokers that answer, and why others do not. Raises UnavailableError where one says the device runs."""
    reached, failed = [], []
    for mqtt in there:
        try:
            with Retained(mqtt, f"{ROOT}-{device}-forget") as broker:
                status = broker.read([f"{ROOT}/{device}/status"])
        except UnavailableError as error:
            failed.append(error)
            continue
        if not force:
            _require_stopped(status, device, broker.address)
        reached.append(mqtt)
    return reached, failed


def _taken_off(mqtt: Mqtt, config: EdgeConfig, device: str) -> Iterator[str]:
    """Clear what a device has on one broker. Yields and raises as `forget` does."""
    base, described = f"{ROOT}/{device}", homeassistant.topic(config, device)
    with Writer(mqtt, f"{ROOT}-{device}-forget") as eraser:
        found = eraser.read([f"{base}/#", described])
        for topic in found:
            eraser.put(topic, b"")
            yield f"{topic}: removed"
        unseen = described not in found and config.homeassistant.enabled  # who may not read it may still clear it
        if not found:
            with suppress(UnavailableError):
                if unseen:
                    eraser.put(described, b"")
            raise _UnknownError(f"{device}: nothing of it that this account may read is on broker {eraser.address}"
                                f"{_likely(eraser, device)}")  # fmt: skip
        if unseen:
            eraser.put(described, b"")
            yield f"{described}: {_NOT_SEEN}"
        messages = "1 retained message was" if len(found) == 1 else f"{len(found)} retained messages were"
        yield f"{device}: {messages} found on broker {eraser.address} and taken off it"


def remove_from_homeassistant(config: EdgeConfig) -> Iterator[str]:
    """Take the device out of Home Assistant; yield what was done. Raises as `forget` does."""
    if not (there := brokers(config.mqtt)):
        yield _KEEPS_NOTHING
        return
    device, described = config.device.id, homeassistant.topic(config, config.device.id)
    failed = []
    for mqtt in there:
        try:
            with Writer(mqtt, f"{ROOT}-{device}-remove") as eraser:
                found = eraser.read([described])
                eraser.put(described, b"")
                yield f"{described}: {'removed' if found else _NOT_SEEN}"
        except UnavailableError as error:
            failed.append(error)
    if len(failed) == len(there):
        raise failed[-1]
    yield from map(str, failed)
    yield "a sensor that still runs with edge.homeassistant.enabled announces itself again"
    yield f"{ROOT}/{device}/ stays as it is: `roomtone forget {device}` takes that off the broker, too"


def _require_stopped(found: dict[str, Word], device: str, broker: str) -> None:
    """Raise UnavailableError where a device says that it runs."""
    if getattr(found.get(f"{ROOT}/{device}/status"), "word", None) == b"online":
        raise UnavailableError(
            f"{device} says `online` on broker {broker}, and nothing was done: a sensor that runs says it all again; "
            "stop it (`sudo systemctl stop roomtone`), then forget it; --force, if it is gone and never said so"
        )


def _kept_here(config: EdgeConfig, device: str, *, wipe: bool) -> Iterator[str]:
    """Yield in words which files of a device are in the state folder of whoever asks, and delete them, if so wished.

    Raises OutputError where that cannot be done.
    """
    folder = state_folder(config.state_folder)
    try:
        paths = _of_device(folder, device)
    except OSError as error:
        if wipe:
            raise OutputError(f"{folder}: {error.strerror}: nothing was deleted there: use sudo") from error
        yield f"{folder}: {error.strerror}: what it keeps there stays"
        return
    if not paths:
        return
    names = ", ".join(path.name for path in paths)
    if not wipe:
        stay = "stays" if len(paths) == 1 else "stay"
        yield f"{folder}: {names} {stay}: where the sensor is gone, --everything deletes what it kept, too"
        return
    try:
        with as_owner(folder):
            for path in paths:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise OutputError(f"{error.filename or folder}: cannot be deleted: {error.strerror}") from error
    yield f"{folder}: {names}: deleted"
    if any(path.name.startswith("listening-") for path in paths):
        yield f"a sensor that starts as {device} knows nothing of a switch or of quiet hours set over MQTT: it listens"


def _of_device(folder: Path | None, device: str) -> list[Path]:
    """Return what is kept of a device, with what a power cut left half written. Raises OSError."""
    try:
        there = sorted(folder.iterdir()) if folder else []
    except FileNotFoundError:
        return []
    return [path for path in there if re.fullmatch(rf"\.?[a-z]+-{device}(\.[\w.-]+)?", path.name)]


def _likely(broker: Retained, device: str) -> str:
    """Return in words which device may be meant by a name that the broker does not know; empty where it knows none."""
    there = sorted({topic.split("/")[1] for topic in broker.read([f"{ROOT}/+/status", f"{ROOT}/+/state"])})
    if near := difflib.get_close_matches(device, there, n=1):
        return f": did you mean {near[0]}?"
    more = ", ..." if len(there) > _MOST_NAMED else ""
    return f": there are {', '.join(there[:_MOST_NAMED])}{more}" if there else ""
