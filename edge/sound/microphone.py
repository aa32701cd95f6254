"""A microphone's life, whatever it is: opened, lost, waited for, found again; never silent about its silence."""

import random
import time
from collections.abc import Iterator
from itertools import chain
from threading import Event

import numpy as np

from edge.config import Audio
from edge.errors import UnavailableError
from edge.sound.blocks import BLOCK_S, Block, Fault, resample, steady_blocks
from edge.sound.channels import Downmix
from edge.sound.child import Capture, CaptureError, Closing
from edge.sound.command.program import CommandCapture
from edge.sound.faults import explain
from edge.sound.portaudio.device import DeviceCapture

FAULT_EVERY_S = 1.0
POLL_S = 0.25
# Short, so that sound flows within 5 s of a device's return: PulseAudio alone takes two to wake a source.
RETRY_S, RETRY_AT_MOST_S = 0.25, 1.5
JITTER = 0.25
STEADY_S = 5.0  # what ends sooner is not begun again at once


class Microphone(Closing):
    """A source of sound from the configured microphone. A context manager.

    `hold`, `resume`, `reopen` and `close` may come from any thread, or from between two blocks.
    device: the name of the open device, else None. dropped_blocks: lost because nobody took them in time.
    overflows: times the device itself lost sound.
    """

    def __init__(self, settings: Audio) -> None:
        self._settings = settings
        self._capture: Capture | None = None
        self._held = self._closed = False
        self._interrupted = Event()
        self._reason, self._detail = "starting", ""
        self._reported, self._reported_s = "starting", time.monotonic()
        self._heard_s = time.monotonic()
        self._blocks = 0
        self._dropped_s = 0.0
        self._overflows = 0
        self._served = False

    @property
    def device(self) -> str | None:
        capture = self._capture
        return capture.name if capture else None

    @property
    def dropped_blocks(self) -> int:
        capture = self._capture
        return round((self._dropped_s + (capture.dropped_s if capture else 0.0)) / BLOCK_S)

    @property
    def overflows(self) -> int:
        capture = self._capture
        return self._overflows + (capture.overflows if capture else 0)

    def blocks(self) -> Iterator[Block | Fault]:
        """Yield sound as it comes; while there is none a Fault, at once when its reason is new, then every second.

        Every gap is marked by a Fault, however short. `end_s` counts the sound that was delivered: it stands still in a
        gap. Ends after `close`. Raises UnavailableError when no sound has come for `give_up_after_s`, so that whoever
        supervises the sensor starts it afresh.
        """
        failures = 0
        self._heard_s = time.monotonic()
        while True:
            self._interrupted.clear()
            if self._closed:
                return
            if self._held:
                self._silent("starting")  # why it is held, and whether it still is, only those know who hold it
                self._heard_s = time.monotonic()
                yield from self._pause(FAULT_EVERY_S)
                continue
            yield from self._due_fault()
            before, began_s = self._blocks, time.monotonic()
            try:
                yield from self._listen()
            except CaptureError as lost:
                if not self._interrupted.is_set():
                    self._silent(lost.reason, lost.detail)
            if self._interrupted.is_set():
                self._silent("starting")
                continue
            flowed = self._blocks > before and time.monotonic() - began_s > STEADY_S
            failures = 0 if flowed else failures + 1
            yield from self._pause(min(RETRY_S * 2**failures, RETRY_AT_MOST_S) * random.uniform(1 - JITTER, 1 + JITTER))

    def hold(self) -> None:
        """Close the microphone, at once, until `resume`."""
        self._held, self._reported = True, None
        self._interrupt()

    def resume(self) -> None:
        """Open the microphone again after `hold`."""
        self._held, self._reported = False, None
        self._interrupted.set()

    def reopen(self) -> None:
        """Close the microphone and open it anew, which may cure one that delivers zeros or a constant."""
        self._interrupt()

    def close(self) -> None:
        """Close the microphone for good."""
        self._closed = True
        self._interrupt()

    def _interrupt(self) -> None:
        self._interrupted.set()
        if capture := self._capture:
            capture.kill()

    def _open(self) -> Capture:
        if self._settings.command is not None:
            return CommandCapture(self._settings)
        return DeviceCapture(self._settings.microphone, served=self._served)

    def _listen(self) -> Iterator[Block | Fault]:
        """Open the device and yield its sound until interrupted. Raises CaptureError."""
        with self._open() as capture:
            self._capture = capture
            try:
                while (first := capture.read(POLL_S)) is None:
                    if overdue := capture.overdue:
                        self._silent("stalled", overdue)
                    yield from self._due_fault()
                    if self._interrupted.is_set():
                        return
                self._reason = self._reported = None
                self._served = capture.served
                mono = Downmix(capture.rate_hz).chunks(chain((first,), self._chunks(capture)))
                chunks = resample(mono, capture.rate_hz)
                for number, (samples, offset) in enumerate(steady_blocks(chunks), start=1):
                    self._heard_s = time.monotonic()
                    self._blocks += 1
                    captured_at = capture.time_of(number * BLOCK_S)
                    yield Block(samples=samples, end_s=self._blocks * BLOCK_S, captured_at=captured_at, offset=offset)
                    if self._interrupted.is_set():
                        return
            finally:
                self._capture = None
                self._dropped_s += capture.dropped_s
                self._overflows += capture.overflows

    def _chunks(self, capture: Capture) -> Iterator[np.ndarray]:
        while not self._interrupted.is_set():
            chunk = capture.read(POLL_S)
            if chunk is not None:
                yield chunk

    def _silent(self, reason: str, detail: str = "") -> None:
        self._reason, self._detail = reason, detail

    def _pause(self, seconds: float) -> Iterator[Fault]:
        """Wait, unless interrupted, and yield the Faults that are due meanwhile."""
        until_s = time.monotonic() + seconds
        yield from self._due_fault()
        while (left_s := until_s - time.monotonic()) > 0 and not self._interrupted.wait(min(left_s, FAULT_EVERY_S)):
            yield from self._due_fault()

    def _due_fault(self) -> Iterator[Fault]:
        now_s = time.monotonic()
        silent_s = now_s - self._heard_s
        if silent_s > self._settings.give_up_after_s:
            raise UnavailableError(f"microphone: no sound for {silent_s:.0f} s: {explain(self._reason, self._detail)}")
        if self._reason != self._reported or now_s - self._reported_s >= FAULT_EVERY_S:
            self._reported, self._reported_s = self._reason, now_s
            yield Fault(reason=self._reason, detail=explain(self._reason, self._detail))
