"""A moment's listening: whether it is allowed, whether sound comes, and whether it is worth anything."""

import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from edge.config import Audio, EdgeConfig
from edge.daemon.kept import kept, kept_preferences, kept_switch
from edge.daemon.preferences import as_configured
from edge.daemon.quiet_hours import QuietClock
from edge.daemon.switch import KEPT_AS, Setting, latest, setting_of
from edge.delivery.embedded import brokers
from edge.delivery.packets import Word
from edge.delivery.past import Retained
from edge.errors import ConfigError, RoomtoneError, UnavailableError
from edge.sound.bandwidth import Bandwidth, narrow
from edge.sound.blocks import BLOCK_S, Block
from edge.sound.faults import REASONS, explain
from edge.sound.level import clipped, level_dbfs
from edge.sound.microphone import Microphone
from edge.voice.payloads import ROOT, Settings, decoded

LISTEN_S = 2.0
_PATIENCE_S, _PATIENCE_WITH_COMMAND_S = 10.0, 20.0  # for the first sound
FAINT_DBFS = -75.0
SPOKEN_DB = 12.0  # so far above the quietest moment is what may have been spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """words: levels and bandwidth. trouble: what is wrong and what helps, empty where all is well."""

    words: str
    trouble: str = ""
    deaf: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Whether people let a microphone be opened: `forbidden` and, in words, what they said."""

    words: str
    forbidden: bool = True
    remedy: str = REASONS["off"].remedy

    @property
    def refusal(self) -> str:
        return f"{self.words}: not opened; --anyway opens it"


@dataclass(slots=True, kw_only=True)
class Told:
    """What brokers say of sensors, by device: their switches, and what holds there. silence: why one says nothing."""

    switches: dict[str, Setting] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)
    silence: str = ""


def told(config: EdgeConfig) -> Told:
    """Ask each broker of the house about this sensor; or the embedded ones of this machine about every sensor on them.

    Where nothing runs that could be an embedded broker, nobody is silent: nobody ever switched anything there.
    """
    found = Told()
    which = "+" if config.mqtt.host == "embedded" else config.device.id
    for mqtt in brokers(config.mqtt):
        try:
            patterns = [f"{ROOT}/{which}/{kind}" for kind in ("listening", "settings")]
            with Retained(mqtt, f"{ROOT}-{config.device.id}-leave") as broker:
                for topic, word in broker.read(patterns).items():
                    _learn(found, topic, word)
                if broker.denied:
                    raise UnavailableError(f"broker {broker.address}: may not be asked ({broker.denied})")
        except RoomtoneError as error:
            found.silence = found.silence or str(error)
    return found


def leave(config: EdgeConfig, told: Told) -> Leave:
    """Return whether a sensor of this configuration would listen, by what is kept here and what brokers told.

    As it does, whoever asks takes a switch that nobody knows of for OFF, where somebody could know.
    """
    path = kept(config, KEPT_AS)
    closed, device = _closed(path), config.device.id
    switch = None if closed else kept_switch(config)
    own = latest(switch and switch.setting, told.switches.get(device))
    setting = own or latest(*told.switches.values())
    if setting is not None and not setting.on:
        since = f" since {datetime.fromisoformat(setting.ts).astimezone():%Y-%m-%d %H:%M}" if setting.ts else ""
        left_by = switch.left_by if switch else None
        other = left_by if own else next(each for each, said in told.switches.items() if said == setting)
        return Leave(words=f"switched off{since}{f', as the sensor {other} of this machine' if other else ''}")
    for clock in _clocks(config, told.settings if own is None else {device: told.settings.get(device)}):
        if clock.quiet(time.time()):
            return Leave(words=f"quiet hours {clock.words}", remedy=REASONS["quiet-hours"].remedy)
    if own is None and closed:
        return Leave(
            words=f"whether it is switched off stands in {path}, which is not for this user", remedy="use sudo"
        )
    if own is None and told.silence:
        return Leave(words=f"whether it is switched off is not known ({told.silence})", remedy="a sensor waits, too")
    return Leave(words="switched on", forbidden=False, remedy="")


def require_leave(config: EdgeConfig, *, anyway: bool) -> None:
    """Raise UnavailableError where no microphone is to be opened; `anyway` people want it all the same."""
    if not anyway and (allowed := leave(config, told(config))).forbidden:
        raise UnavailableError(f"microphone: {allowed.refusal}")


def _clocks(config: EdgeConfig, told: dict[str, Settings | None]) -> Iterator[QuietClock]:
    """Yield the quiet hours that sensors told, and those of here, unless what was set over MQTT wins over them."""
    asked = [settings for settings in told.values() if settings is not None]
    for settings in asked:
        hours = settings.quiet_hours and as_configured(settings.quiet_hours)
        yield QuietClock(hours, over_mqtt="quiet_hours" in settings.set)
    here = None if _closed(kept(config, "settings")) else kept_preferences(config)
    if here is not None and "quiet_hours" in here.names:
        yield here.quiet_clock
    elif not any("quiet_hours" in settings.set for settings in asked):
        yield QuietClock(config.quiet_hours)


def _closed(path: Path | None) -> bool:
    """Return whether what is kept there is not for this user to read."""
    try:
        if path is not None:
            path.open().close()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _learn(found: Told, topic: str, word: Word) -> None:
    """Take what a broker has retained; what makes no sense is nothing."""
    _, device, kind = topic.split("/")
    if kind == "listening" and (setting := setting_of(word)) is not None:
        found.switches[device] = latest(found.switches.get(device), setting)
    elif kind == "settings":
        with suppress(ConfigError, ValueError):
            settings = decoded(word.word, Settings)
            if settings.quiet_hours is not None:
                as_configured(settings.quiet_hours).zone()
            if device not in found.settings or settings.ts > found.settings[device].ts:
                found.settings[device] = settings


def patience_s(audio: Audio) -> float:
    """Return how long to wait for the first sound."""
    return _PATIENCE_S if audio.command is None else _PATIENCE_WITH_COMMAND_S


def listen(audio: Audio) -> Heard:
    """Listen for LISTEN_S; who speaks meanwhile learns up to which frequency the microphone hears."""
    blocks: list[Block] = []
    why = explain("starting")
    deadline_s = time.monotonic() + patience_s(audio)
    with Microphone(replace(audio, give_up_after_s=Audio().give_up_after_s)) as microphone:
        for item in microphone.blocks():
            if isinstance(item, Block):
                blocks.append(item)
            else:
                why = item.detail
            if time.monotonic() > deadline_s or len(blocks) * BLOCK_S >= LISTEN_S:
                break
    return judged(blocks) if blocks else Heard(words="no sound", trouble=why, deaf=True)


def judged(blocks: list[Block]) -> Heard:
    """Return what is to be said of blocks that were heard."""
    levels = [level_dbfs(block.samples) for block in blocks]
    bandwidth = Bandwidth(every=1)
    for block, level in zip(blocks, levels, strict=True):
        if level > max(FAINT_DBFS, min(levels) + SPOKEN_DB):
            bandwidth.add(block.samples)
    up_to = "speak to learn up to which frequency" if bandwidth.hz is None else f"up to {bandwidth.hz:,} Hz"
    seconds = len(blocks) * BLOCK_S
    words = f"{statistics.median(levels):.0f} dBFS, loudest {max(levels):.0f}, in {seconds:.1f} s, {up_to}"
    if all(block.samples.min() == block.samples.max() for block in blocks):
        return Heard(words=words, trouble=explain("constant" if blocks[0].captured[0] else "zeros"))
    if statistics.median(clipped(block.samples, block.offset) for block in blocks) > 0:
        return Heard(words=words, trouble=explain("clipped"))
    if max(levels) < FAINT_DBFS:
        return Heard(words=words, trouble="very faint: turn the capture level up (alsamixer)")
    return Heard(words=words, trouble=narrow(bandwidth.hz) or "")
