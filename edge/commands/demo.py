"""`roomtone demo`: the bundled recording as a microphone, an embedded broker, and a page to look at."""

import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np

from edge.config import EdgeConfig, Mqtt
from edge.daemon.run import sense
from edge.daemon.stopping import stop_signal
from edge.delivery.embedded import Broker
from edge.sound.blocks import paced, timed_blocks
from edge.sound.recording import read_recording
from edge.voice.payloads import Event

RECORDING = Path(__file__).parent / "demo.flac"


def demo(config: EdgeConfig, *, seconds: float | None) -> None:
    """Sense the bundled recording over and over, on loopback only, and print a line per event.

    Ends after `seconds`, or at a signal. Raises UnavailableError without mosquitto.
    """
    with stop_signal() as signalled:
        ends_s = time.monotonic() + seconds if seconds is not None else float("inf")

        def stopping() -> bool:
            return signalled() or time.monotonic() >= ends_s

        # The clock starts when the sensor asks for its first block, not while it is still loading.
        def blocks():
            yield from paced(timed_blocks(_endless(), started_at=time.time()), stopping)

        local = Mqtt(port=config.mqtt.port, websockets_port=config.mqtt.websockets_port)
        sense(config, blocks(), mqtt=local, stopping=stopping, on_broker=_announce, on_event=_print_event)


def _endless() -> Iterator[np.ndarray]:
    for recording in repeat(RECORDING):
        yield from read_recording(recording)


def _announce(broker: Broker) -> None:
    print(f"page    {broker.page}?demo")
    print(f"broker  127.0.0.1 port {broker.port}  (mosquitto_sub -p {broker.port} -t 'roomtone/#' -v)")
    print("The voices are synthetic and the labels illustrative. Ctrl-C ends.")
    print("Switched off, the demo stays off until it ends; a sensor of your own, until it is switched on.", flush=True)


def _print_event(event: Event) -> None:
    print(f"{event.ts}  {event.previous:>9} -> {event.event_type:<9} {event.confidence:.2f}", flush=True)
