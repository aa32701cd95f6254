"""A moment's listening: whether it is allowed, whether sound comes, and whether it is worth anything."""

import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from edge.config import Audio, EdgeConfig
from edge.daemon.kept import kept, kept_preferences
from edge.daemon.quiet_hours import QuietClock
from edge.daemon.switch import Setting, Switch, latest, setting_of
from edge.delivery.past import Retained
from edge.errors import RoomtoneError, UnavailableError
from edge.sound.bandwidth import Bandwidth, narrow
from edge.sound.blocks import BLOCK_S, Block
from edge.sound.faults import explain
from edge.sound.level import clipped, level_dbfs
from edge.sound.microphone import Microphone
from edge.voice.payloads import ROOT

LISTEN_S = 2.0
PATIENCE_S, PATIENCE_WITH_COMMAND_S = 10.0, 20.0  # for the first sound
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
    remedy: str = "switch listening on"

    @property
    def refusal(self) -> str:
        return f"{self.words}: not opened; --anyway opens it"


def leave(config: EdgeConfig, *, ask: bool) -> Leave:
    """Return what a sensor of this configuration goes by: its switch and its quiet hours, both as it keeps them.

    ask: also what its broker has retained of the switch; without a broker, what is kept here counts alone.
    """
    path = kept(config, "listening")
    closed = _closed(path)
    setting = latest(None if closed else Switch(path).setting, _retained(config) if ask else None)
    if setting is not None and not setting.on:
        since = f" since {datetime.fromisoformat(setting.ts).astimezone():%Y-%m-%d %H:%M}" if setting.ts else ""
        return Leave(words=f"switched off{since}")
    own = _closed(kept(config, "settings"))
    hours = config.quiet_hours if own else kept_preferences(config).config.quiet_hours
    if QuietClock(hours).quiet(time.time()):
        words = f"quiet hours until {hours.end} {hours.time_zone}"
        return Leave(words=words, remedy="wait for their end, or change edge.quiet_hours")
    if setting is None and closed:
        return Leave(
            words=f"whether it is switched off stands in {path}, which is not for this user", remedy="use sudo"
        )
    return Leave(words="switched on", forbidden=False, remedy="")


def require_leave(config: EdgeConfig, *, anyway: bool) -> None:
    """Raise UnavailableError where no microphone is to be opened; `anyway` people want it all the same."""
    if not anyway and (allowed := leave(config, ask=True)).forbidden:
        raise UnavailableError(f"microphone: {allowed.refusal}")


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


def _retained(config: EdgeConfig) -> Setting | None:
    """Return what the broker says of the switch; None where there is none to ask, which others tell."""
    if config.mqtt.host == "embedded":  # it keeps nothing that the state folder does not
        return None
    device = f"{ROOT}/{config.device.id}"
    with suppress(RoomtoneError), Retained(config.mqtt, f"{ROOT}-{config.device.id}-leave") as broker:
        return setting_of(broker.read([f"{device}/listening"]).get(f"{device}/listening"))
    return None


def listen(audio: Audio) -> Heard:
    """Listen for LISTEN_S; who speaks meanwhile learns up to which frequency the microphone hears."""
    blocks: list[Block] = []
    why = explain("starting")
    deadline_s = time.monotonic() + (PATIENCE_S if audio.command is None else PATIENCE_WITH_COMMAND_S)
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
