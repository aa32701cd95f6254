"""What may come into a store: an event as its columns, or the reason why not. Who sends it need not be one of ours."""

import uuid
from typing import NamedTuple

import msgspec

from edge.voice.payloads import Event, decoded, rfc3339, unix_s

_LARGEST = {"seq": 2**63 - 1, "previous_duration_ms": 2**63 - 1, "bandwidth_hz": 2**31 - 1}
_LONGEST = {"event_id": 64, "model": 128}
_LARGEST_REAL = 1e9
_PAD = b"\xff"  # in no UTF-8


class Taken(NamedTuple):
    """An event as it is kept, the fields in the order of the table's columns."""

    event_id: bytes
    room: int
    ts_ms: int
    seq: int
    label: str
    previous: str
    previous_ms: int
    confidence: float
    mood: str | None
    mood_confidence: float | None
    arousal: float | None
    valence: float | None
    speech_ratio: float | None
    snr_db: float | None
    level_dbfs: float | None
    bandwidth_hz: int | None
    late: int
    model: str


def storable(text: str) -> bool:
    """Return whether every store can keep a text."""
    return "\0" not in text and text.isprintable()


def taken(payload: bytes) -> Taken | str:
    """Return an event, its room not yet known (0), or in words why it cannot be kept."""
    try:
        event = decoded(payload, Event)
        ts_ms = round(1_000 * unix_s(event.ts))
    except (ValueError, OverflowError) as error:
        return f"no event ({error})"
    if ts_ms < 0:
        return "before 1970"
    for name, value in msgspec.structs.asdict(event).items():
        if isinstance(value, str) and not (storable(value) and len(value) <= _LONGEST.get(name, 64)):
            return f"{name}: longer than {_LONGEST.get(name, 64)} letters, or with some that cannot be shown"
        if isinstance(value, int) and value > _LARGEST.get(name, 2**31 - 1):
            return f"{name}: too large"
        if isinstance(value, float) and not abs(value) <= _LARGEST_REAL:
            return f"{name}: too large"
    return Taken(
        event_id=packed(event.event_id), room=0, ts_ms=ts_ms, seq=event.seq, label=event.event_type,
        previous=event.previous, previous_ms=event.previous_duration_ms, confidence=event.confidence, mood=event.mood,
        mood_confidence=event.mood_confidence, arousal=event.arousal, valence=event.valence,
        speech_ratio=event.speech_ratio, snr_db=event.snr_db, level_dbfs=event.level_dbfs,
        bandwidth_hz=event.bandwidth_hz, late=int(event.late), model=event.model,
    )  # fmt: skip


def packed(event_id: str) -> bytes:
    """Return an event's id as it is kept: a UUID as its 16 bytes, whatever else as text, of another length."""
    try:
        if str(uuid.UUID(event_id)) == event_id:
            return uuid.UUID(event_id).bytes
    except ValueError:
        pass
    text = event_id.encode() + _PAD
    return text + _PAD if len(text) == 16 else text


def unpacked(kept: bytes) -> str:
    """Return an event's id as it was sent."""
    return str(uuid.UUID(bytes=bytes(kept))) if len(kept) == 16 else bytes(kept).rstrip(_PAD).decode()


def event_of(row: Taken) -> Event:
    """Return a kept event as it was sent."""
    return Event(
        event_id=unpacked(row.event_id), event_type=row.label, ts=rfc3339(row.ts_ms / 1_000), previous=row.previous,
        confidence=row.confidence, mood=row.mood, mood_confidence=row.mood_confidence,
        previous_duration_ms=row.previous_ms, arousal=row.arousal, valence=row.valence,
        speech_ratio=row.speech_ratio, snr_db=row.snr_db, level_dbfs=row.level_dbfs, bandwidth_hz=row.bandwidth_hz,
        late=bool(row.late), seq=row.seq, model=row.model,
    )  # fmt: skip
