"""Thirty sensors and two hundred messages a second for a minute: memory and the main thread's share of a core."""

import threading
import time

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.puppet import LABELS, Puppet, plausible_day, spread
from tests.support.broker import Broker
from tests.support.patience import PATIENCE_S, wait_until

SENSORS = 30
RATE_HZ = 200
WARM_UP_S = 15
PAST_CHANGES = 1100  # more than a page keeps of one sensor, so that its memory is full when it is measured
GROWTH_BYTES = 500_000
MEASURED = 60 * RATE_HZ  # messages, of which all but a few words are forgotten


class Crowd:
    """Sends states and events of many sensors at a steady rate, on a thread of its own."""

    def __init__(self, sensors: list[Puppet]) -> None:
        self.sent = 0
        self._sensors = sensors
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(max(0.0, began + self.sent / RATE_HZ - time.monotonic())):
            sensor = self._sensors[self.sent % SENSORS]
            turn = self.sent // SENSORS
            label = LABELS[turn // 8 % len(LABELS)]
            if turn % 8 == 0:
                sensor.event(label, LABELS[turn // 8 % len(LABELS) - 1], wait=False)
            else:
                sensor.state(label, 0.7, scores=spread(label, 0.7, seed=turn), wait=False)
            self.sent += 1


def remember(sensors: list[Puppet], count: int) -> None:
    """Give the page a long past: `count` changes of every sensor, a second apart."""
    began = time.time() - count - 60
    for number in range(count):
        label, previous = LABELS[number % len(LABELS)], LABELS[number % len(LABELS) - 1]
        for sensor in sensors:
            sensor.event(label, previous, at_s=began + number, wait=number % 100 == 99)


def main_thread_s() -> float:
    """CPU seconds of the page's main thread: the busiest of the renderers' (Chromium keeps a spare one)."""
    family = psutil.Process().children(recursive=True)
    renderers = [process for process in family if "--type=renderer" in process.cmdline()]
    threads = [thread for process in renderers for thread in process.threads() if thread.id == process.pid]
    return max(thread.user_time + thread.system_time for thread in threads)


def heap_bytes(page: Page) -> int:
    """What the page holds on to: the least of some looks after a collection, as messages are under way all the time."""
    session = page.context.new_cdp_session(page)
    looks = []
    for _ in range(6):
        session.send("HeapProfiler.collectGarbage")
        looks.append(int(session.send("Runtime.getHeapUsage")["usedSize"]))
        time.sleep(0.3)
    session.detach()
    return min(looks)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("view", ["", "#room-7"])
def test_thirty_sensors_two_hundred_messages_a_second(room: Broker, visit, view: str, capsys: pytest.CaptureFixture):
    puppets = [Puppet(room.port, f"room-{number}").__enter__() for number in range(SENSORS)]
    for number, sensor in enumerate(puppets):
        sensor.timeline(plausible_day(time.time(), seed=number))
        sensor.health()
    page = visit(view).page
    crowd = Crowd(puppets)
    try:
        remember(puppets, PAST_CHANGES)
        time.sleep(WARM_UP_S)
        before_bytes, before_s, start_s, sent = heap_bytes(page), main_thread_s(), time.monotonic(), crowd.sent
        wait_until(lambda: crowd.sent - sent >= MEASURED, patience_s=60 + PATIENCE_S)
        rate_hz = (crowd.sent - sent) / (time.monotonic() - start_s)
        worked_s = main_thread_s() - before_s
        after_bytes = heap_bytes(page)
        crowd.stop()
        puppets[7].state("of-my-own", 0.9)
        expect(page.locator("a[href='#room-7'] .tile-word" if view == "" else "#now-word")).to_have_text("of-my-own")
    finally:
        crowd.stop()
        for sensor in puppets:
            sensor.__exit__(None, None, None)
    with capsys.disabled():
        print(
            f"\n{view or 'all rooms'}: {rate_hz:.0f} messages/s, main thread {worked_s:.0f} s for {MEASURED}, "
            f"heap {before_bytes / 1e6:.1f} -> {after_bytes / 1e6:.1f} MB"
        )
    assert worked_s < 0.5 * MEASURED / RATE_HZ  # of its own time: how fast the messages come is the machine's affair
    assert after_bytes - before_bytes < GROWTH_BYTES
