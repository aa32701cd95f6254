"""The retained day over ends, kills and starts of a real sensor, against a subscriber that saw all of it."""

import json
import signal
import subprocess
import time

import pytest

from edge.voice.payloads import rfc3339, unix_s
from tests.support.broker import Broker
from tests.support.daemon import Daemon, switched
from tests.support.patience import PATIENCE_S
from tests.support.subscriber import Subscriber
from tests.support.system import require_program

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
            switch(broker.port, word)
            watcher.wait_for(lambda w, told=microphone: w.on("state")[-1].json["microphone"] == told)
            state = watcher.on("state")[-1].json
            assert state["emotion"] == "quiet"
            assert unix_s(state["since"]) > switched_at - 0.5


@pytest.mark.parametrize("remembers", [True, False], ids=["a house's broker", "one that forgets"])
def test_off_in_an_earlier_life_is_off_since_then(tmp_path, broker, remembers):
    """Whatever a restart begins, nobody has listened since it was switched off."""
    off_at = round(time.time(), 3) - 600
    switched(tmp_path / "state", "OFF", since=off_at)
    if remembers:
        early = [[rfc3339(off_at - 60), "happy", 0.8], [rfc3339(off_at - 30), "quiet", 0.9]]
        told = json.dumps({"schema": 1, "ts": rfc3339(off_at), "runs": early})
        subprocess.run(
            ["mosquitto_pub", "-p", str(broker.port), "-r", "-t", "roomtone/room/timeline", "-m", told], check=True
        )
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port):
        watcher.wait_for(lambda w: w.on("state") and w.on("state")[-1].json["microphone"] == "off")
        stretches = watcher.wait_for(
            lambda w: w.on("timeline") and w.on("timeline")[-1].json["runs"][-1][2] == 0 and day(broker.port)[0]
        )
        state = watcher.on("state")[-1].json
        assert (state["emotion"], unix_s(state["since"])) == ("quiet", pytest.approx(off_at, abs=ROUNDED_S))
        assert [start for start, _, _, heard in stretches if not heard] == [pytest.approx(off_at, abs=ROUNDED_S)]
        assert [label for _, _, label, heard in stretches if heard] == (["happy", "quiet"] if remembers else [])


def test_a_long_day_told_in_two_parts_is_taken_up_and_told_so_again(tmp_path, broker):
    now = round(time.time(), 3)
    early = [[rfc3339(now - 40_000 + 300 * n), "happy" if n % 2 else "sad", 0.8] for n in range(100)]
    later = ((1_060, "happy", 0.8), (1_000, "fear", 0.7), (500, "quiet", 0.9))
    late = [[rfc3339(now - ago), *said] for ago, *said in later]
    for name, ts, runs in (("timeline", now - 1_000, early), ("recent", now - 200, late)):
        told = json.dumps({"schema": 1, "ts": rfc3339(ts), "runs": runs})
        at = ["-p", str(broker.port), "-r", "-t", f"roomtone/room/{name}"]
        subprocess.run(["mosquitto_pub", *at, "-m", told], check=True)
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port):
        runs = watcher.wait_for(lambda w: w.on("timeline")[1:])[-1].json["runs"]  # after the one that was retained
        assert [run[:2] for run in runs[:100]] == [run[:2] for run in early]
        assert [run[1:] for run in runs[100:103]] == [["fear", 0.7], ["quiet", 0.9], ["quiet", 0.0]]
        recent = watcher.wait_for(lambda w: w.on("recent")[1:])[-1].json
        whole = watcher.on("timeline")[-1].json
        assert 0 < unix_s(recent["ts"]) - unix_s(whole["ts"]) < 60 + SLACK_S
        assert unix_s(recent["runs"][0][0]) >= unix_s(whole["ts"]) - 60 - ROUNDED_S


def test_a_command_that_waited_while_the_sensor_was_away_is_said_in_the_log(tmp_path, broker):
    with Subscriber(broker.port) as watcher:
        with Daemon(tmp_path, broker.port) as daemon:
            watcher.wait_for(lambda w: w.on("listening") and w.on("listening")[-1].payload == "ON")
            switch(broker.port, "OFF")
            watcher.wait_for(lambda w: w.on("listening")[-1].payload == "OFF")
            assert "microphone: switched OFF by a command on listening/set\n" in daemon.log
        switch(broker.port, "ON")
        with Daemon(tmp_path, broker.port) as daemon:
            watcher.wait_for(lambda w: w.on("listening")[-1].payload == "ON")
            assert "microphone: switched ON by a command on listening/set, which may have waited" in daemon.log


def switch(port: int, word: str) -> None:
    words = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", "roomtone/room/listening/set", "-m", word]
    subprocess.run(words, check=True)


def test_a_program_that_delivers_zeros_is_a_day_in_which_nobody_listened(tmp_path, broker):
    """What the contract says of a microphone that is not ok holds where sound flows in which nobody can be heard."""
    ffmpeg = require_program("ffmpeg", "ffmpeg")
    command = [ffmpeg, "-v", "error", "-re", "-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-f", "wav", "-"]
    edge = {"audio": {"command": command}, "state_interval_s": 1}
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port, recording=None, edge=edge):
        watcher.wait_for(lambda w: [m for m in w.on("state") if m.json["microphone"] == "zeros"][2:])
    states = [message.json for message in watcher.on("state")]
    heard = [state for state in states if state["microphone"] == "ok"]
    deaf = [state for state in states if state["microphone"] == "zeros"]
    assert len({state["since"] for state in heard}) == 1 < len(heard)  # a label begins once, to the millisecond
    assert {(state["emotion"], state["confidence"], state["since"]) for state in deaf} == {
        ("quiet", 0.0, heard[0]["since"])  # from the first zero on
    }
    assert watcher.on("event") == []
    stretches, until = day(broker.port)
    assert until >= unix_s(deaf[-1]["ts"]) - 1.0
    assert [listened for _, _, _, listened in stretches] == [False]
