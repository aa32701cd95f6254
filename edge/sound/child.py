"""What captures sound, at arm's length: a process of its own that says JSON lines and fills a ring in shared memory.

So nothing here can hang, and nothing leaks, whatever a sound library or a program of somebody else's does.
"""

import json
import mmap
import os
import select
import subprocess
import sys
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from edge.sound.blocks import from_int16

KILLING_S = 1.0
_READ_BYTES = 1 << 16


class CaptureError(Exception):
    """No sound comes any more: `reason` is a code of edge/sound/faults.py, `detail` words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def lost(message: dict) -> CaptureError:
    """Return what a child's `fault` says."""
    return CaptureError(message["fault"], message["detail"])


class Closing(AbstractContextManager):
    """What is closed where its `with` ends, whatever happened in it."""

    def close(self) -> None:
        """Give everything back."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Child(Closing):
    """A process that runs a module of ours, and the JSON lines it says. A context manager.

    wanted: what it is told, as the first line of its standard input, whose end asks it to end. ending_s: how long it
    may take for that. tidy: it has something to end itself, and is asked also where the haste is great.
    """

    def __init__(
        self, module: str, wanted: dict, *, pass_fds: tuple[int, ...] = (), ending_s: float, tidy: bool = False
    ) -> None:
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        self._ending_s, self._tidy = ending_s, tidy
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],  # -P: not from the working folder, whatever lies there
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONPATH": path, "JACK_NO_START_SERVER": "1"},
        )
        with suppress(BrokenPipeError):  # its end is seen when it is read
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()
        self._said = b""

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than it should."""
        return bool(self._process.returncode)

    def read(self, timeout_s: float) -> list[dict] | None:
        """Return what the child has said, perhaps nothing within `timeout_s`; None when it has ended."""
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            return []
        data = os.read(self._process.stdout.fileno(), _READ_BYTES)
        *lines, self._said = (self._said + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def kill(self) -> None:
        """End it at once, from any thread."""
        if self._tidy and self._asked():
            return
        self._process.kill()
        # One that is stuck inside a driver ends when the driver lets go; Python reaps it then.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILLING_S)

    def close(self) -> None:
        """End it: by asking, which closes all in good order, else by force."""
        if not self._asked():
            self.kill()
        self._process.stdout.close()

    def _asked(self) -> bool:
        """Ask it to end; return whether it did."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(self._ending_s)
        except subprocess.TimeoutExpired:
            return False
        return True


class Capture(Closing):
    """A source of sound that is open or being opened, in a child of its own. A context manager.

    name: what it is called, None until it is open. rate_hz, channels: what it delivers.
    served: by a sound server, as far as is known.
    dropped_s: sound that was overwritten because nobody read it in time. overflows: times the device itself lost some.

    A subclass says how long may pass without a word (`OPENING_S`, `FIRST_SOUND_S`), and without sound (`STALLED_S`).
    """

    OPENING_S: float
    FIRST_SOUND_S: float
    STALLED_S: float

    def __init__(self, *, called: str, served: bool = False) -> None:
        self.name: str | None = None
        self.served = served
        self.rate_hz = self.channels = 0
        self.dropped_s = 0.0
        self.overflows = 0
        self._called = called
        self._frames_read = self._frames_heard = 0
        self._heard_at = 0.0
        self._heard_s = time.monotonic()
        self._limit_s = self.OPENING_S
        self._lost: CaptureError | None = None
        self._ring_fd = os.memfd_create("roomtone-ring", os.MFD_CLOEXEC)
        self._ring: mmap.mmap | None = None
        try:
            self._child = self._begin(self._ring_fd)
        except BaseException:
            os.close(self._ring_fd)
            raise

    def _begin(self, ring_fd: int) -> Child:
        """Start the child that fills the ring."""
        raise NotImplementedError

    @property
    def overdue(self) -> str:
        """In words that it should have delivered something by now, though it is still waited for; else empty."""
        return ""

    def read(self, timeout_s: float) -> np.ndarray | None:
        """Return what has arrived, float32 (n, 1 or 2 channels) at `rate_hz`, or None after `timeout_s` without any.

        Raises CaptureError when there is no device or it ended, and when it has been silent for too long.
        """
        messages = self._child.read(timeout_s)
        if messages is None:
            raise self._lost or CaptureError("host-error", "the capturing process ended")
        for message in messages:
            self._hear(message)
        if self._unread():
            return self._take()
        if self._lost:
            raise self._lost
        if (silent_s := self.silent_s) > self._limit_s:
            self.kill()
            doing = "no sound" if self.name else "no answer"
            raise CaptureError("stalled", f"{self.name or self._called} gave {doing} for {silent_s:.1f} s")
        return None

    @property
    def silent_s(self) -> float:
        """Seconds since the child's last word."""
        return time.monotonic() - self._heard_s

    def time_of(self, sound_s: float) -> float:
        """Return the Unix time at which sample number `sound_s * rate_hz` of those returned so far was captured."""
        return self._heard_at - (self._frames_heard / self.rate_hz - self.dropped_s - sound_s)

    def kill(self) -> None:
        """Close it at once, even where it hangs, from any thread; `read` then raises CaptureError."""
        self._child.kill()

    def close(self) -> None:
        """Close it and give everything back, soon."""
        self._child.close()
        if self._ring is not None:
            self._ring.close()
        os.close(self._ring_fd)

    def _hear(self, message: dict) -> None:
        """Take a line that the child said."""
        self._heard_s = time.monotonic()
        if "frames" in message:
            self._frames_heard, self._heard_at = message["frames"], message["at"]
            self.overflows += message["overflow"]
            self._limit_s = self.STALLED_S
        elif "stream" in message:
            self._opened(message)
        else:
            self._lost = lost(message)

    def _opened(self, message: dict) -> None:
        self.name, self.served = message["stream"], message["served"]
        self.rate_hz, self.channels = message["rate_hz"], message["channels"]
        self._ring = mmap.mmap(self._ring_fd, 0, prot=mmap.PROT_READ)
        self._limit_s = self.FIRST_SOUND_S

    def _unread(self) -> int:
        return self._frames_heard - self._frames_read

    def _take(self) -> np.ndarray:
        frame_bytes = 2 * self.channels
        # Half of the ring at most, so that what is being read is not being overwritten.
        too_old = self._unread() - len(self._ring) // frame_bytes // 2
        if too_old > 0:
            self._frames_read += too_old
            self.dropped_s += too_old / self.rate_hz
        start, size = self._frames_read * frame_bytes % len(self._ring), self._unread() * frame_bytes
        data = self._ring[start : start + size]
        data += self._ring[: size - len(data)]
        self._frames_read = self._frames_heard
        frames = from_int16(np.frombuffer(data, dtype=np.int16).reshape(-1, self.channels))
        # Channels beyond the second are often no microphones (a loopback of what is played).
        return frames[:, :2]
