"""How Home Assistant hears of the sensor: its description, announced on every connect (forget.py takes it away)."""

from collections.abc import Sequence

import msgspec

from edge.config import EdgeConfig
from edge.delivery.link import Link
from edge.voice.homeassistant import discovery, topic


def announce(
    link: Link,
    config: EdgeConfig,
    labels: list[str],
    model_id: str,
    moods: Sequence[str] = (),
    *,
    teachable: bool = False,
) -> None:
    """Have the device described on every connect, and again whenever Home Assistant says that it has started."""
    description = msgspec.json.encode(discovery(config.device, labels, model_id, moods, teachable=teachable))
    link.retain_at(topic(config, config.device.id), description)
    link.listen(f"{config.homeassistant.prefix}/status", lambda said: link.resend() if said == b"online" else None)
