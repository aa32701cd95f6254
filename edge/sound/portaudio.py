"""PortAudio at arm's length, in a process of its own (capture.py): nothing here can hang, and nothing leaks."""

import json
import mmap
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edge.sound.blocks import from_int16

OPENING_S = 10.0  # a slow card on a busy Pi takes seconds; a frozen sound server takes for ever
FIRST_SOUND_S = 4.0  # PulseAudio takes two to wake a source
STALLED_S = 1.5
ENDING_S = 0.5
KILLING_S = 1.0
_READ_BYTES = 1 << 16


class CaptureError(Exception):
    """No sound comes any more: `reason` is a code of edge/sound/faults.py, `detail` words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDevice:
    """An input device: `card_id` is ALSA's (None for one that is no card), `rates_hz` those it was opened at."""

    name: str
    card_id: str | None
    channels: int
    default_rate_hz: int
    rates_hz: list[int] = field(default_factory=list)
    chosen: bool = False


def input_devices(selector: str | None = None) -> tuple[list[InputDevice], CaptureError | None]:
    """Return the input devices, with the one marked that the selector means, and why there is no such one.

    Raises CaptureError if the sound system gives no answer within OPENING_S.
    """
    found: list[InputDevice] = []
    missing: CaptureError | None = None
    with _Process("list", selector) as process:
        deadline_s = time.monotonic() + OPENING_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            messages = process.read(left_s)
            if messages is None:
                ended = CaptureError("host-error", "the listing process ended without a word")
                return found, missing if found or missing else ended
            for message in messages:
                if "devices" in message:
                    found = [InputDevice(**device) for device in message["devices"]]
                else:
                    missing = _lost(message)
    raise CaptureError("stalled", "the sound system did not answer")


class Capture:
    """A microphone that is open or being opened. A context manager.

    name: the device's, None until it is open. rate_hz, channels: what it delivers.
    served: by a sound server, as far as is known.
    dropped_s: sound that was overwritten because nobody read it in time. overflows: times the device itself lost some.
    """

    def __init__(self, selector: str | None, *, served: bool = False) -> None:
        self.name: str | None = None
        self.served = served
        self.rate_hz = self.channels = 0
        self.dropped_s = 0.0
        self.overflows = 0
        self._frames_read = self._frames_heard = 0
        self._heard_at = 0.0
        self._heard_s = time.monotonic()
        self._limit_s = OPENING_S
        self._lost: CaptureError | None = None
        self._ring_fd = os.memfd_create("roomtone-ring", os.MFD_CLOEXEC)
        self._ring: mmap.mmap | None = None
        self._process = _Process("stream", selector, ring_fd=self._ring_fd, served=served)

    def read(self, timeout_s: float) -> np.ndarray | None:
        """Return what has arrived, float32 (n, 1 or 2 channels) at `rate_hz`, or None after `timeout_s` without any.

        Raises CaptureError when there is no device or it ended, and when it has been silent for too long.
        """
        messages = self._process.read(timeout_s)
        if messages is None:
            raise self._lost or CaptureError("host-error", "the capturing process ended")
        for message in messages:
            self._heard_s = time.monotonic()
            if "frames" in message:
                self._frames_heard, self._heard_at = message["frames"], message["at"]
                self.overflows += message["overflow"]
                self._limit_s = STALLED_S
            elif "stream" in message:
                self._opened(message)
            else:
                self._lost = _lost(message)
        if self._unread():
            return self._take()
        if self._lost:
            raise self._lost
        silent_s = time.monotonic() - self._heard_s
        if silent_s > self._limit_s:
            self.kill()
            doing = "no sound" if self.name else "no answer"
            raise CaptureError("stalled", f"{self.name or 'the sound system'} gave {doing} for {silent_s:.1f} s")
        return None

    def time_of(self, sound_s: float) -> float:
        """Return the Unix time at which sample number `sound_s * rate_hz` of those returned so far was captured."""
        return self._heard_at - (self._frames_heard / self.rate_hz - self.dropped_s - sound_s)

    def kill(self) -> None:
        """Close the microphone at once, even a hung one, from any thread; `read` then raises CaptureError."""
        self._process.kill()

    def close(self) -> None:
        """Close the microphone and give everything back. Takes KILLING_S at most."""
        self._process.close()
        if self._ring is not None:
            self._ring.close()
        os.close(self._ring_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, message: dict) -> None:
        self.name, self.served = message["stream"], message["served"]
        self.rate_hz, self.channels = message["rate_hz"], message["channels"]
        self._ring = mmap.mmap(self._ring_fd, 0, prot=mmap.PROT_READ)
        self._limit_s = FIRST_SOUND_S

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


class _Process:
    """The child that runs edge/sound/capture.py, and the JSON lines it says."""

    def __init__(self, verb: str, selector: str | None, *, ring_fd: int | None = None, served: bool = False) -> None:
        behind_server = served or "PULSE_SERVER" in os.environ
        wanted = {"selector": selector, "ring_fd": ring_fd, "behind_server": behind_server}
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        self._child = subprocess.Popen(
            # -P: not from the working folder, whatever lies there.
            [sys.executable, "-P", "-m", "edge.sound.capture", verb, json.dumps(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[] if ring_fd is None else [ring_fd],
            env={**os.environ, "PYTHONPATH": path, "JACK_NO_START_SERVER": "1"},
        )
        self._said = b""

    def read(self, timeout_s: float) -> list[dict] | None:
        """Return what the child has said, perhaps nothing within `timeout_s`; None when it has ended."""
        if not select.select([self._child.stdout], [], [], timeout_s)[0]:
            return []
        data = os.read(self._child.stdout.fileno(), _READ_BYTES)
        *lines, self._said = (self._said + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def kill(self) -> None:
        self._child.kill()
        # One that is stuck inside a driver ends when the driver lets go; Python reaps it then.
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(KILLING_S)

    def close(self) -> None:
        """End the child: by asking, which closes the stream in good order, else by force."""
        self._child.stdin.close()
        try:
            self._child.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lost(message: dict) -> CaptureError:
    return CaptureError(message["fault"], message["detail"])
