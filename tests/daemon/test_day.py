"""The retained day over ends, kills and starts of a real sensor, against a subscriber that saw all of it."""

import signal
import subprocess
import time

import pytest

from edge.voice.payloads import unix_s
from tests.support.broker import Broker
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S
from tests.support.subscriber import Subscriber

SLACK_S = 2.0  # that may be missing before a kill, beside the minute in which a timeline is due
ROUNDED_S = 0.001  # to which times are told
Stretch = tuple[float, float, str, bool]  # from, until, label, whether somebody listened


def day(port: int) -> tuple[list[Stretch], float]:
    """Return what a newcomer is told of the day: every run with its end, and until when it is known."""
    with Subscriber(port, "roomtone/room/timeline") as newcomer:
        told = newcomer.wait_for(lambda w: w.on("timeline"))[-1].json
    until = unix_s(told["ts"])
    starts = [unix_s(start) for start, _, _ in told["runs"]]
    return [
        (start, end, label, not (label == "quiet" and sure == 0))
        for start, end, (_, label, sure) in zip(starts, [*starts[1:], until], told["runs"], strict=True)
    ], until


def label_at(stretches: list[Stretch], moment: float) -> str | None:
    """Return what the day says of a moment: a label, `nobody`, or None for nothing."""
    for start, end, label, listened in stretches:
        if start <= moment < end:
            return label if listened else "nobody"
    return None


def seen(watcher: Subscriber, began_at: float, ended_at: float) -> list[tuple[float, str]]:
    """Return the label at moments of a life, by the events that a subscriber saw, away from each change."""
    changes = [(unix_s(message.json["ts"]), message.json["event_type"]) for message in watcher.on("event")]
    changes = sorted([(began_at, "quiet"), *(change for change in changes if began_at <= change[0] <= ended_at)])
    ends = [start for start, _ in changes[1:]] + [ended_at]
    return [((start + end) / 2, label) for (start, label), end in zip(changes, ends, strict=True) if end - start > 0.5]


def first_sound(watcher: Subscriber, since: float) -> float:
    """Return when a life began to hear, as its own states say."""
    ok = [m.json for m in watcher.on("state") if m.json["microphone"] == "ok" and unix_s(m.json["ts"]) >= since]
    return min(unix_s(state["since"]) for state in ok)


def one_life(tmp_path, broker: Broker, watcher: Subscriber, *, lasts_s: float, end: str) -> tuple[float, float, float]:
    """Run a sensor on the recording; return when it began to hear, when it was ended, and when it was gone."""
    before = len(watcher.on("event"))
    with Daemon(tmp_path, broker.port) as daemon:
        watcher.wait_for(lambda w: len(w.on("event")) > before + 1)
        began_at = first_sound(watcher, daemon.began_at)
        time.sleep(max(0.0, began_at + lasts_s - time.time()))
        ended_at = time.time()
        if end == "kill":
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait(PATIENCE_S)
        else:
            assert daemon.stop() == 0
        gone_at = time.time()
    watcher.wait_for(lambda w: w.on("status")[-1].payload == "offline")
    return began_at, ended_at, gone_at


def check_day(stretches: list[Stretch], lives: list[tuple[float, float, float, str]], watcher: Subscriber) -> float:
    """Whether the day says of each life what was seen, and of the time between that nobody listened.

    Returns how many seconds at most before a kill are missing.
    """
    missing_s = 0.0
    for number, (began_at, ended_at, gone_at, end) in enumerate(lives):
        inside = seen(watcher, began_at, ended_at)
        known_until = max((e for s, e, _, listened in stretches if listened and s < ended_at), default=0.0)
        known_until = min(known_until, ended_at)
        lost_s = ended_at - known_until
        missing_s = max(missing_s, lost_s)
        assert lost_s <= (ROUNDED_S if end == "stop" else 60.0 + SLACK_S)
        for moment, label in inside:
            told = label_at(stretches, moment)
            assert told == label or (end == "kill" and told in ("nobody", None) and ended_at - moment <= 60 + SLACK_S)
        if number + 1 < len(lives):
            assert label_at(stretches, (gone_at + lives[number + 1][0]) / 2) == "nobody"
    return missing_s


@pytest.mark.parametrize("ends", [("stop", "kill", "stop")])
def test_the_day_says_what_was_heard_and_no_more(tmp_path, broker, ends):
    run(tmp_path, broker, ends, lasts_s=12.0)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("ends", [("stop", "stop", "stop"), ("kill", "kill", "stop"), ("stop", "kill", "kill", "stop")])
def test_lives_of_fifty_seconds_become_no_silence(tmp_path, broker, ends):
    run(tmp_path, broker, ends, lasts_s=46.0)


def run(tmp_path, broker: Broker, ends: tuple[str, ...], *, lasts_s: float) -> None:
    lives = []
    with Subscriber(broker.port) as watcher:
        for end in ends:
            began_at, ended_at, gone_at = one_life(tmp_path, broker, watcher, lasts_s=lasts_s, end=end)
            lives.append((began_at, ended_at, gone_at, end))
            stretches, until = day(broker.port)
            lost_s = ended_at - until
            print(f"\n{end} after {ended_at - began_at:.1f} s: {len(stretches)} runs, told until {lost_s:.1f} s before")
            if end == "stop":
                assert ended_at - ROUNDED_S <= until <= gone_at
                assert unix_s(watcher.on("timeline")[-1].json["ts"]) == until
        missing_s = check_day(stretches, lives, watcher)
        heard_s = sum(e - s for s, e, _, listened in stretches if listened)
        lived_s = sum(e - b for b, e, _, _ in lives)
        print(f"{ends}: lived {lived_s:.1f} s, the day knows {heard_s:.1f} s of it; at most {missing_s:.1f} s missing")


def test_the_same_label_after_a_gap_begins_anew(tmp_path, broker, virtual_microphone):
    """Nobody listened in between: neither state nor timeline may say that it was quiet all along."""
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port, recording=None):
        watcher.wait_for(lambda w: w.on("state") and w.on("state")[-1].json["microphone"] == "ok")
        for word, microphone in (("OFF", "off"), ("ON", "ok")):
            time.sleep(2.0)
            switched_at = time.time()
            subprocess.run(
                ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", "roomtone/room/listening/set", "-m", word],
                check=True,
            )
            watcher.wait_for(lambda w, told=microphone: w.on("state")[-1].json["microphone"] == told)
            state = watcher.on("state")[-1].json
            assert state["emotion"] == "quiet"
            assert unix_s(state["since"]) > switched_at - 0.5
