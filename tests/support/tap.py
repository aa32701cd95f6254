"""A program that delivers sound, or does not, as a file tells it: what a command as a microphone can do wrong."""

import os
import sys
from pathlib import Path

from tests.support.patience import wait_until

_PROGRAM = r'''#!{python} -SE
import os, random, signal, subprocess, sys, time
folder = {folder!r}
def mode():
    with open(folder + "/mode") as file:
        return file.read()
open(folder + "/pids", "a").write("%d\n" % os.getpid())
said = sys.stdout.buffer
chance = random.Random(0)
piece = b"".join(chance.randrange(-3000, 3000).to_bytes(2, "little", signed=True) for _ in range(320))
began, now, count = mode(), time.monotonic(), 0
while True:
    if began == "rubbish":
        said.write(b"frame=1 fps=25 a log where sound should be\n")
    elif began in ("nothing",):
        time.sleep(1000)
    elif began == "counts":
        said.write(count.to_bytes(2, "little", signed=True) * 320)
        count += 1
    else:
        said.write(piece)
    said.flush()
    what = mode()
    if what == "ends":
        sys.exit("out of film")
    if what == "forks":
        subprocess.Popen(["sleep", "1000"])
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                open(folder + "/pids", "a").write("%d\n" % os.getpid())
                while True:
                    time.sleep(0.01)
                    said.write(piece)
                    said.flush()
            os._exit(0)
        os.wait()
        os._exit(0)
    if what == "floods":
        continue
    if what in ("nothing", "rubbish") and what != began:
        sys.exit("began anew")
    now += 0.02
    time.sleep(max(0.0, now - time.monotonic()))
'''


class Tap:
    """The program at `path`, which does what was last `told`: sounds, ends, forks, floods, rubbish, nothing.

    `counts`, told before it begins: every 20 ms of its sound are one number, from 0 on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.path = folder, folder / "tap"
        self._pids = folder / "pids"
        self._pids.touch()
        self.told("sounds")
        self.path.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
        self.path.chmod(0o700)

    def told(self, mode: str) -> None:
        (self._folder / "mode.new").write_text(mode)
        (self._folder / "mode.new").rename(self._folder / "mode")

    def pid(self) -> int:
        """Return the process of the newest one."""
        return int(self._pids.read_text().split()[-1])

    def signal(self, number: int) -> None:
        os.kill(self.pid(), number)

    def require_nobody(self) -> None:
        """Wait until none of all that were ever started is left."""

        def left() -> list[int]:
            return [pid for pid in map(int, self._pids.read_text().split()) if self._runs(pid)]

        wait_until(lambda: not left(), lambda: f"still there: {left()}")

    def _runs(self, pid: int) -> bool:
        try:
            return str(self.path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
