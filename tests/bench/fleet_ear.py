"""Whoever subscribes: how long states of a fleet take from the sensor to here, and a ping through the broker.

    python -m tests.bench.fleet_ear PORT

A state has the time of its making, in milliseconds: up to one is too little of them. Between that and here are the
sensor's link, in a process with many others, the broker, and this process. The ping is what of that is the broker's.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.voice.payloads import unix_s
from tests.support.broker import HOST

PING_HZ = 10.0
KINDS = ("status", "state", "event", "health", "timeline", "recent")
_TS = b'"ts":"'


class Ear:
    """Hears all that sensors say."""

    def __init__(self, port: int) -> None:
        self.online: set[str] = set()
        self.begin()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = lambda client, data, message: self._hear(message)
        self.client.connect(HOST, port)
        self.client.subscribe([(f"roomtone/+/{kind}", 1) for kind in KINDS] + [("ping", 1)])
        self.client.loop_start()

    def begin(self) -> None:
        """Count from here on."""
        self.late_ms: list[float] = []
        self.ping_ms: list[float] = []
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def _hear(self, message: paho.MQTTMessage) -> None:
        now = time.time()
        if message.topic == "ping":
            self.ping_ms.append((time.monotonic_ns() - int(message.payload)) / 1e6)
            return
        _, device, kind = message.topic.split("/")
        if kind == "status":
            (self.online.add if message.payload == b"online" else self.online.discard)(device)
        if message.retain:
            return
        self.messages[kind] += 1
        self.bytes[kind] += len(message.payload)
        if kind == "state":
            at = message.payload.index(_TS) + len(_TS)
            self.late_ms.append(1_000 * (now - unix_s(message.payload[at : at + 24].decode())))

    def told(self) -> dict:
        return {"online": len(self.online), "messages": dict(self.messages), "bytes": dict(self.bytes),
                "state_ms": shares(self.late_ms), "ping_ms": shares(self.ping_ms)}  # fmt: skip


def shares(values: list[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the worst."""
    found = sorted(values) or [0.0]
    at = {"p50": len(found) // 2, "p99": min(len(found) - 1, len(found) * 99 // 100), "worst": len(found) - 1}
    return {name: round(found[number], 2) for name, number in at.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Hear a fleet.")
    parser.add_argument("port", type=int)
    ear = Ear(parser.parse_args().port)
    over = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *signalled: ear.begin())
    signal.signal(signal.SIGUSR2, lambda *signalled: print(json.dumps(ear.told()), flush=True))
    signal.signal(signal.SIGTERM, lambda *signalled: over.set())
    ping = partial(ear.client.publish, "ping", qos=1)
    print("ready", flush=True)
    while not over.wait(1 / PING_HZ):
        ping(str(time.monotonic_ns()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
