"""Whoever floods the sensor is read slowly: the thread that reads works no more than its share, after a moment."""

import time

from edge.delivery import throttle as module
from edge.delivery.throttle import SHARE, Throttle


class Clock:
    """Time as the throttle sees it: work takes some of it, and it sleeps the rest."""

    def __init__(self) -> None:
        self.now_s = self.worked_s = 0.0
        self.sleeps = 0

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.worked_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.sleeps += 1

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.worked_s += seconds


def commands(count: int, clock: Clock, throttle: Throttle) -> None:
    """So many come at once, each with a tenth of a millisecond of work."""
    for _ in range(count):
        clock.work(100e-6)
        throttle.rest()


def test_a_flood_takes_its_share_and_no_more(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    throttle = Throttle()
    commands(20_000, clock, throttle)
    assert clock.worked_s / clock.now_s < 1.1 * SHARE
    assert clock.sleeps < 20_000 / 10  # a waking costs as much as a command


def test_a_few_commands_do_not_wait(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    throttle = Throttle()
    commands(500, clock, throttle)
    assert clock.now_s - clock.worked_s < 1e-6
    clock.now_s += 60.0  # and after a pause it is as at first
    before_s = clock.now_s - clock.worked_s
    commands(500, clock, throttle)
    assert clock.now_s - clock.worked_s - before_s < 1e-6


def test_it_counts_its_own_thread_alone():
    throttle, began_s = Throttle(), time.thread_time()
    time.sleep(0.2)
    throttle.rest()
    assert time.thread_time() - began_s < 0.1
