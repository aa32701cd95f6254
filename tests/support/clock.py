"""A program whose wall clock is wrong, by as much as a test says at the moment."""

import subprocess
from pathlib import Path

from tests.support.system import require_program

_SOURCE = Path(__file__).with_name("stepping_clock.c")


def stepping_clock(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a file with the seconds by which a program's wall clock is off, and the environment that makes it so."""
    compiler = require_program("cc", "gcc")
    library, offset = folder / "stepping_clock.so", folder / "offset"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    offset.write_text("0")
    return offset, {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
