"""How the sensor itself is: counters and timings of the last minute, and what the kernel says of the process."""

import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from edge import __version__
from edge.delivery.link import Link
from edge.hearing.observation import Observation
from edge.hearing.reach import Reach
from edge.sound.bandwidth import Bandwidth
from edge.sound.blocks import BLOCK_S, Block
from edge.voice.payloads import Health, Microphone, Percentiles, rfc3339

_START_S = 10.0


class HealthMeter:
    """Collects timings between two reports. bandwidth: of what was spoken since the microphone was opened; reach: of
    all that was heard since the start.

    holds_s: for how long what was last reported is worth telling: figures of the start are not those of a minute.
    """

    def __init__(self) -> None:
        self.holds_s = _START_S
        self._born_s = self._mark_s = time.monotonic()
        self._cpu_s = _cpu_s()
        self._blocks_ms: list[float] = []
        self._latency_ms: list[float] = []
        self.bandwidth = Bandwidth()
        self.reach = Reach()

    def timed(self, work: Callable[[Block], None], block: Block) -> None:
        """Do the work on one block, and take its time, and its latency from the last sample to the end of that work."""
        start_s = time.perf_counter()
        work(block)
        self._blocks_ms.append(1_000 * (time.perf_counter() - start_s))
        self._latency_ms.append(1_000 * (time.time() - block.captured_at))

    def hear(self, block: Block, observation: Observation) -> None:
        """Take what was heard in a block, for what it tells of the microphone."""
        self.reach.add(observation.above_floor_db)
        if observation.speech:
            self.bandwidth.add(block.samples)

    def report(
        self, *, microphone: Microphone, dropped_blocks: int, link: Link, room_utterances: int | None
    ) -> Health:
        """Return the health since the last report, and begin anew."""
        now_s, cpu_s = time.monotonic(), _cpu_s()
        wall_s = max(now_s - self._mark_s, 1e-6)
        sound_s = len(self._blocks_ms) * BLOCK_S
        health = Health(
            ts=rfc3339(time.time()),
            version=__version__,
            uptime_s=round(now_s - self._born_s, 1),
            cpu_ratio=round((cpu_s - self._cpu_s) / wall_s, 4),
            rss_mb=rss_mb(),
            temperature_c=_temperature_c(),
            realtime_factor=round(sum(self._blocks_ms) / 1_000 / sound_s, 5) if sound_s else 0.0,
            dropped_blocks=dropped_blocks,
            inference_ms=_percentiles(self._blocks_ms),
            latency_ms=_percentiles(self._latency_ms),
            outbox_depth=link.outbox.depth,
            reconnects=link.reconnects,
            microphone=microphone,
            outbox_dropped=link.outbox.dropped,
            outbox_problem=link.outbox.problem,
            ignored_commands=link.ignored_commands,
            broker=link.condition(),
            bandwidth_hz=self.bandwidth.hz,
            room_utterances=room_utterances,
            loudest_minute_db=self.reach.db,
        )
        self.holds_s = _START_S if now_s - self._born_s < _START_S else math.inf
        self._mark_s, self._cpu_s = now_s, cpu_s
        self._blocks_ms.clear()
        self._latency_ms.clear()
        return health


def rss_mb() -> float:
    """Return the resident memory in MB (the peak, where /proc does not tell the present)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    except OSError:
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _temperature_c() -> float | None:
    """Return the processor's temperature, None where the machine does not tell."""
    try:
        return int(Path("/sys/class/thermal/thermal_zone0/temp").read_text()) / 1_000
    except (OSError, ValueError):
        return None


def _percentiles(values: list[float]) -> Percentiles:
    """Return the nearest ranks; numpy's percentile brings numpy.ma, 1.5 MB of it, for the same."""
    if not values:
        return Percentiles()
    ordered = sorted(values)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
    return Percentiles(p50=round(p50, 3), p99=round(p99, 3), worst=round(ordered[-1], 3))
