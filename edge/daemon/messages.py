"""What was observed, as the messages that the contract knows."""

from edge.hearing.affect import affect
from edge.hearing.decision import Change
from edge.hearing.mood import fields_of
from edge.hearing.observation import Observation
from edge.hearing.pipeline import Pipeline
from edge.voice.payloads import Event, State, rfc3339
from edge.voice.sequence import Sequence, uuid7


class Messages:
    """Says what a pipeline observes, in sound that began at Unix time `began_at`, under the device's own numbers."""

    def __init__(self, pipeline: Pipeline, model_id: str, sequence: Sequence) -> None:
        self._labels, self._moods, self._model_id, self._sequence = pipeline.labels, pipeline.moods, model_id, sequence

    def event(self, change: Change, observation: Observation, *, began_at: float, bandwidth_hz: int | None) -> Event:
        """Return the event of a change, with how well it was heard."""
        return Event(
            event_id=uuid7(began_at + change.at_s),
            event_type=change.label,
            ts=rfc3339(began_at + change.at_s),
            previous=change.previous,
            confidence=round(change.confidence, 4),
            **fields_of(self._moods.of(change.label, change.confidence, observation.scores)),
            previous_duration_ms=round(1_000 * change.previous_duration_s),
            **affect(observation.scores_of(self._labels)),
            **_heard(observation),
            bandwidth_hz=bandwidth_hz,
            seq=self._sequence.next(),
            model=self._model_id,
        )

    def state(self, observation: Observation, *, began_at: float, microphone: str) -> State:
        """Return the state of the room. `microphone`: how it is."""
        scores = observation.scores_of(self._labels)
        return State(
            ts=rfc3339(began_at + observation.at_s),
            emotion=observation.label,
            confidence=round(observation.confidence, 4),
            **fields_of(self._moods.of(observation.label, observation.confidence, observation.scores)),
            since=rfc3339(began_at + observation.since_s),
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
