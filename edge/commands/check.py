"""`roomtone check`: is the configuration sound, and with `--live`, does the sensor's world answer?"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from edge.commands.devices import require_source
from edge.commands.ear import Leave, Told, leave, listen, told
from edge.commands.recorder import LOOKS, records, senses
from edge.commands.said import Found
from edge.config import Audio, EdgeConfig, load_edge
from edge.daemon.kept import kept_preferences
from edge.daemon.preferences import shown
from edge.daemon.run import model_path
from edge.delivery.access import access
from edge.delivery.embedded import brokers, own
from edge.delivery.past import Retained
from edge.delivery.session import Owner, Session
from edge.errors import ConfigError, RoomtoneError, UnavailableError
from edge.files import unwritable
from edge.instances import Instance, neighbours
from edge.model.artifact import load
from edge.model.signatures import public_key
from edge.sound.command.program import password
from edge.sound.portaudio.devices import card_of
from edge.state_folder import closed_to_us, require_state_folder, state_folder
from edge.voice.payloads import ROOT, SETTABLE

_ALONE = "the broker answers"


def check(config: EdgeConfig, where: str | Path, *, live: bool, anyway: bool = False) -> Iterator[str | RoomtoneError]:
    """Yield a line for each thing that is well, the error for each that is not, one after the other, and a verdict.

    `live` also looks for the microphone, listens to it for a moment and connects to the broker. `anyway` listens where
    listening is switched off, too.
    """
    known = cache(lambda: told(config) if live else Told(silence="--live asks the broker"))
    allowed = cache(lambda: leave(config, known()))
    answers = ("broker", lambda: str(broker_answers(config, live=live)))
    sensing: list[tuple[str, Callable[[], str]]] = [
        ("model", lambda: _model(config)),
        *(("trusted keys", lambda key=key: _trusted(key)) for key in config.model_store.trusted_keys),
        ("state folder", lambda: _state_folder(config)),
        ("settings", lambda: f"settings: {settings(config, known())}"),
        ("listening", lambda: f"listening: {allowed().words}"),
        ("microphone", lambda: _microphone(config, None if anyway else allowed()) if live else _untried(config)),
        answers,
    ]
    looks = sensing if senses(config) else [answers]
    if records(config):
        for subject, look in LOOKS.items():
            if live or subject != "rights":
                looks.append((subject, lambda subject=subject, look=look: f"{subject}: {look(config)}"))
    if senses(config) and (others := neighbours(where)):
        looks.append(("rooms", lambda: f"rooms: {rooms(config, others)}"))
    wrong: dict[str, RoomtoneError] = {}
    for subject, look in looks:
        if subject == "rights" and "broker" in wrong:
            continue
        try:
            yield look()
        except RoomtoneError as error:
            wrong[subject] = error
            yield ConfigError(f"{where}: {error}") if isinstance(error, ConfigError) else error
    valid = not any(isinstance(error, ConfigError) for error in wrong.values())
    names = ", ".join(wrong)
    answering = f", and {_answering(anyway or not allowed().forbidden) if senses(config) else _ALONE}" if live else ""
    yield f"{where}: {'valid' if valid else 'not valid'}{f'; look at: {names}' if wrong else answering}"


def _answering(opened: bool) -> str:
    return "microphone and broker answer" if opened else f"{_ALONE}; the microphone was not opened"


def _untried(config: EdgeConfig) -> str:
    password(config.audio)
    return "microphone: not tried (--live does)"


def _microphone(config: EdgeConfig, allowed: Leave | None) -> str:
    device = require_source(config.audio)
    if allowed is not None and allowed.forbidden:
        return f"microphone: {device}, {allowed.refusal}"
    heard = listen(config.audio)
    if heard.deaf:
        raise UnavailableError(f"microphone: {heard.words}: {heard.trouble}")
    return f"microphone: {device}, {heard.words}{f': {heard.trouble}' if heard.trouble else ''}"


def _trusted(key: str) -> str:
    public_key(key)
    return f"{key}: a public key"


def _state_folder(config: EdgeConfig) -> str:
    if (services := state_folder(config.state_folder)) is not None and closed_to_us(services):
        return f"{services}: the service's own: root may look into it"
    folder = require_state_folder(config.state_folder)
    return "no state folder: events wait in memory only" if folder is None else f"{folder}: can be written"


def rooms(config: EdgeConfig, others: list[Instance]) -> Found:
    """Return whether others on this machine want the same microphone. Raises ConfigError for one with the same id."""
    names = ", ".join(other.unit for other in others)
    found = Found(words=f"{names} beside this one, each with an id and a microphone of its own")
    for other in others:
        try:
            theirs = load_edge(other.config)
        except ConfigError as error:
            option = f"--instance {other.name} " if other.name else ""
            found = Found(words=f"{other.unit}: {error}", remedy=f"`sudo roomtone {option}check`")
            continue
        if theirs.device.id == config.device.id:
            raise ConfigError(
                f"edge.device.id: {config.device.id} is also that of {other.unit} ({other.config}), and the broker "
                "would take one for the other: give each its own"
            )
        if source := _both_want(config.audio, theirs.audio):
            found = Found(words=f"{other.unit} wants the same microphone ({source})",
                          remedy="name another in edge.audio, here or there")  # fmt: skip
    return found


def _both_want(mine: Audio, theirs: Audio) -> str:
    """Return in words which source both mean, as far as that can be told; empty for none."""
    if mine.command is not None or theirs.command is not None:
        same = (mine.command, mine.command_input) == (theirs.command, theirs.command_input)
        return f"the command {mine.command[0]}" if same else ""
    if (mine.microphone or "").casefold() == (theirs.microphone or "").casefold():
        return mine.microphone or "the default one"
    card = card_of(mine.microphone)
    return card if card is not None and card == card_of(theirs.microphone) else ""


def settings(config: EdgeConfig, told: Told) -> str:
    """Return what holds instead of the configuration, as it is kept here or as the sensor told its broker."""
    folder = state_folder(config.state_folder)
    if folder is not None and closed_to_us(folder):
        return "what was set over MQTT is the service's own: root may look into it"
    if folder is not None and unwritable(folder, folder=True):
        return "as configured, what is set over MQTT cannot be kept"
    if words := kept_preferences(config).words:
        return f"set over MQTT: {words}"
    if (holds := told.settings.get(config.device.id)) is not None and holds.set:
        words = ", ".join(f"{name} {shown(getattr(holds, name))}" for name in holds.set if name in SETTABLE)
        return f"set over MQTT, as the broker has it: {words}"
    if told.silence:
        return f"as configured, as far as is known here ({told.silence})"
    return "as configured, nothing was set over MQTT"


def _model(config: EdgeConfig) -> str:
    path = model_path(config)
    artifact, _ = load(path)
    silence = artifact.manifest.silence_from(config.decision.enter)
    return f"{path}: {artifact.manifest.model_id}, golden replay passed{silence and f'; WARNING: {silence}'}"


def broker_answers(config: EdgeConfig, *, live: bool) -> Found:
    """Return how the broker is, or both; `live` connects to them. Raises ConfigError or UnavailableError."""
    reachable = access(config.mqtt)  # reads the password and the certificates, so that their absence shows here
    if config.mqtt.host == "embedded":
        port = own(config.mqtt.port)
        where = f"runs on port {port} (`roomtone watch`)" if port else "comes and goes with `roomtone run`"
        return Found(words=f"broker: embedded, {where}")
    if not live:
        standby = f", standby {reachable.standby.address}" if reachable.standby else ""
        return Found(words=f"broker {reachable.address}{standby}: not tried (--live does)")
    if reachable.standby:
        return _both_answer(config)
    session = Session(reachable, f"{ROOT}-{config.device.id}-check", Owner())
    session.start()
    try:
        session.require()
        return Found(words=f"broker {reachable.address}: connected")
    finally:
        session.stop()


def _both_answer(config: EdgeConfig) -> Found:
    """Return how each of two brokers answers, and which of them the sensor is with by its own word. Raises
    UnavailableError where neither does."""
    words, away, topic = [], [], f"{ROOT}/{config.device.id}/status"
    for mqtt in brokers(config.mqtt):
        try:
            with Retained(mqtt, f"{ROOT}-{config.device.id}-check") as broker:
                told = broker.read([topic]).get(topic)
                here = ", where the sensor is now" if told is not None and told.word == b"online" else ""
                words.append(f"broker {broker.address}: connected{here}")
        except UnavailableError as error:
            away.append(str(error))
    if not words:
        raise UnavailableError("; ".join(away))
    return Found(words="; ".join([*words, *away]), remedy="a sensor goes by the other one meanwhile" if away else "")
