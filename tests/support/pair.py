"""Two brokers that one configuration names: on one port, and so at two addresses of loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.config import Mqtt
from tests.support.broker import HOST, Broker, free_port

HOSTS = (HOST, "127.0.0.2")


@contextmanager
def pair(folder: Path, **how) -> Iterator[tuple[Broker, Broker]]:
    """Run both; each may be killed and started again."""
    port = free_port()
    with (
        Broker(folder / "first", host=HOSTS[0], port=port, **how) as first,
        Broker(folder / "second", host=HOSTS[1], port=port, **how) as second,
    ):
        yield first, second


def settings(first: Broker) -> Mqtt:
    """Return how both are reached."""
    return Mqtt(host=HOSTS, port=first.port)
