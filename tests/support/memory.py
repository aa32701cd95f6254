"""How much memory a process has needed at most, and how much of a processor so far."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def peak_mb(process: int | str = "self") -> float:
    """Return the peak of a living process's own resident memory in MB, since its program began.

    Not `getrusage`: its figure is never less than that of the process that started this one.
    """
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1_024 / 1e6


def cpu_s(*processes: int) -> float:
    """Return the seconds of CPU that living processes have used together."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in processes]
    return sum(int(field[11]) + int(field[12]) for field in fields) / _TICKS
