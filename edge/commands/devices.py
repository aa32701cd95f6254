"""`roomtone devices`: which microphones there are, which one the configuration means, and whether it hears anything."""

import shutil
import time
from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge.commands.ear import patience_s, require_leave
from edge.config import PASSWORD, Audio, EdgeConfig
from edge.errors import UnavailableError
from edge.sound.blocks import Block, Fault
from edge.sound.child import CaptureError
from edge.sound.command.program import password
from edge.sound.faults import REASONS, explain
from edge.sound.level import SILENCE_DBFS, level_dbfs
from edge.sound.microphone import Microphone
from edge.sound.portaudio.device import InputDevice, input_devices
from edge.sound.signal_check import SignalCheck

_NONE = ("this machine has none{}: plug one in, start the sound server that has one, or have a program deliver "
         "the sound (edge.audio.command)")  # fmt: skip
_METER_DBFS = 80.0
_HOLD_BLOCKS = 12  # the loudest of the last second stays visible


def require_source(audio: Audio) -> str:
    """Return the name of the input device, or of the program, that is meant. Raises UnavailableError if there is none,
    and ConfigError for a password that cannot be read."""
    if audio.command is not None:
        password(audio)
        if (program := shutil.which(audio.command[0])) is None:
            raise UnavailableError(f"microphone: {explain('not-started', f'{audio.command[0]}: no such program')}")
        return f"the command {program}"
    found, missing = _found(audio.microphone)
    if missing:
        raise missing
    return next(device.name for device in found if device.chosen)


def exposed(audio: Audio) -> str:
    """Return in words that everybody on this machine may read the password of the command; empty where nobody may."""
    shown = any(PASSWORD in part for part in audio.command or ())
    return ", whose password stands in the list of processes" if shown else ""


def list_devices(config: EdgeConfig, *, live_s: float | None, anyway: bool = False) -> None:
    """Print the input devices, and show the level of the chosen one, or of the command, for `live_s` seconds.

    Raises UnavailableError if there is no device, if the selector means none, if the chosen one gave no sound, or if
    listening is switched off (`anyway` opens it all the same).
    """
    audio, console = config.audio, Console()
    found, missing = _found(audio.microphone)
    if audio.command is not None:
        found, missing = [replace(device, chosen=False) for device in found], None
    if found:
        console.print(_table(found))
    if missing:
        raise missing
    if audio.command is not None:
        console.print(f"→ {require_source(audio)} (edge.audio.command)", markup=False, highlight=False)
    if live_s is not None:
        require_leave(config, anyway=anyway)
        _show_level(console, audio, live_s)


def _found(selector: str | None) -> tuple[list[InputDevice], UnavailableError | None]:
    try:
        found, missing = input_devices(selector)
    except CaptureError as error:
        raise _unavailable(error) from error
    if missing and missing.reason == "absent" and not found:
        wanted = "" if selector is None else f", and so none with {selector!r} in its name"
        return found, UnavailableError(f"microphone: {_NONE.format(wanted)}")
    return found, _unavailable(missing) if missing else None


def _unavailable(error: CaptureError) -> UnavailableError:
    return UnavailableError(f"microphone: {explain(error.reason, error.detail)}")


def _table(found: list[InputDevice]) -> Table:
    table = Table("", "name", "card id", "channels", "sample rates (kHz)", box=None, pad_edge=False)
    for device in found:
        rates = " ".join(f"{rate_hz / 1000:g}" for rate_hz in device.rates_hz) or "none: busy?"
        table.add_row("→" if device.chosen else "", device.name, device.card_id or "", str(device.channels), rates)
    return table


def _show_level(console: Console, audio: Audio, seconds: float) -> None:
    check = SignalCheck()
    recent = [SILENCE_DBFS]
    heard = False
    fault: Fault | None = None
    with Microphone(audio) as microphone, Live(console=console, auto_refresh=False) as live:
        until_s = time.monotonic() + max(seconds, patience_s(audio))
        for item in microphone.blocks():
            if isinstance(item, Block):
                if not heard:
                    until_s = time.monotonic() + seconds  # of sound: a microphone takes its time to answer
                heard, fault = True, None
                recent = [*recent[-_HOLD_BLOCKS:], level_dbfs(item.samples)]
                live.update(_meter(recent, check.process(item)), refresh=True)
            else:
                fault = item
                check.reset()
                live.update(Text(item.detail), refresh=True)
            if time.monotonic() >= until_s:
                break
    if not heard:
        raise UnavailableError(f"microphone: {fault.detail if fault else explain('stalled')}")


def _meter(recent_dbfs: list[float], reason: str | None) -> Group:
    bar = ProgressBar(total=_METER_DBFS, completed=max(0.0, _METER_DBFS + recent_dbfs[-1]), width=50)
    line = Table.grid(padding=(0, 1))
    line.add_row(bar, f"{recent_dbfs[-1]:6.1f} dBFS, loudest {max(recent_dbfs):6.1f}")
    return Group(line, Text(f"{REASONS[reason].words}: {REASONS[reason].remedy}" if reason else ""))
