"""A model that came from a broker, judged and installed at arm's length: in a process of its own.

It does what `roomtone model install` does, by the same code, but for what a configuration may allow there: here a
signature is wanted, and nothing older is taken. Whatever a file does to those who read it, the sensor hears on.
"""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from edge.config import ModelStore
from edge.errors import ArtifactError, RoomtoneError
from edge.model.artifact import unpack
from edge.model.record import Entry, entry_of
from edge.model.store import Store
from edge.voice.models import Result

_LONGEST_S = 120.0
_WENT_BACK = "the sensor went back from it before"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with a model. running: the digest of the one that runs. insist: somebody wants this very one,
    also where the sensor went back from it."""

    folder: str
    trusted_keys: tuple[str, ...]
    running: str
    install: bool
    insist: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a model: its entry, where it could be read that far, and why in words, where it was refused.

    result: `trying` where it was installed, to be tried. passing: it is no fault of the model, and worth another try.
    """

    result: Result
    entry: Entry | None = None
    reason: str | None = None
    passing: bool = False


def judge(asked: Asked, data: bytes) -> Verdict:
    """Have a process judge a file's content, and install it where that is asked for. Takes a second or two."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    told = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__], input=msgspec.json.encode(asked) + b"\n" + data,
            stdout=subprocess.PIPE, timeout=_LONGEST_S, env={**told, "PYTHONPATH": path},
        )  # fmt: skip
        return msgspec.json.decode(done.stdout, type=Verdict)
    except subprocess.TimeoutExpired:
        return Verdict(result="refused", reason=f"not verified within {_LONGEST_S:.0f} s")
    except OSError as error:
        return Verdict(result="refused", reason=f"no process to verify it ({error.strerror})", passing=True)
    except msgspec.DecodeError:
        return Verdict(result="refused", reason=f"the process that verified it ended with status {done.returncode}")


def _judged(asked: Asked, data: bytes) -> Verdict:
    store = Store(Path(asked.folder), ModelStore(trusted_keys=asked.trusted_keys))
    entry = None
    try:
        entry = entry_of(unpack(data))
        store.examine(data)
        record = store.read()
        if entry.digest == asked.running:
            return Verdict(result="installed", entry=entry)
        if not asked.insist and record.rejected is not None and record.rejected.entry == entry:
            return Verdict(result="went-back", entry=entry, reason=record.rejected.reason)
        if not asked.insist and record.previous == entry:
            return Verdict(result="went-back", entry=entry, reason=_WENT_BACK)
        if not asked.install:
            return Verdict(result="offered", entry=entry)
        return Verdict(result="trying", entry=store.take(data))
    except RoomtoneError as error:
        return Verdict(result="refused", entry=entry, reason=str(error), passing=not isinstance(error, ArtifactError))


if __name__ == "__main__":
    _asked, _data = sys.stdin.buffer.read().split(b"\n", 1)
    sys.stdout.buffer.write(msgspec.json.encode(_judged(msgspec.json.decode(_asked, type=Asked), _data)))
