"""From observations to messages: what is published, and how often; and what commands change."""

import logging
import queue
import time
from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from edge.config import EdgeConfig
from edge.daemon.health import HealthMeter
from edge.daemon.messages import Messages
from edge.daemon.permission import Permission
from edge.daemon.preferences import Preferences
from edge.daemon.teaching import Teaching
from edge.daemon.tuning import Tuning
from edge.delivery.brokers.first import Came, Command
from edge.delivery.link import Link
from edge.delivery.packets import Word
from edge.hearing.decision import Change
from edge.hearing.observation import NOTHING_YET
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET
from edge.sound.bandwidth import Bandwidth
from edge.sound.blocks import BLOCK_S, Block, Fault
from edge.sound.faults import explain
from edge.sound.signal_check import SignalCheck
from edge.voice.payloads import Event, Microphone
from edge.voice.sequence import Sequence

log = logging.getLogger("roomtone")

SPEAKING_INTERVAL_S = 1.0
_LOOK_EVERY_S = 0.25  # to look costs as much as to hear a block of a quiet room
REOPEN_S = 300.0  # a microphone that delivers nothing of worth is opened anew this often


class Sensor:
    """Feeds a pipeline and speaks for it on a link. on_event: sees every event as it is published. commands: what obeys
    beside the sensor itself, by topic."""

    def __init__(
        self,
        pipeline: Pipeline,
        link: Link,
        model_id: str,
        config: EdgeConfig,
        *,
        permission: Permission | None = None,
        preferences: Preferences | None = None,
        sequence: Sequence | None = None,
        dropped_blocks: Callable[[], int] = lambda: 0,
        reopen: Callable[[], None] = lambda: None,
        on_event: Callable[[Event], None] | None = None,
        teaching: Teaching | None = None,
        commands: Mapping[str, Command] | None = None,
    ) -> None:
        self._pipeline, self._link = pipeline, link
        self._dropped_blocks, self._on_event = dropped_blocks, on_event or (lambda event: None)
        self._meter = HealthMeter()
        self._health_interval_s, self._health_due_s = config.health_interval_s, time.monotonic()
        preferences = preferences or Preferences(None, config)
        self._permission = permission or Permission(None, None, preferences.quiet_clock)
        self._tuning = Tuning(preferences, pipeline, self._permission, partial(link.retain, "settings"))
        self._teaching = teaching or Teaching(None, model_id=model_id, labels=pipeline.labels)
        self._teaching.publish = partial(link.retain, "lessons")
        self._others = {"settings/set": self._tuning.obey, **self._teaching.commands, **(commands or {})}
        self._messages = Messages(pipeline, model_id, sequence or Sequence())
        self._timeline = self._messages.timeline
        self._reopen, self._signal = reopen, SignalCheck()
        self._told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # by other threads
        self._past_known, self._broker_problem = False, None
        self._state_due_s = self._silence_due_s = self._look_due_s = self._reopen_due_s = 0.0
        self._heard, self._hears_since_s = False, 0.0  # since when there is something to hear, in seconds of sound
        self._last = NOTHING_YET, time.time()  # with its Unix time
        self._microphone = Microphone(state="starting", detail="no sound yet")

    @property
    def status(self) -> str:
        """The sensor's state in words, for people at a terminal."""
        room = self._last[0].label if self._microphone.state == "ok" else self._microphone.detail
        return f"{room}; {self._link.words}"

    def start(self) -> None:
        """Open the link, whose commands and memories of an earlier life come to this sensor.

        Whoever hears for it may open a microphone only after this: it is held until the switch is known to be on.
        """
        self._permission.begin()
        self._stay_off()
        if (refusal := self._permission.refusal()) is not None:
            self._microphone = Microphone(state="starting", detail=refusal.detail)
        self._tuning.apply()
        first, on_past = {"listening/set": self._switch}, lambda *pasts: self._told.put(partial(self._recall, pasts))
        self._link.start(commands=self._others, first=first, on_past=on_past)
        self._teaching.tell()

    def end(self) -> None:
        """Say until when the day is known; after this nothing is heard any more."""
        if self._past_known:
            self._link.retain("timeline", self._timeline.timeline(time.time()))
        self._teaching.end()

    def process(self, item: Block | Fault) -> bool:
        """Take sound, or why there is none; return whether it was time to look around, as it is at once after news."""
        while not self._told.empty():
            self._told.get()()
        self._tuning.turn()
        if (refusal := self._permission.refusal()) is not None:  # whatever comes from before it closed
            if refusal.reason == "off" != self._microphone.state:
                self._publish_listening()  # whoever sees that it is off sees the switch so, too
            self._miss(refusal)
        elif isinstance(item, Fault):
            self._miss(item)
        else:
            self._meter.timed(self._hear, item)
        if (now_s := time.monotonic()) < self._look_due_s and isinstance(item, Block):
            return False
        self._look_due_s = now_s + _LOOK_EVERY_S
        self._publish_timeline()
        self._report_health()
        self._teaching.turn()
        return True

    def _switch(self, word: bytes, came: Came) -> str | None:
        """Take the command that switches listening, from any thread; return why it is not obeyed."""
        if (why := self._permission.obey(word, came)) is None:
            self._told.put(self._publish_listening)
        return why

    def _hear(self, block: Block) -> None:
        """Take sound that flows: in some nobody can be heard, which is as good as none."""
        if (reason := self._signal.process(block)) is None:
            self._listen(block)
            return
        if reason != self._microphone.state:
            self._reopen_due_s = block.end_s + REOPEN_S
        since = block.captured_at - self._signal.lasted_s
        self._hear_nothing(Fault(reason=reason, detail=explain(reason)), since=since)
        if reason != "clipped" and block.end_s >= self._reopen_due_s:
            self._reopen()  # which may cure it

    def _listen(self, block: Block) -> None:
        observation = self._pipeline.process(block)
        self._tuning.hear(observation)
        self._meter.hear(block, observation)
        if not self._heard:
            self._heard, self._hears_since_s = True, block.end_s - BLOCK_S
            self._messages.begin(block.captured_at - BLOCK_S, observation.label, observation.confidence)
        self._last = observation, block.captured_at
        self._hear_of(Microphone(state="ok"))
        if observation.change is not None:
            self._publish_event(observation.change)
        interval_s = SPEAKING_INTERVAL_S if observation.speaking else self._tuning.config.state_interval_s
        if observation.change is not None or observation.at_s >= self._state_due_s:
            self._publish_state()
            self._state_due_s = observation.at_s + interval_s
        self._state_due_s = min(self._state_due_s, observation.at_s + interval_s)

    def _miss(self, fault: Fault) -> None:
        """There is no sound; what comes after it may be another microphone's."""
        self._signal.reset()
        self._meter.bandwidth = Bandwidth()
        self._hear_nothing(fault)

    def _hear_nothing(self, fault: Fault, *, since: float | None = None) -> None:
        """Whoever spoke is no longer heard, and the label must not stay as if they were. `since`: the Unix time from
        which on there was nothing to hear, that of the last sound if not given."""
        self._tuning.interrupted()
        (observation, at), silent = self._last, Microphone(state=fault.reason, detail=fault.detail)
        if fault.reason == self._microphone.state:
            self._microphone = silent
            self._repeat_silence()
            return
        self._silence_due_s = time.monotonic() + self._tuning.config.state_interval_s
        self._last = replace(NOTHING_YET, at_s=observation.at_s), at
        if (change := self._pipeline.interrupt(observation.at_s)) is not None:
            self._publish_event(change)
        elif self._heard:
            since = at if since is None else min(at, max(since, self._messages.since))
            self._messages.begin(since, QUIET, 0.0)
        else:
            self._timeline.add(time.time(), QUIET, 0.0)  # goes on, or is the first that is told
        self._heard = False
        self._hear_of(silent)

    def _repeat_silence(self) -> None:
        """Say now and then that nothing has changed: a state that grows old would look like a dead sensor's."""
        if (now_s := time.monotonic()) < self._silence_due_s:
            return
        self._silence_due_s = now_s + self._tuning.config.state_interval_s
        self._last = self._last[0], max(self._last[1], time.time())
        self._publish_state()

    def _hear_of(self, microphone: Microphone) -> None:
        if microphone.state == self._microphone.state:
            return
        (log.warning if microphone.is_problem else log.info)("microphone: %s", microphone.detail or "sound flows")
        self._microphone = microphone
        self._publish_state()
        self._health_due_s = 0.0

    def _recall(self, pasts: tuple[dict[str, Word], ...]) -> None:
        """Go on from what an earlier life published: its timeline, and whether it was told not to listen."""
        if not self._past_known:
            self._timeline.recall(*(word and word.word for word in map(pasts[0].get, ("timeline", "state", "recent"))))
        self._past_known = True
        self._tuning.recall(*(past.get("settings") for past in pasts))  # first: the switch opens the microphone
        self._permission.recall(*(past.get("listening") for past in pasts))
        self._stay_off()
        self._publish_listening()

    def _stay_off(self) -> None:
        """Switched off in an earlier life: nobody has listened since then, and that this one began changes nothing."""
        if (off_s := self._permission.off_since_s) is not None:
            self._timeline.silent_since(off_s)
            self._messages.since = off_s

    # Both, before the past is known, would only replace what is to be read back; so would settings (tuning.py).
    def _publish_listening(self) -> None:
        if self._past_known:
            self._link.retain("listening", self._permission.word())

    def _publish_timeline(self) -> None:
        if self._past_known and (due := self._timeline.due(time.monotonic(), time.time())) is not None:
            self._link.retain(*due)

    def _publish_event(self, change: Change) -> None:
        observation, at = self._last
        how = {"heard_since_s": self._hears_since_s, "bandwidth_hz": self._meter.bandwidth.hz}
        event = self._messages.event(change, observation, at=at, **how)
        self._teaching.hear(event, self._pipeline)  # first: whoever is told of it may teach it at once
        self._link.event(event)
        self._on_event(event)

    def _publish_state(self) -> None:
        (observation, at), self._look_due_s = self._last, 0.0
        self._link.retain("state", self._messages.state(observation, at=at, microphone=self._microphone.state))

    def _report_health(self) -> None:
        now_s, problem = time.monotonic(), self._link.problem
        if problem == self._broker_problem and now_s < self._health_due_s:
            return
        self._broker_problem = problem
        health = self._meter.report(microphone=self._microphone, dropped_blocks=self._dropped_blocks(), link=self._link,
                                    room_utterances=self._pipeline.room_utterances)  # fmt: skip
        self._health_due_s = now_s + min(self._health_interval_s, self._meter.holds_s)
        self._link.retain("health", health, qos=0)
