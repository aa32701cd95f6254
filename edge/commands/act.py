"""`roomtone watch --exec`: a program is run for what sensors say, with it as JSON on its standard input."""

import argparse
import difflib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from edge.commands.parser import FIELDS
from edge.commands.rooms import Message
from edge.config import EdgeConfig
from edge.daemon.run import model_path
from edge.errors import RoomtoneError, UnavailableError, UsageError, printable
from edge.hearing import mood
from edge.labels import QUIET, UNKNOWN
from edge.model.artifact import read_artifact
from edge.voice.microphone import MICROPHONE
from edge.voice.payloads import Event, State, decoded

MOST_WAITING = 16
TIMEOUT_S = 30.0
_ENDING_S = 2.0
_PAUSES = {"emotion": (QUIET, UNKNOWN), "mood": (QUIET, UNKNOWN, None)}  # what says nothing of a speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be run, and when. on: words that a field of FIELDS may have, by field; empty: with every event.

    for_s: how long in all they must hold before it is run, once. Who speaks pauses: where nobody does, or the model is
    not confident, what held neither goes on nor ends, unless that takes as long. timeout_s: how long it may take.
    """

    command: list[str]
    on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    for_s: float = 0.0
    timeout_s: float = TIMEOUT_S


def wish_of(options: argparse.Namespace) -> Wish | None:
    """Return what `watch` is to run; None for nothing. Raises UsageError where its options make no sense together."""
    on, for_s, timeout_s = dict(options.on), options.for_s, options.timeout
    if options.exec is None:
        needless = "--on" if on else "--for" if for_s is not None else "--timeout" if timeout_s is not None else None
        if needless:
            raise UsageError(f"{needless} belongs to --exec COMMAND, and there is none")
        return None
    if options.once:
        raise UsageError("--once and --exec: what is known now is nothing that happens; leave out one of them")
    if for_s is not None and not on:
        raise UsageError("--for belongs to --on FIELD=WORD, and there is none")
    return Wish(command=options.exec, on=on, for_s=for_s or 0.0, timeout_s=timeout_s or TIMEOUT_S)


def doubts(wish: Wish, config: EdgeConfig) -> Iterator[str]:
    """Yield a line for each word of a wish that no sensor is known to say: another version, or another model, may."""
    known = {"status": {"online", "offline"}, "microphone": set(MICROPHONE)}
    with suppress(RoomtoneError):  # a model that cannot be read is no reason not to watch
        manifest = read_artifact(model_path(config)).manifest
        known["emotion"] = {*manifest.labels, UNKNOWN, QUIET}
        known["mood"] = set(mood.names(manifest.moods))
    for name in known.keys() & wish.on.keys():
        said = sorted(known[name])
        for word in (word for word in wish.on[name] if word not in said):
            near = difflib.get_close_matches(word, said, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it says {', '.join(said) or 'none'}"
            where = " with the model here" if name in ("emotion", "mood") else ""
            yield f"--on {name}={word}: no sensor{where} says that ({hint}); waiting for it all the same"


@dataclass(slots=True)
class _Room:
    """What is known of a device: the newest words by field, and the newest payloads; how long the wish has held."""

    known: dict[str, Any] = field(default_factory=dict)
    state: dict | None = None
    event: dict | None = None
    held_s: float = 0.0  # before holds_since_s
    holds_since_s: float | None = None
    pauses_since_s: float | None = None
    done: bool = False

    def hold(self, now_s: float) -> float:
        """Take it that the wish holds now. Returns how long it has held in all."""
        if self.holds_since_s is None:
            self.holds_since_s, self.pauses_since_s = now_s, None
        return self.held_s + now_s - self.holds_since_s

    def pause(self, now_s: float, most_s: float) -> None:
        """Take it that there is a pause now, which ends what held when it is as long as `most_s`."""
        if self.holds_since_s is not None:
            self.held_s += now_s - self.holds_since_s
            self.holds_since_s, self.pauses_since_s = None, now_s
        if self.pauses_since_s is None or now_s - self.pauses_since_s >= most_s:
            self.end()

    def end(self) -> None:
        self.held_s, self.holds_since_s, self.pauses_since_s, self.done = 0.0, None, None, False


class Act:
    """Hears messages, and has the program run. A context manager. tell: is given a line about each run.

    One runs at a time; MOST_WAITING wait, and beyond that the oldest are dropped, which is said. Raises
    UnavailableError where there is no such program.
    """

    def __init__(self, wish: Wish, tell: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        if shutil.which(wish.command[0]) is None:
            raise UnavailableError(f"--exec {wish.command[0]}: no such program")
        self._wish, self._tell, self._now_s = wish, tell, now_s
        self._rooms: dict[str, _Room] = {}
        self._waiting: queue.Queue[tuple[str, dict] | None] = queue.Queue(MOST_WAITING)
        self._running: subprocess.Popen | None = None
        self._ending = False
        self._worker = threading.Thread(target=self._work, name="exec", daemon=True)
        self._worker.start()

    def hear(self, message: Message | None) -> None:
        """Take a message, or None, now and then, where there is none."""
        if message is not None:
            self._learn(message)
        for device, room in self._rooms.items():
            self._look(device, room)

    def close(self) -> None:
        """Forget what waits, and end what runs."""
        self._ending = True
        self._put(None)
        self._worker.join(_ENDING_S)
        self._end_program()
        self._worker.join(_ENDING_S)

    def __enter__(self) -> "Act":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _learn(self, message: Message) -> None:
        room = self._rooms.setdefault(message.device, _Room(known={"device": message.device}))
        try:
            if message.kind == "status":
                room.known["status"] = message.payload.decode()
            elif message.kind == "state":
                state = decoded(message.payload, State)
                room.state = msgspec.to_builtins(state)
                room.known |= {"emotion": state.emotion, "mood": state.mood, "microphone": state.microphone}
            elif message.kind == "event":
                event = decoded(message.payload, Event)
                room.event = msgspec.to_builtins(event)
                if not event.late:  # what was is not what is
                    room.known |= {"emotion": event.event_type, "mood": event.mood}
                if not self._wish.on:
                    self._run(message.device, room, held_s=0.0)
        except ValueError:
            return

    def _look(self, device: str, room: _Room) -> None:
        wish, now_s = self._wish, self._now_s()
        if not wish.on:
            return
        others = {name: word for name, wanted in wish.on.items() if (word := room.known.get(name)) not in wanted}
        if not others:
            held_s = room.hold(now_s)
            if not room.done and held_s >= wish.for_s:
                room.done = True
                self._run(device, room, held_s=held_s)
        elif all(word in _PAUSES.get(name, ()) for name, word in others.items()):
            room.pause(now_s, wish.for_s)
        else:
            room.end()

    def _run(self, device: str, room: _Room, *, held_s: float) -> None:
        said = {name: room.known.get(name) for name in FIELDS}
        self._put((device, {**said, "held_s": round(held_s, 1), "event": room.event, "state": room.state}))

    def _put(self, what: tuple[str, dict] | None) -> None:
        while True:
            try:
                self._waiting.put_nowait(what)
                return
            except queue.Full:
                with suppress(queue.Empty):
                    dropped = self._waiting.get_nowait()
                    if not self._ending:
                        self._tell(f"{dropped[0]}: dropped: {MOST_WAITING} wait for {self._wish.command[0]}")

    def _work(self) -> None:
        while not self._ending and (what := self._waiting.get()) is not None:
            device, said = what
            began_s = time.monotonic()
            how = self._outcome(json.dumps(said).encode() + b"\n")
            took_s = time.monotonic() - began_s
            self._tell(f"{device}: {said['emotion']}: {self._wish.command[0]} {how} ({took_s:.1f} s)")

    def _outcome(self, said: bytes) -> str:
        """Run the program; return how it ended."""
        try:
            # In a group of its own, so that what it starts ends with it. What it prints is no output of ours.
            self._running = subprocess.Popen(
                self._wish.command, stdin=subprocess.PIPE, stdout=sys.stderr, start_new_session=True
            )
        except OSError as error:
            return f"could not be started ({error.strerror})"
        try:
            self._running.communicate(said, self._wish.timeout_s)
        except subprocess.TimeoutExpired:
            self._end_program()
            self._running.communicate()
            return f"was ended after {self._wish.timeout_s:g} s"
        status = self._running.returncode
        return "done" if status == 0 else f"failed with status {status}" if status > 0 else f"was killed by {-status}"

    def _end_program(self) -> None:
        if self._running is not None and self._running.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)


def told(line: str) -> None:
    """Say a line on standard error."""
    print(printable(line), file=sys.stderr, flush=True)
