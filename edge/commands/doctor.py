"""`roomtone doctor`: looks at everything a sensor needs, and says in a line each what is wrong and what helps."""

import grp
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec

from edge.commands.check import broker_answers, rooms, settings
from edge.commands.devices import exposed, require_source
from edge.commands.ear import Leave, leave, listen, told
from edge.config import EdgeConfig, load_edge
from edge.credentials import located
from edge.daemon.run import model_path
from edge.delivery.past import Retained
from edge.errors import ConfigError, RoomtoneError, UnavailableError
from edge.files import nearest, unwritable
from edge.hearing.reach import faint
from edge.instances import Instance, instances, neighbours
from edge.model.artifact import read_artifact
from edge.model.graph import load_model
from edge.model.replay import replay
from edge.state_folder import state_folder
from edge.voice.payloads import ROOT, Health

MADE_AT_LEAST_UNIX_S = datetime(2026, 11, 1, tzinfo=UTC).timestamp()  # this program is younger
SPARE_BYTES = 50_000_000
OTHERS = 0o077
REMEDIES = {  # where the error itself names none
    "model": "install another one (`roomtone model install`), or correct edge.model",
    "level": "`roomtone devices --live` shows what is heard",
    "clock": "set it, or let NTP do so",
    "broker": "start it, or correct edge.mqtt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at and found. `remedy` is empty where all is well; `exit_status` is that of a failure, else 0."""

    subject: str
    words: str
    remedy: str = ""
    exit_status: int = 0

    def __str__(self) -> str:
        mark = "FAIL" if self.exit_status else "warn" if self.remedy else "ok"
        return f"{mark:<5} {self.subject}: {self.words}{f': {self.remedy}' if self.remedy else ''}"


def examine(config: EdgeConfig, where: str | Path, *, anyway: bool = False) -> Iterator[Finding]:
    """Yield a Finding for each thing a sensor needs, as it is looked at (some seconds in all).

    anyway: listen for a moment where listening is switched off, too.
    """
    yield Finding(subject="configuration", words=f"{where} is valid")
    known = cache(told)
    looks: list[tuple[str, Callable[[EdgeConfig], Finding]]] = [
        ("settings", lambda config: Finding(subject="settings", words=settings(config, known(config)))),
        ("model", _model),
        ("microphone", _microphone),
        ("listening", lambda config: _listening(leave(config, known(config)))),
        ("level", _level),
        ("sound cards", _sound_cards),
        ("clock", _clock),
        ("disk", _disk),
        ("broker", _broker),
        ("day", _day),
        ("secrets", _secrets),
    ]
    if others := neighbours(where):
        looks.append(("rooms", lambda config: _rooms(config, others)))
    deaf = forbidden = False
    for subject, look in looks:
        if subject == "level" and forbidden and not deaf:
            yield Finding(subject=subject, words="the microphone was not opened", remedy="--anyway opens it")
        if subject == "level" and (deaf or forbidden):
            continue
        try:
            finding = look(config)
        except RoomtoneError as error:
            words = str(error).removeprefix(f"{subject} ").removeprefix(f"{subject}: ")
            remedy = "" if isinstance(error, ConfigError) else REMEDIES.get(subject, "")  # that names the key itself
            finding = Finding(subject=subject, words=words, remedy=remedy, exit_status=error.exit_status)
        deaf = deaf or (subject == "microphone" and finding.exit_status != 0)
        if subject == "listening":
            forbidden = not anyway and (finding.remedy != "" or finding.exit_status != 0)
        yield finding


def examine_all(*, anyway: bool = False) -> Iterator[Finding]:
    """As `examine`, of each sensor that is installed on this machine, its service first. Raises UnavailableError where
    none is."""
    if not (installed := instances()):
        raise UnavailableError("no sensor is installed on this machine: `sudo deploy/install.sh` does that")
    for one in installed:
        one.take_place()
        yield _service(one)
        try:
            yield from examine(load_edge(one.config), one.config, anyway=anyway)
        except ConfigError as error:
            yield Finding(subject="configuration", words=str(error), exit_status=error.exit_status)


def printed(findings: Iterable[Finding]) -> int:
    """Print them as they are found; return the exit status, that of the first failure."""
    status = 0
    for finding in findings:
        print(finding, flush=True)
        status = status or finding.exit_status
    return status


def _service(one: Instance) -> Finding:
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        return Finding(subject="service", words=f"{one.unit}; whether it runs cannot be told here: no systemd")
    asked = subprocess.run(["systemctl", "is-active", one.unit], capture_output=True, text=True, timeout=10)
    state = asked.stdout.strip()
    remedy = "" if state == "active" else f"`journalctl -u {one.unit}` says why"
    return Finding(subject="service", words=f"{one.unit} is {state}", remedy=remedy, exit_status=69 if remedy else 0)


def _rooms(config: EdgeConfig, others: list[Instance]) -> Finding:
    found = rooms(config, others)
    return Finding(subject="rooms", words=found.words, remedy=found.remedy)


def _model(config: EdgeConfig) -> Finding:
    path = model_path(config)
    artifact = read_artifact(path)
    manifest = artifact.manifest
    difference = replay(load_model(artifact.graph, manifest), manifest)
    return Finding(
        subject="model",
        words=f"{path}: {manifest.model_id}, SHA-256 {artifact.digest[:16]}, golden replay within {difference:.1g}",
    )


def _microphone(config: EdgeConfig) -> Finding:
    shown = exposed(config.audio)
    remedy = "write it into edge.audio.command_input, where the program can read it from there" if shown else ""
    return Finding(subject="microphone", words=f"{require_source(config.audio)}{shown}", remedy=remedy)


def _listening(allowed: Leave) -> Finding:
    return Finding(subject="listening", words=allowed.words, remedy=allowed.remedy)


def _level(config: EdgeConfig) -> Finding:
    """Listen for a moment: whether sound comes, and whether it is worth anything."""
    heard = listen(config.audio)
    return Finding(subject="level", words=heard.words, remedy=heard.trouble, exit_status=69 if heard.deaf else 0)


def _sound_cards(config: EdgeConfig, *, folder: Path = Path("/dev/snd")) -> Finding:
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


def _clock(config: EdgeConfig) -> Finding:
    now = datetime.now().astimezone()
    words = f"{now:%Y-%m-%d %H:%M:%S %Z}"
    if now.timestamp() < MADE_AT_LEAST_UNIX_S:
        return Finding(subject="clock", words=f"{words} cannot be", remedy=REMEDIES["clock"])
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


def _disk(config: EdgeConfig) -> Finding:
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


def _broker(config: EdgeConfig) -> Finding:
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if config.mqtt.host == "embedded" and found is None:
        return Finding(
            subject="broker", words="mosquitto is not installed", remedy="`sudo apt install mosquitto`", exit_status=69
        )
    return Finding(subject="broker", words=broker_answers(config, live=True).removeprefix("broker").lstrip(" :"))


def _day(config: EdgeConfig) -> Finding:
    """What the running sensor has heard of a whole day: what a moment of listening cannot tell."""
    if config.mqtt.host == "embedded":
        return Finding(subject="day", words="what a day told the sensor is on its page (the broker is its own)")
    topic = f"{ROOT}/{config.device.id}/health"
    try:
        with Retained(config.mqtt, f"{ROOT}-{config.device.id}-day") as broker:
            told = broker.read([topic]).get(topic)
    except RoomtoneError:  # as `broker` tells
        return Finding(subject="day", words="what a day told the sensor is not known: the broker does not say")
    try:
        db = msgspec.json.decode(told.word, type=Health).loudest_minute_db if told else None
    except msgspec.DecodeError:
        db = None
    if db is None:
        return Finding(subject="day", words="no sensor here has listened for a day yet")
    if why := faint(db):
        words, _, remedy = why.partition("; ")
        return Finding(subject="day", words=words, remedy=remedy)
    return Finding(subject="day", words=f"the loudest minute of a day was {db} dB above the noise")


def _secrets(config: EdgeConfig) -> Finding:
    tls = config.mqtt.tls
    named = (config.mqtt.password_file, tls.key_file if tls else None, config.audio.password_file)
    files = [file for file in named if file]
    there = [path for path in map(located, files) if Path(path).exists()]  # what is not there, `broker` tells
    open_ones = [path for path in there if Path(path).stat().st_mode & OTHERS]
    if open_ones:
        return Finding(
            subject="secrets", words=f"{open_ones[0]} can be read by others", remedy=f"`chmod 600 {open_ones[0]}`"
        )
    words = "readable by this user only" if there else "none are there" if files else "none are used"
    return Finding(subject="secrets", words=words)
