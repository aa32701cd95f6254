"""What the broker retained of an earlier life, read back once, on the first connection that lasts long enough."""

import msgspec

from edge.delivery.packets import Word

PAST = ("state", "timeline", "listening")
_WAIT_S, _WAIT_AT_MOST_S = 0.5, 2.0  # after an answer to the subscription, and without one


class Past:
    """Collects what comes. Nobody has asked yet; then it is `awaited`, until `due_s`; then it is `known`, for good.

    A connection that is lost in between takes it back to the first of the three.
    """

    def __init__(self) -> None:
        self.known = False
        self.due_s: float | None = None
        self._found: dict[str, Word] = {}

    @property
    def awaited(self) -> bool:
        """Whether a connection has asked, and the answer may still come."""
        return self.due_s is not None

    def ask(self, now_s: float) -> None:
        """A connection has asked for it."""
        self._found, self.due_s = {}, now_s + _WAIT_AT_MOST_S

    def answered(self, now_s: float) -> None:
        """The broker answered: what is retained comes now, if at all."""
        if self.awaited:
            self.due_s = min(self.due_s, now_s + _WAIT_S)

    def remember(self, name: str, payload: Word, now_s: float) -> None:
        """One of PAST came."""
        if self.awaited:
            self._found[name] = payload
            if len(self._found) == len(PAST):
                self.due_s = now_s

    def lost(self) -> None:
        """The connection is gone: the next one asks again."""
        self.due_s = None

    def tell(self) -> dict[str, Word]:
        """Return what came, by name; it is known from now on."""
        self.known, self.due_s = True, None
        return self._found


class _Numbered(msgspec.Struct):
    seq: int = 0


def seq_of(state: Word | None) -> int:
    """Return the number of a retained state, 0 where it is not one of ours."""
    try:
        return msgspec.json.decode(state.word, type=_Numbered).seq if state else 0
    except msgspec.DecodeError:
        return 0
