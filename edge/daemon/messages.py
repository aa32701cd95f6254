"""What was observed, as the messages that the contract knows."""

from edge.hearing.affect import affect
from edge.hearing.decision import Change
from edge.hearing.mood import Moods, fields_of
from edge.hearing.observation import Observation
from edge.voice.payloads import Event, State, rfc3339
from edge.voice.sequence import uuid7


def event_of(
    change: Change,
    observation: Observation,
    *,
    began_at: float,
    labels: list[str],
    moods: Moods,
    bandwidth_hz: int | None,
    model: str,
    seq: int,
) -> Event:
    """Return the event of a change, which was observed in sound that began at Unix time `began_at`."""
    return Event(
        event_id=uuid7(began_at + change.at_s),
        event_type=change.label,
        ts=rfc3339(began_at + change.at_s),
        previous=change.previous,
        confidence=round(change.confidence, 4),
        **fields_of(moods.of(change.label, change.confidence, observation.scores)),
        previous_duration_ms=round(1_000 * change.previous_duration_s),
        **affect(observation.scores_of(labels)),
        **_heard(observation),
        bandwidth_hz=bandwidth_hz,
        seq=seq,
        model=model,
    )


def state_of(
    observation: Observation,
    *,
    began_at: float,
    labels: list[str],
    moods: Moods,
    microphone: str,
    model: str,
    seq: int,
) -> State:
    """Return the state of the room. `microphone`: how it is; `began_at`: as above."""
    scores = observation.scores_of(labels)
    return State(
        ts=rfc3339(began_at + observation.at_s),
        emotion=observation.label,
        confidence=round(observation.confidence, 4),
        **fields_of(moods.of(observation.label, observation.confidence, observation.scores)),
        since=rfc3339(began_at + observation.since_s),
        scores=scores,
        **affect(scores),
        **_heard(observation),
        clipped_ratio=round(observation.clipped_ratio, 5),
        microphone=microphone,
        model=model,
        seq=seq,
    )


def _heard(observation: Observation) -> dict[str, float | None]:
    """Return how well it was heard."""
    return {
        "speech_ratio": round(observation.speech_ratio, 3),
        "snr_db": None if observation.snr_db is None else round(observation.snr_db, 1),
        "level_dbfs": round(observation.level_dbfs, 1),
    }
