"""`roomtone doctor`: looks at everything a sensor needs, and says in a line each what is wrong and what helps."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from edge import pulse
from edge.commands.check import broker_answers, rooms, settings
from edge.commands.devices import exposed, require_source
from edge.commands.doctor.finding import Finding
from edge.commands.doctor.machine import clock, disk, secrets, sound_cards
from edge.commands.ear import Leave, leave, listen, told
from edge.commands.recorder import LOOKS, records, senses
from edge.commands.said import Found
from edge.config import EdgeConfig, load_edge
from edge.daemon.run import model_path
from edge.delivery.access import access, reached
from edge.delivery.embedded import own
from edge.delivery.past import Retained
from edge.errors import ConfigError, RoomtoneError, UnavailableError
from edge.hearing.reach import faint
from edge.instances import Instance, instances, neighbours, recorders
from edge.model.artifact import read_artifact
from edge.model.graph import load_model
from edge.model.replay import replay
from edge.model.signatures import public_key
from edge.sound.command.program import password
from edge.voice.payloads import ROOT, Health, decoded

REMEDIES = {  # where the error itself names none
    "model": "install another one (`roomtone model install`), or correct edge.model",
    "level": "`roomtone devices --live` shows what is heard",
    "broker": "correct edge.mqtt, or start the broker where none answers",
}


def examine(config: EdgeConfig, where: str | Path, *, anyway: bool = False) -> Iterator[Finding]:
    """Yield a Finding for each thing a sensor needs, or a recorder where the configuration is one's, as it is looked at
    (some seconds in all).

    anyway: listen for a moment where listening is switched off, too.
    """
    yield _configuration(config, where)
    known = cache(told)
    sensing: list[tuple[str, Callable[[EdgeConfig], Finding]]] = [
        ("settings", lambda config: Finding(subject="settings", words=settings(config, known(config)))),
        ("model", _model),
        ("microphone", _microphone),
        ("listening", lambda config: _listening(leave(config, known(config)))),
        ("level", _level),
        ("sound cards", sound_cards),
        ("disk", disk),
        ("day", _day),
    ]
    if pulse.has_begun():
        sensing.insert(0, ("sensor", lambda config: Finding(subject="sensor", words=pulse.require_life())))
    looks = [*(sensing if senses(config) else []), ("clock", clock), ("broker", _broker)]
    if records(config):
        for subject, look in LOOKS.items():
            looks.append((subject, lambda config, subject=subject, look=look: _finding(subject, look(config))))
    looks.append(("secrets", secrets))
    if senses(config) and (others := neighbours(where)):
        looks.append(("rooms", lambda config: _finding("rooms", rooms(config, others))))
    deaf = forbidden = lonely = False
    for subject, look in looks:
        if subject == "level" and forbidden and not deaf:
            yield Finding(subject=subject, words="the microphone was not opened", remedy="--anyway opens it")
        if (subject == "level" and (deaf or forbidden)) or (subject == "rights" and lonely):
            continue
        try:
            finding = look(config)
        except RoomtoneError as error:
            words = str(error).removeprefix(f"{subject} ").removeprefix(f"{subject}: ")
            remedy = "" if isinstance(error, ConfigError) else REMEDIES.get(subject, "")  # that names the key itself
            finding = Finding(subject=subject, words=words, remedy=remedy, exit_status=error.exit_status)
        deaf = deaf or (subject == "microphone" and finding.exit_status != 0)
        lonely = lonely or (subject == "broker" and finding.exit_status != 0)
        if subject == "listening":
            forbidden = not anyway and (finding.remedy != "" or finding.exit_status != 0)
        yield finding


def examine_all(*, anyway: bool = False) -> Iterator[Finding]:
    """As `examine`, of each sensor and recorder that is installed on this machine, its service first. Raises
    UnavailableError where none is."""
    if not (installed := [*instances(), *recorders()]):
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


def _configuration(config: EdgeConfig, where: str | Path) -> Finding:
    """Whether the secrets and keys that a configuration names are there, too: without them nothing starts."""
    try:
        access(config.mqtt)
        password(config.audio)
        for key in config.model_store.trusted_keys:
            public_key(key)
    except ConfigError as error:
        return Finding(subject="configuration", words=f"{where}: {error}", exit_status=error.exit_status)
    return Finding(subject="configuration", words=f"{where} is valid")


def _service(one: Instance) -> Finding:
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        return Finding(subject="service", words=f"{one.unit}; whether it runs cannot be told here: no systemd")
    asked = subprocess.run(["systemctl", "is-active", one.unit], capture_output=True, text=True, timeout=10)
    state = asked.stdout.strip()
    if state != "active":
        remedy = f"`journalctl -u {one.unit}` says why"
        return Finding(subject="service", words=f"{one.unit} is {state}", remedy=remedy, exit_status=69)
    show = ["systemctl", "show", "--property=StatusText", "--value", one.unit]
    says = subprocess.run(show, capture_output=True, text=True, timeout=10).stdout.strip()
    return Finding(subject="service", words=f"{one.unit} is active{says and f': {says}'}")


def _finding(subject: str, found: Found) -> Finding:
    return Finding(subject=subject, words=found.words, remedy=found.remedy)


def _model(config: EdgeConfig) -> Finding:
    path = model_path(config)
    artifact = read_artifact(path)
    manifest = artifact.manifest
    difference = replay(load_model(artifact.graph, manifest), manifest)
    silence = manifest.silence_from(config.decision.enter)
    return Finding(
        subject="model",
        words=f"{path}: {manifest.model_id}, SHA-256 {artifact.digest[:16]}, golden replay within {difference:.1g}"
        + (silence and f"; {silence}"),
        remedy="train it longer, or on more clips; or run another" if silence else "",
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


def _broker(config: EdgeConfig) -> Finding:
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if config.mqtt.host == "embedded" and found is None:
        return Finding(
            subject="broker", words="mosquitto is not installed", remedy="`sudo apt install mosquitto`", exit_status=69
        )
    found = broker_answers(config, live=True)
    return Finding(subject="broker", words=found.words.removeprefix("broker").lstrip(" :"), remedy=found.remedy)


def _day(config: EdgeConfig) -> Finding:
    """What the running sensor has heard of a whole day: what a moment of listening cannot tell."""
    if config.mqtt.host == "embedded" and own(config.mqtt.port) is None:
        return Finding(subject="day", words="what a day told the sensor is known while it runs (the broker is its own)")
    topic = f"{ROOT}/{config.device.id}/health"
    try:
        with Retained(reached(config.mqtt), f"{ROOT}-{config.device.id}-day") as broker:
            told = broker.read([topic]).get(topic)
    except RoomtoneError:  # as `broker` tells
        return Finding(subject="day", words="what a day told the sensor is not known: the broker does not say")
    try:
        db = decoded(told.word, Health).loudest_minute_db if told else None
    except ValueError:
        db = None
    if db is None:
        return Finding(subject="day", words="no sensor here has listened for a day yet")
    if why := faint(db):
        words, _, remedy = why.partition("; ")
        return Finding(subject="day", words=words, remedy=remedy)
    return Finding(subject="day", words=f"the loudest minute of a day was {db} dB above the noise")
