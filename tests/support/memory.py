"""How much memory a process has needed at most."""

from pathlib import Path


def peak_mb(process: int | str = "self") -> float:
    """Return the peak of a living process's own resident memory in MB, since its program began.

    Not `getrusage`: its figure is never less than that of the process that started this one.
    """
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1_024 / 1e6
