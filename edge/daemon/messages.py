"""What was observed, as the messages that the contract knows."""

import time

from edge.hearing.affect import affect
from edge.hearing.decision import Change
from edge.hearing.mood import fields_of
from edge.hearing.observation import Observation
from edge.hearing.pipeline import Pipeline
from edge.voice.payloads import Event, State, rfc3339
from edge.voice.sequence import Sequence, uuid7
from edge.voice.timeline import TimelineRecorder


class Messages:
    """Says what a pipeline observes under the device's own numbers. Times are Unix time in seconds.

    since: when the label, or the time in which nobody listened, began: one time in every state, and the timeline's.
    """

    def __init__(self, pipeline: Pipeline, model_id: str, sequence: Sequence) -> None:
        self._labels, self._moods, self._model_id, self._sequence = pipeline.labels, pipeline.moods, model_id, sequence
        self.timeline, self.since = TimelineRecorder(), time.time()

    def begin(self, start: float, label: str, confidence: float) -> None:
        """From `start` on it is so; with confidence 0 nobody listens."""
        self.since = start
        self.timeline.add(start, label, confidence)

    def event(
        self, change: Change, observation: Observation, *, at: float, heard_since_s: float, bandwidth_hz: int | None
    ) -> Event:
        """Return the event of a change, which begins with it, and how well it was heard. `at`: when that was observed;
        `heard_since_s`: since when somebody listens, in seconds of sound, for no label lasted longer."""
        self.begin(at - (observation.at_s - change.at_s), change.label, change.confidence)
        lasted_s = min(change.previous_duration_s, max(0.0, change.at_s - heard_since_s))
        return Event(
            event_id=uuid7(self.since),
            event_type=change.label,
            ts=rfc3339(self.since),
            previous=change.previous,
            confidence=round(change.confidence, 4),
            **fields_of(self._moods.of(change.label, change.confidence, observation.scores)),
            previous_duration_ms=round(1_000 * lasted_s),
            **affect(observation.scores_of(self._labels)),
            **_heard(observation),
            bandwidth_hz=bandwidth_hz,
            seq=self._sequence.next(),
            model=self._model_id,
        )

    def state(self, observation: Observation, *, at: float, microphone: str) -> State:
        """Return the state of the room as it was observed at that time. `microphone`: how it is."""
        scores = observation.scores_of(self._labels)
        return State(
            ts=rfc3339(at),
            emotion=observation.label,
            confidence=round(observation.confidence, 4),
            **fields_of(self._moods.of(observation.label, observation.confidence, observation.scores)),
            since=rfc3339(self.since),
            scores=scores,
            **affect(scores),
            **_heard(observation),
            clipped_ratio=round(observation.clipped_ratio, 5),
            microphone=microphone,
            model=self._model_id,
            seq=self._sequence.next(),
        )


def _heard(observation: Observation) -> dict[str, float | None]:
    """Return how well it was heard."""
    return {
        "speech_ratio": round(observation.speech_ratio, 3),
        "snr_db": None if observation.snr_db is None else round(observation.snr_db, 1),
        "level_dbfs": round(observation.level_dbfs, 1),
    }
