"""How Home Assistant hears of the sensor: its description, announced on every connect (forget.py takes it away)."""

from collections.abc import Sequence

import msgspec

from edge.config import EdgeConfig
from edge.delivery.link import Link
from edge.voice.homeassistant import discovery, topic

AGAIN_S = (10.0, 60.0)  # after it was announced


class Announcement:
    """Has the device described on every connect and whenever Home Assistant says that it has started, and again a while
    after each.

    Home Assistant reads a description while it loads what the entities are made of, and may lose one over that: another
    thread compiles anew the schema that is just being used (`KeyError: 'connections'`, seen in 2025.4.4). Of the same
    description, read later, it makes what is missing and changes nothing else.
    """

    def __init__(
        self,
        link: Link,
        config: EdgeConfig,
        labels: list[str],
        model_id: str,
        moods: Sequence[str] = (),
        *,
        teachable: bool = False,
        updated: bool = False,
    ) -> None:
        self._link, self._topic = link, topic(config, config.device.id)
        described = discovery(config.device, labels, model_id, moods, teachable=teachable, updated=updated)
        self._description = msgspec.json.encode(described)
        self._starts = 0  # of Home Assistant
        self._announced = 0, 0
        self._due_s: list[float] = []  # in order
        link.retain_at(self._topic, self._description)
        link.listen(f"{config.homeassistant.prefix}/status", self._hear)

    def turn(self, now_s: float) -> None:
        """Announce again what is due. Called often, with the seconds of a monotonic clock."""
        if (announced := (self._link.connects, self._starts)) != self._announced:
            self._announced = announced
            self._due_s = [now_s + seconds for seconds in AGAIN_S]
        elif self._due_s and now_s >= self._due_s[0]:
            self._due_s.pop(0)
            self._link.retain_at(self._topic, self._description)

    def _hear(self, said: bytes) -> None:
        if said == b"online":
            self._link.resend()
            self._starts += 1
