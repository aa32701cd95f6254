"""Metrics: what each sensor says of itself, and how the recorder is, named as Prometheus names things.

Nothing of what was heard is among them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from edge import __version__
from edge.history.sensors import Sensor, Sensors


class Figure(NamedTuple):
    """How a figure of health is called, and in what unit (its value there times `scale`); percentile: which of them."""

    name: str
    help: str
    scale: float = 1.0
    percentile: str = ""


_INFERENCE = "roomtone_inference_seconds", "Work on a block of 80 ms, in the last minute.", 1e-3
_LATENCY = "roomtone_latency_seconds", "From a block's last sample to the end of that work, in the last minute.", 1e-3
_ENDS = "Unix time at which the certificate of the {} ends."
FIGURES = {
    "uptime_s": Figure("roomtone_uptime_seconds", "Since the sensor's program started."),
    "cpu_ratio": Figure("roomtone_cpu_ratio", "Of one core, in the last minute."),
    "rss_mb": Figure("roomtone_resident_memory_bytes", "Memory of the sensor's program.", 1e6),
    "temperature_c": Figure("roomtone_temperature_celsius", "Of the sensor's processor."),
    "realtime_factor": Figure("roomtone_realtime_ratio", "Seconds of work per second of sound, in the last minute."),
    "dropped_blocks": Figure("roomtone_dropped_blocks_total", "Blocks of 80 ms of sound that were not looked at."),
    "inference_ms.p50": Figure(*_INFERENCE, "50"),
    "inference_ms.p99": Figure(*_INFERENCE, "99"),
    "inference_ms.worst": Figure(*_INFERENCE, "100"),
    "latency_ms.p50": Figure(*_LATENCY, "50"),
    "latency_ms.p99": Figure(*_LATENCY, "99"),
    "latency_ms.worst": Figure(*_LATENCY, "100"),
    "outbox_depth": Figure("roomtone_outbox_events", "Events that the broker has not acknowledged."),
    "outbox_dropped": Figure("roomtone_outbox_dropped_events_total", "Events that were lost because too many waited."),
    "outbox_problem": Figure("roomtone_outbox_problem", "1 while the sensor's disk cannot keep events, else 0."),
    "reconnects": Figure("roomtone_reconnects_total", "Connections to the broker after the first."),
    "ignored_commands": Figure("roomtone_ignored_commands_total", "Commands that were refused or not understood."),
    "broker.problem": Figure("roomtone_broker_problem", "1 while something keeps messages from the broker, else 0."),
    "broker.last_problem_ts": Figure("roomtone_broker_last_problem_timestamp_seconds",
                                     "Unix time of the last problem between sensor and broker."),
    "broker.certificate_ends": Figure("roomtone_broker_certificate_expiry_timestamp_seconds", _ENDS.format("broker")),
    "broker.own_certificate_ends": Figure("roomtone_certificate_expiry_timestamp_seconds", _ENDS.format("sensor")),
    "bandwidth_hz": Figure("roomtone_microphone_bandwidth_hertz", "Above which the microphone delivers nothing."),
    "room_utterances": Figure("roomtone_room_utterances", "By which the room is known to the model."),
    "loudest_minute_db": Figure("roomtone_loudest_minute_decibels", "Above the noise floor, in the last 24 hours."),
}  # fmt: skip


class Condition(NamedTuple):
    """How the recorder is. certificates: when they end, Unix time, by whose they are, as far as they are known."""

    connected: bool
    store_works: bool
    kept: int
    waiting: int
    certificates: Mapping[str, float | None]


class Metrics:
    """All metrics of a moment, as prometheus_client collects them."""

    def __init__(self, sensors: Sensors, condition: Callable[[], Condition]) -> None:
        self._sensors, self._condition = sensors, condition

    def collect(self) -> Iterator[Any]:
        """Yield a family per metric."""
        yield from self._of_recorder()
        sensors = self._sensors.each()
        for name, words, value in (
            ("online", "1 while the sensor is connected to the broker, else 0.", lambda each: each.online),
            ("listening", "1 while listening is switched on, else 0.", lambda each: each.listening),
            ("last_message_timestamp_seconds", "Unix time at which the sensor said something last.",
             lambda each: each.last_s),
            ("clock_offset_seconds", "By how much the sensor's clock is ahead of the recorder's.",
             lambda each: each.ahead_s),
        ):  # fmt: skip
            yield _family(f"roomtone_{name}", words, ("device",),
                          (((device,), value(each)) for device, each in sensors.items()))  # fmt: skip
        yield _info(sensors)
        yield _microphones(sensors)
        for name in dict.fromkeys(figure.name for figure in FIGURES.values()):
            ours = {key: figure for key, figure in FIGURES.items() if figure.name == name}
            words, named = next(iter(ours.values())).help, ("device",)
            if any(figure.percentile for figure in ours.values()):
                named = ("device", "percentile")
            yield _family(name, words, named, (
                ((device, figure.percentile)[: len(named)], round(found * figure.scale, 9))
                for device, each in sensors.items() for key, figure in ours.items()
                if (found := each.figures.get(key)) is not None
            ))  # fmt: skip

    def _of_recorder(self) -> Iterator[Any]:
        from prometheus_client.core import InfoMetricFamily

        now = self._condition()
        info = InfoMetricFamily("roomtone_recorder", "The recorder's version.", labels=())
        info.add_metric((), {"version": __version__})
        yield info
        for name, words, value in (
            ("connected", "1 while the recorder is connected to the broker, else 0.", now.connected),
            ("store_problem", "1 while the history's store cannot be written, else 0.", not now.store_works),
            ("kept_events_total", "Events that were kept since the recorder's start.", now.kept),
            ("waiting_events", "Events that came and are not kept yet.", now.waiting),
            ("ignored_messages_total", "Messages that made no sense, or were of too many devices.",
             self._sensors.ignored),
        ):  # fmt: skip
            yield _family(f"roomtone_recorder_{name}", words, (), [((), value)])
        yield _family("roomtone_recorder_certificate_expiry_timestamp_seconds", _ENDS.format("recorder or its broker"),
                      ("of",), (((whose,), ends_s) for whose, ends_s in now.certificates.items()))  # fmt: skip


def _family(name: str, words: str, labels: tuple[str, ...], samples: Any) -> Any:
    """Return a counter where its name ends as a counter's does, else a gauge; without samples of None."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    made = (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, words, labels=labels)
    for values, value in samples:
        if value is not None:
            made.add_metric(values, float(value))
    return made


def _info(sensors: Mapping[str, Sensor]) -> Any:
    from prometheus_client.core import InfoMetricFamily

    made = InfoMetricFamily("roomtone_sensor", "The sensor's version and the model that it runs.", labels=("device",))
    for device, each in sensors.items():
        made.add_metric((device,), {"version": each.version or "", "model": each.model or ""})
    return made


def _microphones(sensors: Mapping[str, Sensor]) -> Any:
    from prometheus_client.core import StateSetMetricFamily

    words = "State of the microphone: ok, off, quiet-hours, starting, or why it does not work."
    made = StateSetMetricFamily("roomtone_microphone_state", words, labels=("device",))
    for device, each in sensors.items():
        if each.microphone is not None:
            made.add_metric((device,), {reason: reason == each.microphone for reason in each.seen})
    return made
