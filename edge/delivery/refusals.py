"""What the broker refuses to publish, and how long each topic is left alone: some brokers also hang up on who tries."""

from dataclasses import dataclass

_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0  # doubles from one to the other
_REMEDIES = {"Not authorized": " (allow it in the broker's access list)"}


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    pause_s: float
    until_s: float


class Refusals:
    """Refused topics. `now_s` is of a monotonic clock."""

    def __init__(self) -> None:
        self._topics: dict[str, _Refusal] = {}

    @property
    def words(self) -> str | None:
        """The refusals that still hold, in words; those for one reason together: an account often lacks all topics."""
        reasons: dict[str, list[str]] = {}
        for topic, refusal in list(self._topics.items()):
            reasons.setdefault(refusal.reason, []).append(topic)
        return "; ".join(_in_words(topics, reason) for reason, topics in reasons.items()) or None

    def add(self, topic: str, reason: str, now_s: float) -> str | None:
        """Note a refusal; return it in words if it is news."""
        known = self._topics.get(topic)
        if known is not None and now_s < known.until_s:
            return None  # one of several messages that were under way
        pause_s = _PAUSE_S if known is None else min(_LONGEST_PAUSE_S, 2 * known.pause_s)
        self._topics[topic] = _Refusal(reason, pause_s, now_s + pause_s)
        return _in_words([topic], reason) if known is None or known.reason != reason else None

    def lift(self, topic: str) -> None:
        """The topic was accepted."""
        self._topics.pop(topic, None)

    def paused(self, now_s: float) -> set[str]:
        """Return the topics to be left alone now."""
        return {topic for topic, refusal in self._topics.items() if now_s < refusal.until_s}

    def due_s(self, now_s: float) -> list[float]:
        """Return when topics may be tried again."""
        return [refusal.until_s for refusal in self._topics.values() if refusal.until_s > now_s]


def _in_words(topics: list[str], reason: str) -> str:
    others = f" and {len(topics) - 1} more" if len(topics) > 1 else ""
    return f"may not publish {topics[0]}{others}: {reason}{_REMEDIES.get(reason, '')}"
