"""The process that keeps a command which delivers sound, for program.py: `python -m edge.sound.command.keeper`.

The first line of standard input is JSON: `command`, `input` (what the command finds on its standard input), `hidden`
(words that nobody may read), `rate_hz`, `channels`, `format`, and `ring_fd`. What happens is said as JSON lines on
standard output: `started` (the command's process), then, as edge/sound/portaudio/capture.py has it, `stream`, `frames`
with `at`, and at last `fault`.

Ends when standard input does, and with it the command and all that it started. So nothing outlives the sensor.
"""

import json
import mmap
import os
import signal
import sys
import threading
import time
from pathlib import Path

from edge.errors import RoomtoneError
from edge.sound.command.family import Family
from edge.sound.command.samples import Pcm, Sound, StrangeError, sound_of
from edge.sound.tape import Passing

RING_S = 12.0
AHEAD_S = 10.0  # of the clock: what a network held up may come at once, and a server may begin in the past
_LEAK = 1.1  # of AHEAD_S, in seconds per second: no crystal is so fast
_PIECE_S = 0.01  # what comes in smaller pieces is taken together
_LAST_BYTES = 4_096
_LAST_LINES, _LAST_LETTERS = 3, 400
_ENDING_S = 0.5  # for a command that closed its output
_STAY_S = 0.25  # for what it wrote before its end
_HIDDEN = "***"


class _EndError(Exception):
    """No more sound is wanted: a reason code and words."""


class Keeper:
    """Runs the command until it ends, or delivers what is no sound. `run` returns why: a reason code and words.

    Raises OSError or ValueError where it cannot be started.
    """

    def __init__(self, wanted: dict) -> None:
        self._wanted = wanted
        self._called = Path(wanted["command"][0]).name
        self._frames = 0
        self._last = b""
        self._ended_s: float | None = None
        self._family = Family(wanted["command"], stdin=_readable(wanted["input"]))
        say(started=self._family.pid, name=self._called)

    def run(self) -> tuple[str, str]:
        listener = threading.Thread(target=self._keep_last_words, daemon=True)
        listener.start()
        try:
            for sound in sound_of(Passing(self._family.stdout.fileno(), self._over), self._pcm, self._remember):
                self._hand_on(sound)
            reason, words = "ended", self._how()
        except StrangeError as strange:
            reason, words = "not-sound", f"{self._called}: {strange}"
        except RoomtoneError as damaged:
            cut = self._family.ended.wait(_ENDING_S)
            reason, words = ("ended", self._how()) if cut else ("not-sound", f"{self._called}: {damaged}")
        except _EndError as ended:
            reason, words = ended.args
        self._family.end()
        listener.join(_ENDING_S)  # until the last of them let go of it
        return reason, f"{words}{self._last_words()}"

    @property
    def _pcm(self) -> Pcm:
        return Pcm(*(self._wanted[name] for name in Pcm._fields))

    def end(self) -> None:
        """End the command and all that it started. From any thread."""
        self._family.end()

    def _hand_on(self, sound: Sound) -> None:
        """Put a sound into the ring as it comes."""
        frame_bytes = 2 * sound.channels
        ring_fd = self._wanted["ring_fd"]
        os.ftruncate(ring_fd, round(RING_S * sound.rate_hz) * frame_bytes)
        ring = mmap.mmap(ring_fd, 0)
        say(stream=self._called, rate_hz=sound.rate_hz, channels=sound.channels, served=False)
        ahead_s, last_s = 0.0, time.monotonic()
        for piece in sound.pieces:
            at, now_s = time.time(), time.monotonic()
            came_s = len(piece) / frame_bytes / sound.rate_hz
            ahead_s, last_s = max(0.0, ahead_s - _LEAK * (now_s - last_s)) + came_s, now_s
            for begin in range(0, len(piece), len(ring)):
                part = piece[begin : begin + len(ring)]
                start = self._frames * frame_bytes % len(ring)
                first = min(len(part), len(ring) - start)
                ring[start : start + first] = part[:first]
                ring[: len(part) - first] = part[first:]
                self._frames += len(part) // frame_bytes
            say(frames=self._frames, at=at, overflow=False)
            if ahead_s > AHEAD_S:
                raise _EndError("flooding", f"{self._called}: {ahead_s:.0f} s of sound more than time passed")
            if came_s < _PIECE_S:
                time.sleep(_PIECE_S)

    def _over(self) -> bool:
        """Whether the command ended, and what it wrote has been heard."""
        if not self._family.ended.is_set():
            return False
        self._ended_s = self._ended_s or time.monotonic()
        return time.monotonic() - self._ended_s > _STAY_S

    def _how(self) -> str:
        ended = self._family.ended.wait(_ENDING_S)
        return f"{self._called} {self._family.words if ended else 'closed its output'}"

    def _keep_last_words(self) -> None:
        while said := os.read(self._family.stderr.fileno(), _LAST_BYTES):
            self._last = (self._last + said)[-_LAST_BYTES:]

    def _remember(self, remark: str) -> None:
        self._last += b"\n" + remark.encode() + b"\n"

    def _last_words(self) -> str:
        text = self._last.decode(errors="replace")
        for word in self._wanted["hidden"]:
            text = text.replace(word, _HIDDEN)
        lines = [line.strip() for line in text.splitlines()]
        said = " / ".join([line for line in lines if line][-_LAST_LINES:])
        return f": {said[-_LAST_LETTERS:]}" if said else ""


def say(**message: object) -> None:
    """Write one JSON line, or, where the sensor has not read for minutes, none: the next tells it how much there is."""
    try:
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")
    except BlockingIOError:
        if "frames" not in message:
            os.set_blocking(sys.stdout.fileno(), True)
            os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def _readable(text: str | None) -> int:
    """Return a descriptor of what the command is to find on its standard input."""
    if text is None:
        return os.open(os.devnull, os.O_RDONLY)
    held = os.memfd_create("roomtone-input")  # no pipe, which somebody would have to fill
    os.write(held, text.encode())
    os.lseek(held, 0, os.SEEK_SET)
    return held


def main() -> None:
    wanted = json.loads(sys.stdin.buffer.readline())
    # The sensor ends this process when it has heard the signal itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _forget_ours()
    os.set_blocking(sys.stdout.fileno(), False)
    try:
        keeper = Keeper(wanted)
    except (OSError, ValueError) as error:
        called = Path(wanted["command"][0]).name
        say(fault="not-started", detail=f"{called}: {getattr(error, 'strerror', None) or error}")
        os._exit(0)

    def watch_parent() -> None:
        sys.stdin.buffer.read()
        keeper.end()
        os._exit(0)

    threading.Thread(target=watch_parent, daemon=True).start()
    try:
        reason, detail = keeper.run()
        say(fault=reason, detail=detail)
    except Exception as error:
        keeper.end()
        say(fault="host-error", detail=f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _forget_ours() -> None:
    """Take out of the environment what is meant for the sensor."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JACK_NO_START_SERVER"):
        os.environ.pop(name, None)
    _, _, theirs = os.environ.pop("PYTHONPATH", "").partition(os.pathsep)  # ours comes first (edge/sound/child.py)
    if theirs:
        os.environ["PYTHONPATH"] = theirs


if __name__ == "__main__":
    main()
