"""A program and all that it starts, of which nothing is left in the end, even what detached itself.

For the process that is to look after it alone: it becomes the one to which orphans fall (PR_SET_CHILD_SUBREAPER).
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

_ASKED_S = 0.3  # ffmpeg says goodbye to a camera, of which some count who is there
_KILLED_S = 1.0
_POLL_S = 0.01
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)


class Family:
    """Runs a program in a session of its own.

    stdin: a descriptor. stdout, stderr: files of what it writes. ended: it, though perhaps not all that it started.
    Raises OSError where it cannot be started.
    """

    def __init__(self, command: list[str], *, stdin: int) -> None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._program = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=_as_a_child,
        )  # fmt: skip
        self.pid, self.stdout, self.stderr = self._program.pid, self._program.stdout, self._program.stderr
        self.ended, self._gone = threading.Event(), threading.Event()
        self._status = 0
        threading.Thread(target=self._bury, daemon=True).start()

    @property
    def words(self) -> str:
        """How it ended."""
        code = os.waitstatus_to_exitcode(self._status)
        return f"ended with status {code}" if code >= 0 else f"was ended by {_called(-code)}"

    def end(self) -> None:
        """End all of them: by asking, then by force. Takes _ASKED_S and _KILLED_S at most."""
        for number, patience_s in ((signal.SIGTERM, _ASKED_S), (signal.SIGKILL, _KILLED_S)):
            until_s = time.monotonic() + patience_s
            asked: set[int] = set()
            while not self._gone.is_set() and time.monotonic() < until_s:
                for pid in set(_descendants(os.getpid())) - asked:  # what was started meanwhile, too
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
                        os.kill(pid, signal.SIGCONT)  # one that was stopped hears nothing
                    asked.add(pid)
                self._gone.wait(_POLL_S)

    def _bury(self) -> None:
        """Wait for every child, also those that fell to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                self._gone.set()
                return
            if pid == self.pid:
                self._status = status
                self.ended.set()


def _as_a_child() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # which we ourselves may ignore
        signal.signal(number, signal.SIG_DFL)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _called(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):  # it ended meanwhile
                # The name, in brackets, may hold anything.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, ahead = [], [pid]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found
