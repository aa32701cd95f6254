"""A puppet sensor: says by hand what the contract (edge/voice/payloads.py) says, with none of the sensor's code."""

import json
import random
import threading
import time
import uuid
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.patience import PATIENCE_S, wait_until

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
MODEL = "gru-tess-ravdess-1"


def rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Puppet:
    """A sensor in name only, connected to a broker while the context lasts; its will is `offline`."""

    def __init__(self, port: int, device: str = "living-room", **auth: str) -> None:
        self.device = device
        self.commands: list[tuple[str, bool, int]] = []  # text, retained, QoS
        self._handed_over: set[int] = set()  # numbers of the messages the broker has
        self._seq = int(time.time() * 1000)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.will_set(self.topic("status"), "offline", qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_disconnect = lambda *_: self._met.clear()
        self._client.on_message = lambda client, data, m: self.commands.append((m.payload.decode(), m.retain, m.qos))
        self._client.on_publish = lambda client, data, mid, *_: self._handed_over.add(mid)
        self._client.reconnect_delay_set(1, 1)
        if auth:
            self._client.username_pw_set(**auth)
        self._met = threading.Event()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not self._met.wait(PATIENCE_S):
            raise TimeoutError(f"the broker on port {port} does not let the puppet in")

    def topic(self, name: str) -> str:
        return f"roomtone/{self.device}/{name}"

    def send(
        self, name: str, payload: Any, *, retain: bool = True, qos: int = 1, wait: bool = True, stamp: str = ""
    ) -> None:
        """Publish text or bytes as they are, anything else as JSON; `stamp` is the user property `ts`.

        A broker may hang up on a refused message and be back in a second. Above QoS 0 paho then keeps what is sent
        meanwhile and hands it over later, though its own `wait_for_publish` says at once that it failed.
        """
        data = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        self._met.wait(PATIENCE_S)
        properties = None
        if stamp:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("ts", stamp)
        number = self._client.publish(self.topic(name), data, qos=qos, retain=retain, properties=properties).mid
        if wait:
            wait_until(lambda: number in self._handed_over, f"{name} handed over")

    def die(self) -> None:
        """Lose the link without a word, as a sensor without power does."""
        self._client.loop_stop()
        self._client.socket().close()

    def state(self, emotion: str, confidence: float = 0.8, *, at_s: float | None = None, **fields: Any) -> None:
        now_s = time.time() if at_s is None else at_s
        since_s = fields.pop("since_s", now_s)
        self._seq += 1
        wait = fields.pop("wait", True)
        payload = {
            "schema": 1,
            "ts": rfc3339(now_s),
            "emotion": emotion,
            "confidence": confidence,
            "since": rfc3339(since_s),
            "scores": {} if emotion == "quiet" else spread(emotion, confidence),
            "speech_ratio": 0.0 if emotion == "quiet" else 0.62,
            "snr_db": None if emotion == "quiet" else 17.4,
            "level_dbfs": -58.3 if emotion == "quiet" else -27.1,
            "clipped_ratio": 0.0,
            "microphone": "ok",
            "model": MODEL,
            "seq": self._seq,
            **fields,
        }
        self.send("state", payload, wait=wait)

    def event(self, label: str, previous: str, confidence: float = 0.8, *, at_s: float | None = None, **fields) -> None:
        self._seq += 1
        wait = fields.pop("wait", True)
        payload = {
            "schema": 1,
            "event_id": str(uuid.uuid4()),
            "event_type": label,
            "ts": rfc3339(time.time() if at_s is None else at_s),
            "previous": previous,
            "confidence": confidence,
            "previous_duration_ms": 4200,
            "late": False,
            "seq": self._seq,
            "model": MODEL,
            **fields,
        }
        self.send("event", payload, retain=False, wait=wait)

    def timeline(self, runs: list[tuple[float, str, float]], *, at_s: float | None = None) -> None:
        """Runs as (Unix start in s, label, confidence), as of `at_s`, None for now."""
        self._runs("timeline", runs, at_s)

    def recent(self, runs: list[tuple[float, str, float]], *, at_s: float | None = None) -> None:
        """What came since the timeline, in the same form."""
        self._runs("recent", runs, at_s)

    def _runs(self, name: str, runs: list[tuple[float, str, float]], at_s: float | None) -> None:
        told = [[rfc3339(start), label, confidence] for start, label, confidence in runs]
        self.send(name, {"schema": 1, "ts": rfc3339(at_s or time.time()), "runs": told})

    def health(self, *, microphone: str = "ok", detail: str = "", **fields: Any) -> None:
        payload = {
            "schema": 1,
            "ts": rfc3339(time.time()),
            "version": "0.1.0",
            "uptime_s": 263_520.0,
            "cpu_ratio": 0.041,
            "rss_mb": 74.2,
            "temperature_c": 47.8,
            "realtime_factor": 0.031,
            "dropped_blocks": 0,
            "inference_ms": {"p50": 1.9, "p99": 3.4, "worst": 6.2},
            "latency_ms": {"p50": 2.6, "p99": 5.1, "worst": 11.0},
            "outbox_depth": 0,
            "reconnects": 1,
            "microphone": {"state": microphone, "detail": detail},
            **fields,
        }
        self.send("health", payload, qos=0)

    def lessons(self, taught: list[tuple[float, str]] = (), **fields: Any) -> None:
        """What it was taught: (Unix time of the change, label) each."""
        per_label = {label: [each for _, each in taught].count(label) for _, label in taught}
        recent = [{"event_id": uuid7(at_s), "label": label, "ts": rfc3339(time.time())} for at_s, label in taught]
        payload = {
            "schema": 1,
            "ts": rfc3339(time.time()),
            "model": MODEL,
            "teachable": True,
            "labels": LABELS,
            "per_label": per_label,
            "count": len(taught),
            "right_before": 0.4286 if taught else None,
            "right_after": 0.8571 if taught else None,
            "chance_before": 0.1812 if taught else None,
            "chance_after": (0.3407 if len(taught) > 1 else 0.1513) if taught else None,
            "in_use": len(taught) > 1,
            "recent": recent,
            "of_other_models": 0,
            "problem": None,
            "answer": None,
            **fields,
        }
        self.send("lessons", payload)

    def settings(self, **fields: Any) -> None:
        """What is set, as of a sensor of which nothing was."""
        payload = {
            "schema": 1,
            "ts": rfc3339(time.time()),
            "sensitivity": 50,
            "quiet_hours": None,
            "state_interval_s": 30.0,
            "log_level": "info",
            "set": [],
            "configured": {},
            "calibration": {"state": "none", "ts": None, "floor_dbfs": None, "restless_db": None},
            "problem": None,
            "answer": None,
            "name": None,
            **fields,
        }
        self.send("settings", payload)

    def __enter__(self) -> Self:
        self.send("status", "online")
        self.send("listening", "ON")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(self.topic(name), 1) for name in ("listening/set", "settings/set", "teach", "forget")])
        client.publish(self.topic("status"), "online", qos=1, retain=True)
        self._met.set()


def uuid7(unix_s: float) -> str:
    """Return an event's id: of its time, the rest made up."""
    digits = f"{int(unix_s * 1_000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7{uuid.uuid4().hex[:3]}-8{uuid.uuid4().hex[:3]}-{uuid.uuid4().hex[:12]}"


def spread(label: str, confidence: float, seed: int = 0) -> dict[str, float]:
    """Return scores that sum to 1 with `confidence` on the label (or no clear winner, for a label not among them)."""
    chance = random.Random(seed)
    rest = {name: chance.random() ** 2 + 0.02 for name in LABELS if name != label}
    share = (1 - confidence if label in LABELS else 1.0) / sum(rest.values())
    return {name: round(confidence if name == label else rest[name] * share, 4) for name in LABELS}


def plausible_day(now_s: float, seed: int = 1) -> list[tuple[float, str, float]]:
    """Return a home's day: quiet at night, talk at breakfast, a busy evening. Runs (start, label, confidence)."""
    chance = random.Random(seed)
    moods = ("neutral", "happy", "happy", "neutral", "surprise", "sad", "unknown", "angry", "fear", "disgust")
    weights = (9, 6, 4, 6, 3, 3, 22, 3, 1.5, 1.5)  # what the model is not confident of is a third of all
    runs, at = [(now_s - 86_390, "quiet", 0.97)], now_s - 86_390
    while at < now_s - 240 and len(runs) < 1400:
        hour = datetime.fromtimestamp(at).hour
        if not 7 <= hour < 23:
            at += 900
            continue
        at += chance.expovariate(1 / 90) / (0.9, 0.25, 0.6, 1.0)[(hour >= 9) + (hour >= 13) + (hour >= 18)]
        tenor = chance.choices(moods, weights)[0]
        for _ in range(chance.randint(1, 6)):
            if at < now_s - 60:
                mood = tenor if chance.random() < 0.6 else chance.choices(moods, weights)[0]
                runs.append(
                    (at, mood, round(chance.uniform(0.3, 0.5) if mood == "unknown" else chance.uniform(0.58, 0.94), 2))
                )
                at += chance.uniform(6, 50)
        if at < now_s - 30:
            runs.append((at, "quiet", round(chance.uniform(0.9, 0.99), 2)))
    return [run for i, run in enumerate(runs) if i == 0 or run[1] != runs[i - 1][1]]
