"""`roomtone devices`: which microphones there are, which one the configuration means, and whether it hears anything."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge.config import Audio
from edge.errors import UnavailableError
from edge.sound.blocks import Block, Fault
from edge.sound.faults import REASONS, explain
from edge.sound.level import SILENCE_DBFS, level_dbfs
from edge.sound.microphone import Microphone
from edge.sound.portaudio import CaptureError, InputDevice, input_devices
from edge.sound.signal_check import SignalCheck

_METER_DBFS = 80.0
_HOLD_BLOCKS = 12  # the loudest of the last second stays visible


def require_device(selector: str | None) -> str:
    """Return the name of the input device that the selector means. Raises UnavailableError if there is none."""
    found, missing = _found(selector)
    if missing:
        raise missing
    return next(device.name for device in found if device.chosen)


def list_devices(selector: str | None, *, live_s: float | None) -> None:
    """Print the input devices, and show the chosen one's level for `live_s` seconds.

    Raises UnavailableError if there is no device, if the selector means none, or if the chosen one gave no sound.
    """
    console = Console()
    found, missing = _found(selector)
    if found:
        console.print(_table(found))
    if missing:
        raise missing
    if live_s is not None:
        _show_level(console, selector, live_s)


def _found(selector: str | None) -> tuple[list[InputDevice], UnavailableError | None]:
    try:
        found, missing = input_devices(selector)
    except CaptureError as error:
        raise _unavailable(error) from error
    return found, _unavailable(missing) if missing else None


def _unavailable(error: CaptureError) -> UnavailableError:
    return UnavailableError(f"microphone: {explain(error.reason, error.detail)}")


def _table(found: list[InputDevice]) -> Table:
    table = Table("", "name", "card id", "channels", "sample rates (kHz)", box=None, pad_edge=False)
    for device in found:
        rates = " ".join(f"{rate_hz / 1000:g}" for rate_hz in device.rates_hz) or "none: busy?"
        table.add_row("→" if device.chosen else "", device.name, device.card_id or "", str(device.channels), rates)
    return table


def _show_level(console: Console, selector: str | None, seconds: float) -> None:
    check = SignalCheck()
    recent = [SILENCE_DBFS]
    heard = False
    fault: Fault | None = None
    with Microphone(Audio(microphone=selector)) as microphone, Live(console=console, auto_refresh=False) as live:
        until_s = time.monotonic() + seconds
        for item in microphone.blocks():
            if isinstance(item, Block):
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
