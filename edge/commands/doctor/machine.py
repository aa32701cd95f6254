"""The machine under a sensor: its sound cards, clock, disk, and the files of its secrets."""

import grp
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from edge.commands.doctor.finding import Finding
from edge.config import EdgeConfig
from edge.credentials import located
from edge.errors import ConfigError
from edge.files import nearest, unwritable
from edge.state_folder import state_folder

MADE_AT_LEAST_UNIX_S = datetime(2026, 11, 1, tzinfo=UTC).timestamp()  # this program is younger
SPARE_BYTES = 50_000_000
OTHERS = 0o077


def sound_cards(config: EdgeConfig, *, folder: Path = Path("/dev/snd")) -> Finding:
    """Look whether this user may open the machine's sound cards."""
    if config.audio.command is not None:
        return Finding(subject="sound cards", words="not used: a command delivers the sound")
    nodes = sorted(folder.glob("pcmC*c"))
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return Finding(
            subject="sound cards",
            words=f"{closed[0]} may not be opened by this user",
            remedy="`sudo usermod -aG audio $USER`, then log in anew" if not _in_audio() else "check udev's rules",
            exit_status=69,
        )
    if not nodes:
        return Finding(subject="sound cards", words="none of this machine's own: sound comes from a server, if at all")
    return Finding(subject="sound cards", words=f"{len(nodes)} may be opened by this user")


def _in_audio() -> bool:
    try:
        return grp.getgrnam("audio").gr_gid in os.getgroups()
    except KeyError:
        return False


def clock(config: EdgeConfig) -> Finding:
    """Look whether the clock can be right."""
    now = datetime.now().astimezone()
    words = f"{now:%Y-%m-%d %H:%M:%S %Z}"
    if now.timestamp() < MADE_AT_LEAST_UNIX_S:
        return Finding(subject="clock", words=f"{words} cannot be", remedy="set it, or let NTP do so")
    synchronised = _synchronised()
    if synchronised is None:
        return Finding(subject="clock", words=f"{words}; whether it is synchronised cannot be told here")
    if not synchronised:
        return Finding(subject="clock", words=f"{words}, not synchronised", remedy="`sudo timedatectl set-ntp true`")
    return Finding(subject="clock", words=f"{words}, synchronised")


def _synchronised() -> bool | None:
    """Return whether the clock is, by systemd's word; None where there is no systemd to ask."""
    if shutil.which("timedatectl") is None:
        return None
    asked = subprocess.run(
        ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    return {"yes": True, "no": False}.get(asked.stdout.strip())


def disk(config: EdgeConfig) -> Finding:
    """Look whether events that wait can be kept."""
    folder = state_folder(config.state_folder)
    if folder is None:
        return Finding(
            subject="disk", words="no folder for events that wait: a restart loses them", remedy="set edge.state_folder"
        )
    if trouble := unwritable(folder, folder=True):
        return Finding(
            subject="disk", words=f"{folder}: {trouble}", remedy="give it to this user, or set edge.state_folder",
            exit_status=ConfigError.exit_status,
        )  # fmt: skip
    free = shutil.disk_usage(nearest(folder)).free
    words = f"{folder}: {free / 1e9:.1f} GB free"
    if free < config.outbox.bytes + SPARE_BYTES:
        return Finding(subject="disk", words=words, remedy="make room, or lower edge.outbox.bytes")
    return Finding(subject="disk", words=words)


def secrets(config: EdgeConfig) -> Finding:
    """Look whether others may read them."""
    tls = config.mqtt.tls
    named = (config.mqtt.password_file, tls.key_file if tls else None, config.audio.password_file,
             config.history.password_file)  # fmt: skip
    files = [file for file in named if file]
    there = [path for path in map(located, files) if Path(path).exists()]  # what is not there, `broker` tells
    open_ones = [path for path in there if Path(path).stat().st_mode & OTHERS]
    if open_ones:
        return Finding(
            subject="secrets", words=f"{open_ones[0]} can be read by others", remedy=f"`chmod 600 {open_ones[0]}`"
        )
    words = "readable by this user only" if there else "none are there" if files else "none are used"
    return Finding(subject="secrets", words=words)
