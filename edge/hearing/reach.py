"""How far above its noise a microphone hears: what a day of sound tells of one that is too far, or turned down too far.

Nobody need be known to speak for that: where people live, a minute of a day is loud. A hiss of its own, or a fan beside
it, is what such a microphone hears instead, and no gate finds speech in it.
"""

from collections import deque

from edge.sound.blocks import BLOCK_S

DAY_S = 86_400.0
LOUD_SHARE = 60.0 / DAY_S  # of a day: less may be a door, or a hand on the microphone
LITTLE_DB = 10  # above the noise (the gate's own `strong_margin_db`): less, and voices are hardly told from it
_PARTS = 24  # of a day: with each, the oldest one is forgotten
_MOST_DB = 80


class Reach:
    """Follows how far blocks stand above the noise floor. day_s: so much listening makes a day."""

    def __init__(self, *, day_s: float = DAY_S) -> None:
        self._part_blocks = round(day_s / _PARTS / BLOCK_S)
        self._loud_blocks = round(day_s * LOUD_SHARE / BLOCK_S)
        self._parts: deque[list[int]] = deque(maxlen=_PARTS)  # blocks by whole dB, an hour each
        self._part, self._blocks = [0] * (_MOST_DB + 1), 0

    def add(self, above_floor_db: float) -> None:
        """Take how far a block stands above the noise floor."""
        self._part[min(_MOST_DB, max(0, int(above_floor_db)))] += 1
        self._blocks += 1
        if self._blocks == self._part_blocks:
            self._parts.append(self._part)
            self._part, self._blocks = [0] * (_MOST_DB + 1), 0

    @property
    def db(self) -> int | None:
        """How far above the noise floor the loudest minute of the last day of listening stood, taken together, in whole
        dB; None before a day was heard."""
        if len(self._parts) < _PARTS:
            return None
        left = self._loud_blocks
        for db in range(_MOST_DB, 0, -1):
            left -= sum(part[db] for part in self._parts)
            if left <= 0:
                return db
        return 0


def faint(db: int | None) -> str | None:
    """Return in words what is wrong with a microphone that reaches so far above its noise, and what helps; None where
    nothing is."""
    if db is None or db >= LITTLE_DB:
        return None
    return (
        f"in a day of listening the loudest minute was {db} dB above the noise: if anybody spoke, the microphone is "
        "too far away or turned down too far, or a fan or its own hiss drowns them; put it nearer, turn it up "
        "(alsamixer), or take another"
    )
