"""`roomtone check`: is the configuration sound, and with `--live`, does the sensor's world answer?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge.commands.devices import require_source
from edge.commands.ear import Leave, Told, leave, listen, told
from edge.config import Audio, EdgeConfig, load_edge
from edge.daemon.kept import kept_preferences
from edge.daemon.preferences import shown
from edge.daemon.run import model_path
from edge.delivery.access import access
from edge.delivery.session import Owner, Session
from edge.errors import ConfigError, RoomtoneError, UnavailableError
from edge.files import unwritable
from edge.instances import Instance, neighbours
from edge.model.artifact import load
from edge.model.signatures import public_key
from edge.sound.portaudio.devices import card_of
from edge.state_folder import closed_to_us, require_state_folder, state_folder
from edge.voice.payloads import ROOT, SETTABLE


def check(config: EdgeConfig, where: str | Path, *, live: bool, anyway: bool = False) -> Iterator[str | RoomtoneError]:
    """Yield a line for each thing that is well, and the error for each that is not, one after the other.

    `live` also looks for the microphone, listens to it for a moment and connects to the broker. `anyway` listens where
    listening is switched off, too.
    """
    yield f"{where}: valid"
    known = cache(lambda: told(config) if live else Told(silence="--live asks the broker"))
    allowed = cache(lambda: leave(config, known()))
    looks: list[Callable[[], str]] = [
        lambda: _model(config),
        *(lambda key=key: _trusted(key) for key in config.model_store.trusted_keys),
        lambda: _state_folder(config),
        lambda: f"settings: {settings(config, known())}",
        lambda: f"listening: {allowed().words}",
        lambda: broker_answers(config, live=live),
    ]
    if live:
        looks.insert(1, lambda: _microphone(config, None if anyway else allowed()))
    if others := neighbours(where):
        looks.append(lambda: f"rooms: {(found := rooms(config, others)).words}{found.and_remedy}")
    for look in looks:
        try:
            yield look()
        except ConfigError as error:
            yield ConfigError(f"{where}: {error}")
        except RoomtoneError as error:
            yield error


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """words: what the other sensors of this machine have to do with this one. remedy: empty where all is well."""

    words: str
    remedy: str = ""

    @property
    def and_remedy(self) -> str:
        return f": {self.remedy}" if self.remedy else ""


def rooms(config: EdgeConfig, others: list[Instance]) -> Rooms:
    """Return whether others on this machine want the same microphone. Raises ConfigError for one with the same id."""
    names = ", ".join(other.unit for other in others)
    found = Rooms(words=f"{names} beside this one, each with an id and a microphone of its own")
    for other in others:
        try:
            theirs = load_edge(other.config)
        except ConfigError as error:
            option = f"--instance {other.name} " if other.name else ""
            found = Rooms(words=f"{other.unit}: {error}", remedy=f"`sudo roomtone {option}check`")
            continue
        if theirs.device.id == config.device.id:
            raise ConfigError(
                f"edge.device.id: {config.device.id} is also that of {other.unit} ({other.config}), and the broker "
                "would take one for the other: give each its own"
            )
        if source := _both_want(config.audio, theirs.audio):
            found = Rooms(words=f"{other.unit} wants the same microphone ({source})",
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
    silence = artifact.manifest.silence if config.decision.enter is None else ""
    return f"{path}: {artifact.manifest.model_id}, golden replay passed{silence and f'; WARNING: {silence}'}"


def broker_answers(config: EdgeConfig, *, live: bool) -> str:
    """Return a line about the broker; `live` connects to it. Raises ConfigError or UnavailableError."""
    reachable = access(config.mqtt)  # reads the password and the certificates, so that their absence shows here
    if config.mqtt.host == "embedded":
        return "broker: embedded"
    if not live:
        return f"broker {reachable.address}: not tried (--live does)"
    session = Session(reachable, f"{ROOT}-{config.device.id}-check", Owner())
    session.start()
    try:
        session.require()
        return f"broker {reachable.address}: connected"
    finally:
        session.stop()
