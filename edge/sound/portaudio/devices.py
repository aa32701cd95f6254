"""Which input devices there are, which of them is meant, and why it cannot be had.

A device is meant by a part of its name or by its ALSA card id, never by its number, which changes from boot to boot.
"""

import os
import re
from pathlib import Path

_SERVER_CHANNELS = 32  # PulseAudio and PipeWire say that they have so many or more
RATES_HZ = (16_000, 48_000, 44_100, 32_000, 96_000, 8_000)


class NoSoundError(Exception):
    """Why there is no sound: a reason code and words."""


def devices(audio) -> list[dict]:
    """Return the devices that have inputs, by PortAudio's own numbering, which is only valid for this instance."""
    found = (audio.get_device_info_by_index(index) for index in range(audio.get_device_count()))
    return [
        {
            "index": device["index"],
            "name": re.sub(r"\s*\(hw:\d+,\d+\)", "", device["name"]),
            "card_id": _card_id(device["name"]),
            "channels": device["maxInputChannels"],
            "default_rate_hz": int(device["defaultSampleRate"]),
        }
        for device in found
        if device["maxInputChannels"] > 0
    ]


def choose(found: list[dict], selector: str | None, default_index: int | None) -> dict | None:
    """Return the device that the selector means, or None: the card of that id, else the first that has it in its name.

    Without a selector: the default device, else the first.
    """
    if selector is None:
        return next((device for device in found if device["index"] == default_index), found[0] if found else None)
    wanted = selector.casefold()
    by_id = (device for device in found if (device["card_id"] or "").casefold() == wanted)
    by_name = (device for device in found if wanted in device["name"].casefold())
    return next(by_id, None) or next(by_name, None)


def card_of(selector: str | None, *, proc: Path = Path("/proc/asound"), dev: Path = Path("/dev/snd")) -> str | None:
    """Return the id of the sound card that the selector means, by the kernel's list; None where that cannot be told."""
    found = [
        {"name": name, "card_id": card_id, "index": int(number)}
        for number, card_id, name in _cards(proc)
        if any(dev.glob(f"pcmC{number}D*c"))
    ]
    if selector is None and len(found) > 1:  # whichever is the default
        return None
    card = choose(found, selector, None)
    return card["card_id"] if card else None


def why_missing(
    selector: str | None,
    *,
    proc: Path = Path("/proc/asound"),
    dev: Path = Path("/dev/snd"),
    groups: Path = Path("/sys/fs/cgroup"),
) -> NoSoundError:
    """Say why no device could be chosen, from what the kernel knows of sound cards.

    A card that another program holds is left out of PortAudio's list, as if it were not plugged in.
    """
    for number, card_id, name in _cards(proc):
        if choose([{"name": name, "card_id": card_id, "index": 0}], selector, None) is None:
            continue
        for node in sorted(dev.glob(f"pcmC{number}D*c")):
            if not os.access(node, os.R_OK | os.W_OK):
                return NoSoundError("denied", f"{name}, {node}")
            status = proc / f"card{number}" / f"pcm{node.name.rpartition('D')[2]}" / "sub0" / "status"
            if owner := re.search(r"owner_pid *: (\d+)", _text(status)):
                return NoSoundError("busy", f"{name} is held by {_program(owner[1], groups)}, process {owner[1]}")
    return NoSoundError("absent", "this machine has none" if selector is None else f"none has {selector!r} in its name")


def busy(device: dict) -> NoSoundError:
    """Say that somebody holds a device, and who, where the kernel knows it."""
    why = why_missing(device["card_id"] or device["name"])
    return why if why.args[0] == "busy" else NoSoundError("busy", device["name"])


def _cards(proc: Path) -> list[tuple[str, str, str]]:
    """Return number, id and name of every sound card that the kernel knows."""
    return re.findall(r"^ *(\d+) \[(\S+) *\]: .*? - (.*)$", _text(proc / "cards"), re.MULTILINE)


def _program(thread: str, groups: Path) -> str:
    """Return what a thread belongs to: another sensor of this machine, by its control group, for its process itself is
    hidden from a service; else the program's name."""
    for pattern in ("system.slice/roomtone.service", "system.slice/system-roomtone.slice/roomtone@*.service"):
        for group in groups.glob(pattern):
            if thread in _text(group / "cgroup.threads").split():
                return group.name.removesuffix(".service")
    return _text(Path("/proc") / thread / "comm").strip() or "a program"


def shapes(device: dict) -> list[int]:
    """Return the numbers of channels to try: both of a stereo device, as one may be dead or the wrong way round, and of
    a sound server, which would make one of two without looking; else the first of many."""
    most = device["channels"]
    return [2, 1] if most == 2 or most >= _SERVER_CHANNELS else sorted({1, min(2, most), most})


def default_index(audio) -> int | None:
    try:
        return audio.get_default_input_device_info()["index"]
    except OSError:
        return None


def _card_id(name: str) -> str | None:
    card = re.search(r"\(hw:(\d+),\d+\)", name)
    return (_text(Path(f"/proc/asound/card{card[1]}/id")).strip() or None) if card else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
