"""From observations to messages: what is published, and how often; and what commands change."""

import logging
import queue
import time
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from edge.config import EdgeConfig
from edge.daemon.health import HealthMeter
from edge.daemon.messages import Messages
from edge.daemon.permission import Permission
from edge.daemon.preferences import Preferences
from edge.daemon.teaching import Teaching
from edge.daemon.tuning import Tuning
from edge.delivery.link import Link
from edge.delivery.packets import Word
from edge.hearing.decision import Change
from edge.hearing.observation import NOTHING_YET, Observation
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET
from edge.sound.bandwidth import Bandwidth
from edge.sound.blocks import Block, Fault
from edge.sound.faults import explain
from edge.sound.signal_check import SignalCheck
from edge.voice.payloads import NO_PROBLEM, Event, Microphone
from edge.voice.sequence import Sequence
from edge.voice.timeline import TimelineRecorder

log = logging.getLogger("roomtone")

SPEAKING_INTERVAL_S = 1.0
REOPEN_S = 300.0  # a microphone that delivers nothing of worth is opened anew this often


class Sensor:
    """Feeds a pipeline and speaks for it on a link. `on_event` sees every event as it is published."""

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
        self._messages = Messages(pipeline, model_id, sequence or Sequence())
        self._timeline = TimelineRecorder()
        self._signal = SignalCheck()
        self._dead: str | None = None  # what was wrong with sound that flowed, until some is well
        self._reopen, self._reopen_due_s = reopen, 0.0
        self._told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # by other threads
        self._past_known = False
        self._broker_problem: str | None = None
        self._state_due_s = self._silence_due_s = 0.0
        self._flowed, self._flows_since_s = False, 0.0  # since when it flows, in seconds of sound
        self._last = NOTHING_YET, time.time()  # with the Unix time at which its source began
        self._microphone = Microphone(state="starting", detail="no sound yet")

    @property
    def status(self) -> str:
        """The sensor's state in words, for people at a terminal."""
        observation, _ = self._last
        room = observation.label if self._microphone.state == "ok" else self._microphone.detail
        waiting = self._link.outbox.depth
        events = f"; {waiting} events wait" if waiting and self._link.problem else ""
        return f"{room}; broker {self._link.address}: {self._link.problem or 'connected'}{events}"

    def start(self) -> None:
        """Open the link, whose commands and memories of an earlier life come to this sensor.

        Whoever hears for it may open a microphone only after this: it is held until the switch is known to be on.
        """
        self._permission.begin()
        if (refusal := self._permission.refusal()) is not None:
            self._microphone = Microphone(state="starting", detail=refusal.detail)
        self._tuning.apply()
        others = {"settings/set": self._tuning.obey, **self._teaching.commands}
        first = {"listening/set": self._switch}
        self._link.start(commands=others, first=first, on_past=lambda past: self._told.put(partial(self._recall, past)))
        self._teaching.tell()

    def end(self) -> None:
        """Say until when the day is known; after this nothing is heard any more."""
        if self._past_known:
            self._link.retain("timeline", self._timeline.timeline(time.time()))
        self._teaching.end()

    def process(self, item: Block | Fault) -> None:
        """Take what a source yields: sound, or the reason why there is none."""
        while not self._told.empty():
            self._told.get()()
        self._tuning.turn()
        if (refusal := self._permission.refusal()) is not None:  # whatever comes from before it closed
            if refusal.reason == "off" != self._microphone.state:
                self._publish_listening()  # whoever sees that it is off sees the switch so, too
            self._hear_nothing(refusal)
        elif isinstance(item, Fault):
            self._hear_nothing(item)
        else:
            with self._meter.block(item.captured_at):
                self._listen(item)
        self._publish_timeline()
        self._report_health()
        self._teaching.turn()

    def _switch(self, word: bytes) -> str | None:
        """Take the command that switches listening, from any thread; return why it is not obeyed."""
        if (why := self._permission.obey(word)) is None:
            self._told.put(self._publish_listening)
        return why

    def _listen(self, block: Block) -> None:
        observation = self._pipeline.process(block)
        self._tuning.hear(observation)
        self._meter.hear(block, observation)
        began_at = block.captured_at - block.end_s
        if not self._flowed:
            self._timeline.add(block.captured_at, observation.label, observation.confidence)
            self._flows_since_s = block.end_s
        self._flowed = True
        if observation.since_s < self._flows_since_s:  # the same label, but nobody listened in between
            observation = replace(observation, since_s=self._flows_since_s)
        self._last = observation, began_at
        self._judge_signal(block)
        if observation.change is not None:
            self._publish_event(observation.change, began_at)
        interval_s = SPEAKING_INTERVAL_S if observation.speaking else self._tuning.config.state_interval_s
        if observation.change is not None or observation.at_s >= self._state_due_s:
            self._publish_state(observation, began_at)
            self._state_due_s = observation.at_s + interval_s
        else:
            self._state_due_s = min(self._state_due_s, observation.at_s + interval_s)

    def _judge_signal(self, block: Block) -> None:
        """Say whether the sound that flows is worth anything; a dead microphone may be cured by opening it anew."""
        reason = self._signal.process(block)
        if reason is None and self._dead is not None and self._signal.suspects:
            reason = self._dead  # opened anew, and no better: that takes no seconds to know again
        if reason is None:
            self._dead = None
            self._hear_of(Microphone(state="ok"))
            return
        if reason != self._microphone.state:
            self._reopen_due_s = block.end_s + REOPEN_S
        self._dead = reason
        self._hear_of(Microphone(state=reason, detail=explain(reason)))
        if reason != "clipped" and block.end_s >= self._reopen_due_s:
            self._reopen()

    def _hear_nothing(self, fault: Fault) -> None:
        """There is no sound: whoever spoke is no longer heard, and the label must not stay as if they were."""
        self._tuning.interrupted()
        observation, began_at = self._last
        if fault.reason == self._microphone.state:
            self._microphone = Microphone(state=fault.reason, detail=fault.detail)
            self._repeat_silence()
            return
        flowed, self._flowed = self._flowed, False
        self._signal.reset()
        self._meter.bandwidth = Bandwidth()  # another microphone may come
        self._silence_due_s = time.monotonic() + self._tuning.config.state_interval_s
        change = self._pipeline.interrupt(observation.at_s)
        silent_s = observation.at_s if flowed else observation.since_s
        silent = replace(NOTHING_YET, at_s=observation.at_s, since_s=silent_s)
        self._last = silent, began_at
        if change is not None:
            self._publish_event(change, began_at)
        else:
            self._timeline.add(time.time(), QUIET, 0.0)
        self._hear_of(Microphone(state=fault.reason, detail=fault.detail))

    def _repeat_silence(self) -> None:
        """Say now and then that nothing has changed: a state that grows old would look like a dead sensor's."""
        now_s = time.monotonic()
        if now_s < self._silence_due_s:
            return
        self._silence_due_s = now_s + self._tuning.config.state_interval_s
        observation, began_at = self._last
        passed_s = max(0.0, time.time() - (began_at + observation.at_s))  # no sound counts it
        self._last = replace(observation, since_s=observation.since_s - passed_s), began_at + passed_s
        self._publish_state(*self._last)

    def _hear_of(self, microphone: Microphone) -> None:
        if microphone.state == self._microphone.state:
            return
        level = logging.INFO if microphone.state in NO_PROBLEM else logging.WARNING
        log.log(level, "microphone: %s", microphone.detail or "sound flows")
        self._microphone = microphone
        self._publish_state(*self._last)
        self._health_due_s = 0.0

    def _recall(self, past: dict[str, Word]) -> None:
        """Go on from what an earlier life published: its timeline, and whether it was told not to listen."""
        self._past_known = True
        self._timeline.recall(*(past[name].word if name in past else None for name in ("timeline", "state")))
        self._permission.recall(past.get("listening"))
        self._publish_listening()

    def _publish_listening(self) -> None:
        self._link.retain("listening", self._permission.word())

    def _publish_timeline(self) -> None:
        # Before the past is known it would only replace what is to be read back.
        if self._past_known and (timeline := self._timeline.due(time.monotonic(), time.time())) is not None:
            self._link.retain("timeline", timeline)

    def _publish_event(self, change: Change, began_at: float) -> None:
        self._timeline.add(began_at + change.at_s, change.label, change.confidence)
        event = self._messages.event(change, self._last[0], began_at=began_at, bandwidth_hz=self._meter.bandwidth.hz)
        self._link.event(event)
        self._teaching.hear(event, self._pipeline)
        self._on_event(event)

    def _publish_state(self, observation: Observation, began_at: float) -> None:
        state = self._messages.state(observation, began_at=began_at, microphone=self._microphone.state)
        self._link.retain("state", state)

    def _report_health(self) -> None:
        now_s = time.monotonic()
        if self._link.problem != self._broker_problem:
            self._broker_problem = self._link.problem
        elif now_s < self._health_due_s:
            return
        health = self._meter.report(
            microphone=self._microphone, dropped_blocks=self._dropped_blocks(), link=self._link,
            room_utterances=self._pipeline.room_utterances,
        )  # fmt: skip
        self._health_due_s = now_s + min(self._health_interval_s, self._meter.holds_s)
        self._link.retain("health", health, qos=0)
