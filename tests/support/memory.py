"""How much memory this process has needed at most."""

from pathlib import Path


def peak_mb() -> float:
    """Return the peak of the resident memory in MB since the program began.

    Not `getrusage`: its figure is never less than that of the process that started this one.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e3
