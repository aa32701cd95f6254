"""Switched off stays off: whatever is restarted, lost or cut, no microphone is opened, as strace saw it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import yaml

from edge.config import load_edge
from edge.daemon.run import sense
from edge.daemon.switch import Setting, Switch, later, setting_of
from edge.delivery.packets import Word
from edge.sound.blocks import BLOCK_SAMPLES, timed_blocks
from edge.voice.payloads import rfc3339, unix_s
from tests.support.broker import Broker, free_port
from tests.support.daemon import Daemon, switched
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import require_program

OLD, NEW = "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:01.000Z"


def setting(word: str, ts: str | None) -> Setting:
    return Setting(listening=word, ts=ts)


@pytest.mark.parametrize(
    ("one", "other", "wins"),
    [
        (("ON", OLD), ("OFF", NEW), ("OFF", NEW)),
        (("ON", NEW), ("OFF", OLD), ("ON", NEW)),
        (("ON", NEW), ("OFF", NEW), ("OFF", NEW)),
        (("ON", NEW), ("OFF", None), ("OFF", None)),  # of a sensor of before
        (("ON", None), ("OFF", OLD), ("OFF", OLD)),
        (("OFF", None), ("OFF", OLD), ("OFF", OLD)),
        (("ON", None), ("ON", OLD), ("ON", OLD)),
    ],
)
def test_the_later_counts_and_off_where_nobody_knows(one, other, wins):
    assert later(setting(*one), setting(*other)) == setting(*wins) == later(setting(*other), setting(*one))


def test_what_is_said_is_on_disk_and_later_than_what_was(tmp_path):
    path = tmp_path / "state" / "listening-room.json"
    switch = Switch(path)
    assert switch.setting is None
    switch.recall(None)
    assert Switch(path).setting == setting("ON", None)
    switch.turn(on=False)
    assert Switch(path).setting == switch.setting
    assert abs(unix_s(switch.setting.ts) - time.time()) < 60
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_clock_that_went_back_makes_nothing_earlier(tmp_path):
    ahead = rfc3339(time.time() + 86_400)
    path = tmp_path / "listening.json"
    switch = Switch(path)
    switch.recall(setting("ON", ahead))
    switch.turn(on=False)
    assert later(switch.setting, setting("ON", ahead)) == switch.setting
    again = Switch(path)
    again.recall(setting("ON", ahead))
    assert not again.setting.on


def test_what_people_say_now_is_later_than_anything_that_is_retained(tmp_path):
    switch = Switch(tmp_path / "listening.json")
    switch.turn(on=False)
    switch.recall(setting("ON", rfc3339(time.time() + 86_400)))
    assert not switch.setting.on


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"listening": "on"}', b'{"ts": null}', b"\x00" * 60])
def test_a_file_that_makes_no_sense_is_off_until_somebody_says_on(tmp_path, content):
    path = tmp_path / "listening.json"
    path.write_bytes(content)
    switch = Switch(path)
    switch.recall(setting("ON", NEW))
    assert not switch.setting.on
    switch.turn(on=True)
    assert Switch(path).setting.on


def test_a_disk_that_does_not_let_it_is_named_and_tried_again(tmp_path, caplog):
    (tmp_path / "state").write_text("not a folder")
    switch = Switch(tmp_path / "state" / "listening.json")
    for on in (True, False):
        switch.turn(on=on)
    said = [record.getMessage() for record in caplog.records if "on disk" in record.msg]
    assert [line.partition(": that listening")[0] for line in said] == [f"{tmp_path}/state/listening.json: File exists"]
    (tmp_path / "state").unlink()
    switch.keep(0.0)
    assert not (tmp_path / "state").exists()  # not all the time
    switch.keep(time.monotonic() + 60)
    assert not Switch(tmp_path / "state" / "listening.json").setting.on


def test_what_another_name_left_holds_until_this_one_is_switched(tmp_path):
    living, attic, here = (tmp_path / f"listening-{name}.json" for name in ("living", "attic", "living2"))
    assert Switch(here, [living, attic]).setting is None  # who was never there left nothing
    Switch(living).turn(on=False)
    switch = Switch(here, [living, attic])
    assert (switch.setting, switch.left_by) == (Switch(living).setting, "living")
    assert not here.exists()  # until the broker answered
    switch.recall(None)
    assert Switch(here).setting == switch.setting
    switch.turn(on=True)
    assert switch.left_by is None
    assert Switch(here, [living]).setting.on  # it has its own by now
    here.unlink()
    Switch(attic).turn(on=True)
    assert Switch(here, [living, attic]).setting is None  # the later one was ON, which tells nothing of this one
    living.unlink()
    attic.write_text("{")
    assert Switch(here, [living, attic]).left_by == "attic"


def test_what_the_broker_has_of_the_new_name_counts_where_it_is_later(tmp_path):
    switched(tmp_path, "OFF", "living")  # OLD
    for word, ts, on in (("ON", NEW, True), ("ON", None, False), ("OFF", None, False)):
        switch = Switch(tmp_path / "listening-living2.json", [tmp_path / "listening-living.json"])
        switch.recall(setting(word, ts))
        assert switch.setting.on is on
        switch.path.unlink()


@pytest.mark.parametrize("payload", [b"", b"off", b"\xff", b'{"a": 1}'])
def test_rubbish_on_the_broker_is_nothing(payload):
    assert setting_of(Word(word=payload, ts=NEW)) is None
    assert setting_of(None) is None
    assert setting_of(Word(word=b"OFF", ts="yesterday")) == setting("OFF", None)


def say(port: int, topic: str, word: str, *how: str) -> None:
    command = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", f"roomtone/room/{topic}", "-m", word, *how]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("said", ["by another name", "by the broker alone"])
def test_a_recording_obeys_the_switch_as_a_microphone_does(tmp_path, broker, said):
    if said == "by another name":
        switched(tmp_path / "state", "OFF", "living")
    else:
        say(broker.port, "listening", "OFF", "-r")
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:
        watcher.wait_for(lambda w: w.on("state") and w.on("state")[-1].json["microphone"] == "off")
        assert "sound flows" not in daemon.log
        say(broker.port, "listening/set", "ON")
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "ok")


# The sensor as a process, its calls to open and connect traced.


class Traced:
    """A sensor on the virtual microphone. opened: how often it reached for a microphone, by the kernel's account."""

    def __init__(self, folder: Path, microphone, port: int, *, inject: str | None = None, **how) -> None:
        self._sound = str(microphone.folder)
        self._trace = folder / f"trace-{time.monotonic_ns()}"
        calls = ["-e", "trace=openat,connect,rename,fsync"] + (["-e", f"inject={inject}"] if inject else [])
        wrapper = (require_program("strace", "strace"), "-f", "-qq", "-s", "500", *calls, "-o", str(self._trace))
        env = {"PYTHONDONTWRITEBYTECODE": "1"}  # what is written and renamed is the switch
        self.daemon = Daemon(folder, port, recording=None, wrapper=wrapper, env=env, **how)

    @property
    def opened(self) -> list[str]:
        lines = self._trace.read_text(errors="replace").splitlines() if self._trace.exists() else []
        sought = re.compile(rf"connect\(.*{re.escape(self._sound)}|openat\(.*/dev/snd/")
        return [line for line in lines if sought.search(line)]

    def end(self, number: int) -> None:
        """End the sensor itself, not strace, and wait for both."""
        pid = self.daemon.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), number)
        self.daemon.process.wait(PATIENCE_S)


@contextmanager
def traced(*arguments, **how):
    sensor = Traced(*arguments, **how)
    with sensor.daemon:
        try:
            yield sensor
        finally:
            if sensor.daemon.process.poll() is None:
                sensor.end(signal.SIGKILL)


def command(port: int, word: str) -> None:
    words = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", "roomtone/room/listening/set", "-m", word]
    subprocess.run(words, check=True)


def told(watcher: Subscriber, name: str):
    """Return the newest of what was told on a topic."""
    return watcher.on(name)[-1] if watcher.on(name) else None


def hears(watcher: Subscriber) -> bool:
    return bool(watcher.on("state")) and told(watcher, "state").json["microphone"] == "ok"


def is_off(watcher: Subscriber) -> bool:
    """Whether the switch and the state say so, as Home Assistant and the page have it."""
    return (
        bool(watcher.on("listening") and watcher.on("state"))
        and told(watcher, "listening").payload == "OFF"
        and told(watcher, "state").json["microphone"] == "off"
        and told(watcher, "status").payload == "online"
    )


def switch_off(port: int) -> None:
    with Subscriber(port) as watcher:
        watcher.wait_for(hears)
        command(port, "OFF")
        watcher.wait_for(is_off)


def stays_off(port: int, sensor: Traced, microphone) -> None:
    """Wait until it says that it is off, and a moment more: nothing was opened. Switched on, it is (the trace sees)."""
    with Subscriber(port) as watcher:
        watcher.wait_for(is_off)
        time.sleep(1.0)
        assert sensor.opened == []
        assert microphone.listeners() == 0
        assert not [message for message in watcher.on("event") if message.json["event_type"] != "quiet"]
        command(port, "ON")
        watcher.wait_for(hears)
        assert sensor.opened != []


def forget_all(broker: Broker) -> None:
    (broker.folder / "mosquitto.db").unlink(missing_ok=True)


@pytest.fixture(params=[1, pytest.param(20, marks=pytest.mark.slow)])
def times(request) -> int:
    return request.param


ENDS = (signal.SIGTERM, signal.SIGKILL)


@pytest.mark.timeout(3_600)
def test_an_embedded_broker_after_a_restart(tmp_path, virtual_microphone, times):
    port = free_port()
    how = {"mqtt": {"host": "embedded", "websockets_port": free_port()}}
    for number in range(times):
        with traced(tmp_path, virtual_microphone, port, **how) as sensor:
            sensor.daemon.wait_until_ready()
            switch_off(port)
            sensor.end(ENDS[number % 2])
        with traced(tmp_path, virtual_microphone, port, **how) as sensor:
            sensor.daemon.wait_until_ready()
            stays_off(port, sensor, virtual_microphone)


@pytest.mark.timeout(3_600)
def test_a_broker_without_persistence_when_both_restart(tmp_path, virtual_microphone, broker, times):
    for number in range(times):
        with traced(tmp_path, virtual_microphone, broker.port) as sensor:
            switch_off(broker.port)
            broker.kill()
            sensor.end(ENDS[number % 2])
        forget_all(broker)
        broker.start()
        with traced(tmp_path, virtual_microphone, broker.port) as sensor:
            stays_off(broker.port, sensor, virtual_microphone)


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kept", [True, False], ids=["state kept", "state lost"])
def test_a_broker_that_remembers_but_is_away_at_the_start(tmp_path, virtual_microphone, broker, times, kept):
    for number in range(times):
        with traced(tmp_path, virtual_microphone, broker.port) as sensor:
            switch_off(broker.port)
            sensor.end(ENDS[number % 2])
        broker.stop()
        if not kept:
            (tmp_path / "state" / "listening-room.json").unlink()
        with traced(tmp_path, virtual_microphone, broker.port) as sensor:
            sensor.daemon.wait_for_status("(switched off|waiting for the broker to tell).*connection refused")
            time.sleep(1.0)
            assert sensor.opened == []
            broker.start()
            stays_off(broker.port, sensor, virtual_microphone)


CUTS = ("rename:signal=SIGKILL:when=1", "fsync:signal=SIGKILL:when=1", "fsync:signal=SIGKILL:when=2", None)


@pytest.mark.timeout(3_600)
def test_power_that_is_cut_between_the_command_and_its_writing(tmp_path, virtual_microphone, broker, times):
    """Cut before, while or after it is written: the broker keeps a command until it is obeyed, and gives it again."""
    state = tmp_path / "state"
    for number in range(max(times, len(CUTS))):
        switched(state, "ON")
        broker.stop()
        forget_all(broker)
        broker.start()
        cut = CUTS[number % len(CUTS)]
        with (
            traced(tmp_path, virtual_microphone, broker.port, inject=cut) as sensor,
            Subscriber(broker.port) as watcher,
        ):
            watcher.wait_for(hears)
            command(broker.port, "OFF")
            if cut is None:
                time.sleep(0.002 * number)
                sensor.end(signal.SIGKILL)
            else:
                sensor.daemon.process.wait(PATIENCE_S)
        kept = json.loads((state / "listening-room.json").read_text())  # whole, the old or the new
        with traced(tmp_path, virtual_microphone, broker.port) as sensor, Subscriber(broker.port) as watcher:
            watcher.wait_for(is_off)
            if kept["listening"] == "OFF":
                assert sensor.opened == []
            wait_until(lambda: virtual_microphone.listeners() == 0)
            assert json.loads((state / "listening-room.json").read_text())["listening"] == "OFF"


def test_a_sensor_that_gets_another_name_stays_off_and_says_why(tmp_path, virtual_microphone, broker):
    with traced(tmp_path, virtual_microphone, broker.port) as sensor, Subscriber(broker.port) as watcher:
        watcher.wait_for(hears)
        command(broker.port, "OFF")
        watcher.wait_for(is_off)
        sensor.end(signal.SIGTERM)
    renamed = {"device": {"id": "room2"}}
    with (
        Subscriber(broker.port, "roomtone/room2/#") as watcher,
        traced(tmp_path, virtual_microphone, broker.port, edge=renamed) as sensor,
    ):
        watcher.wait_for(is_off)
        why = "(as the sensor room of this machine)"
        watcher.wait_for(lambda w: any(why in message.json["microphone"]["detail"] for message in w.on("health")))
        assert "listening-room.json: switched off under that name, and off here, too" in sensor.daemon.log
        assert sensor.opened == []
        on = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", "roomtone/room2/listening/set", "-m", "ON"]
        subprocess.run(on, check=True)
        watcher.wait_for(hears)


def test_in_quiet_hours_nothing_is_opened_at_the_start(tmp_path, virtual_microphone, broker):
    hours = {"start": "00:00", "end": "23:59"} if time.gmtime().tm_hour < 23 else {"start": "12:00", "end": "11:59"}
    edge = {"quiet_hours": hours}
    switched(tmp_path / "state", "ON")
    with traced(tmp_path, virtual_microphone, broker.port, edge=edge) as sensor, Subscriber(broker.port) as watcher:
        watcher.wait_for(lambda w: w.on("state") and told(w, "state").json["microphone"] == "quiet-hours")
        watcher.wait_for(lambda w: w.on("listening") and told(w, "listening").payload == "ON")
        assert sensor.opened == []


def test_quiet_hours_set_over_mqtt_hold_where_the_state_folder_is_lost(tmp_path, virtual_microphone, broker):
    hours = {"start": "00:00", "end": "23:59"} if time.gmtime().tm_hour < 23 else {"start": "12:00", "end": "11:59"}
    quiet = lambda w: w.on("state") and told(w, "state").json["microphone"] == "quiet-hours"  # noqa: E731
    with traced(tmp_path, virtual_microphone, broker.port) as sensor, Subscriber(broker.port) as watcher:
        watcher.wait_for(hears)
        settings = ["-t", "roomtone/room/settings/set", "-m", json.dumps({"quiet_hours": hours, "sensitivity": 30})]
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-q", "1", *settings], check=True)
        watcher.wait_for(lambda w: quiet(w) and told(w, "settings").json["set"])  # else the broker knows of nothing
        sensor.end(signal.SIGKILL)
    shutil.rmtree(tmp_path / "state")  # a new SD card
    for _ in range(2):  # then from the folder again
        with traced(tmp_path, virtual_microphone, broker.port) as sensor, Subscriber(broker.port) as watcher:
            watcher.wait_for(lambda w: w.on("status") and told(w, "status").payload == "online" and quiet(w))
            watcher.wait_for(lambda w: told(w, "settings") and not told(w, "settings").retained)
            assert told(watcher, "settings").json["set"] == ["sensitivity", "quiet_hours"]
            assert told(watcher, "settings").json["sensitivity"] == 30
            assert sensor.opened == []
            assert (tmp_path / "state" / "settings-room.json").exists()


def test_nothing_replaces_what_the_broker_knew_before_it_is_taken_up(tmp_path, broker):
    """The link has it at once; the sensor's own loop may be busy for longer, or lose its power meanwhile."""
    topics = "settings", "listening"
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port):
        watcher.wait_for(lambda w: w.on("listening"))
        say(broker.port, "settings/set", json.dumps({"sensitivity": 30}))
        command(broker.port, "OFF")
        watcher.wait_for(lambda w: is_off(w) and told(w, "settings").json["set"] == ["sensitivity"])
    shutil.rmtree(tmp_path / "state")
    config, free, ended = load_edge(tmp_path / "config.yaml"), threading.Event(), threading.Event()

    def busy():
        free.wait(PATIENCE_S)
        yield from timed_blocks(repeat(np.zeros(BLOCK_SAMPLES, np.float32)), started_at=time.time())

    life = threading.Thread(target=sense, args=(config, busy()), kwargs={"stopping": ended.is_set})
    with Subscriber(broker.port) as watcher:
        life.start()
        watcher.wait_for(lambda w: w.on("status") and told(w, "status").payload == "online")
        time.sleep(0.5)  # in which what would follow comes
        assert all(told(watcher, topic).retained for topic in topics)
        free.set()
        watcher.wait_for(lambda w: not any(told(w, topic).retained for topic in topics))
        assert told(watcher, "settings").json["set"] == ["sensitivity"]
        ended.set()
        life.join()


def test_a_command_beats_everything_and_carries_its_time(tmp_path, broker):
    """On the wire: the bare word, and beside it, as a user property, when it was switched."""
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port):
        watcher.wait_for(lambda w: w.on("listening"))
        began_at = time.time()
        command(broker.port, "OFF")
        watcher.wait_for(is_off)
    shown = ["mosquitto_sub", "-p", str(broker.port), "-V", "5", "-C", "1", "-F", "%p %P"]
    shown += ["-t", "roomtone/room/listening"]
    said = subprocess.run(shown, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout.split()
    assert said[0] == "OFF"
    (name, moment) = said[1].split(":", 1)
    assert name == "ts"
    assert began_at - 1 < unix_s(moment) < time.time() + 1
    kept = json.loads((tmp_path / "state" / "listening-room.json").read_text())
    assert kept == {"listening": "OFF", "ts": moment}


def test_the_demo_does_not_touch_the_switch(tmp_path):
    switched(tmp_path / "state", "OFF")
    before = (tmp_path / "state" / "listening-room.json").read_text()
    port = free_port()
    config = {"mqtt": {"websockets_port": port}, "state_folder": str(tmp_path / "state")}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"edge": config}))
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(tmp_path / "c.yaml"), "demo", "--seconds", "8"],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert " -> " in done.stdout, done.stderr
    assert (tmp_path / "state" / "listening-room.json").read_text() == before


def test_the_demo_that_was_switched_off_is_off_until_it_ends_and_says_so(tmp_path):
    config = {"mqtt": {"websockets_port": free_port()}, "state_folder": str(tmp_path / "state")}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"edge": config}))
    demo = [sys.executable, "-m", "edge", "--config", str(tmp_path / "c.yaml"), "demo"]
    with subprocess.Popen(demo, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        said = [first.stdout.readline() for _ in range(4)]
        port = int(re.search(r"port (\d+)", said[1])[1])
        with Subscriber(port) as watcher:
            watcher.wait_for(lambda w: w.on("state"))
            off = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", "roomtone/room/listening/set", "-m", "OFF"]
            subprocess.run(off, check=True)
            watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "off")
        first.terminate()
    assert said[3].startswith("Switched off, the demo stays off until it ends; a sensor of your own, until ")
    again = subprocess.run([*demo, "--seconds", "8"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert " -> " in again.stdout, again.stderr
