"""A device is forgotten: nothing of it is left on a real broker, by the word of mosquitto's own client."""

import os
import shlex
import subprocess
import sys

import yaml

from tests.support.broker import HOST, Broker
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber


def roomtone(folder, port: int, *arguments: str, **edge) -> subprocess.CompletedProcess:
    config = folder / "forget.yaml"
    config.write_text(yaml.safe_dump({"edge": {"mqtt": {"host": HOST, "port": port, **edge.pop("mqtt", {})}, **edge}}))
    return subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(config), *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip


def retain(port: int, topic: str, payload: str = "1", *account: str) -> None:
    to = ["mosquitto_pub", "-p", str(port), "-q", "1", "-r", "-t", topic, "-m", payload, *account]
    subprocess.run(to, check=True)


def retained(port: int, *account: str) -> set[str]:
    """Return the topics on which a newcomer is told something."""
    retain(port, "end", "1", *account)
    with Subscriber(port, "#", *account) as newcomer:
        newcomer.wait_for(lambda w: "end" in {message.topic for message in w.messages})
        return {message.topic for message in newcomer.messages if message.payload} - {"end"}


def test_a_renamed_device_leaves_no_ghost(tmp_path, broker):
    for name in ("attic", "loft"):
        with (
            Subscriber(broker.port, f"roomtone/{name}/#") as watcher,
            Daemon(tmp_path, broker.port, edge={"device": {"id": name}}),
        ):
            watcher.wait_for(lambda w: w.on("health") and w.on("timeline") and w.on("listening"))
    retain(broker.port, "roomtone/attic/of/another/version")
    retain(broker.port, "roomtone/attic-2/status", "offline")
    kinds = ("status", "state", "timeline", "health", "listening", "settings", "lessons")
    ghosts = {f"roomtone/attic/{kind}" for kind in (*kinds, "of/another/version")}
    ghosts.add("homeassistant/device/roomtone-attic/config")
    others = {f"roomtone/loft/{kind}" for kind in kinds}
    others |= {"homeassistant/device/roomtone-loft/config", "roomtone/attic-2/status"}
    assert retained(broker.port) == ghosts | others
    done = roomtone(tmp_path, broker.port, "forget", "attic")
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.removesuffix(": removed") for line in done.stdout.splitlines()[:-1]} == ghosts
    told = f"attic: {len(kinds) + 2} retained messages were found on broker {HOST}:{broker.port} and taken off it"
    assert told in done.stdout
    assert retained(broker.port) == others
    again = roomtone(tmp_path, broker.port, "forget", "attic")
    assert (again.returncode, again.stdout) == (69, "")
    assert f"attic: nothing of it that this account may read is on broker {HOST}:{broker.port}" in again.stderr
    assert retained(broker.port) == others


def test_a_name_that_the_broker_does_not_know_is_told_from_those_it_knows(tmp_path, broker):
    assert roomtone(tmp_path, broker.port, "forget", "kitchn").stderr.endswith(f"on broker {HOST}:{broker.port}\n")
    for device in ("kitchen", "loft"):
        retain(broker.port, f"roomtone/{device}/status", "offline")
    for asked, says in (("kitchn", ": did you mean kitchen?\n"), ("xyz", ": there are kitchen, loft\n")):
        done = roomtone(tmp_path, broker.port, "forget", asked)
        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr.endswith(says)
    assert retained(broker.port) == {"roomtone/kitchen/status", "roomtone/loft/status"}


def test_as_many_are_said_to_be_removed_as_were_found(tmp_path, broker):
    for count, kinds in ((1, ["status"]), (2, ["status", "state"])):
        for kind in kinds:
            retain(broker.port, f"roomtone/attic/{kind}", "offline")
        done = roomtone(tmp_path, broker.port, "forget", "attic")
        assert done.stdout.count(": removed\n") == count
        assert "homeassistant/device/roomtone-attic/config: not seen, and cleared all the same" in done.stdout
        assert f"attic: {count} retained message{' was' if count == 1 else 's were'} found" in done.stdout


def test_a_device_that_died_online_is_said_to_be_and_forgotten_all_the_same(tmp_path, broker):
    retain(broker.port, "ha/sensors/device/roomtone-attic/config")
    retain(broker.port, "roomtone/attic/status", "online")
    done = roomtone(tmp_path, broker.port, "forget", "attic", homeassistant={"prefix": "ha/sensors"})
    assert "attic said `online`: if it still runs, it publishes again" in done.stdout
    assert retained(broker.port) == set()


def test_the_commands_that_the_privacy_page_offers_without_roomtone_leave_nothing_either(tmp_path):
    """With the rights that house.sh gives a sensor, which may not read Home Assistant's topic."""
    page = (ROOT / "deploy" / "privacy.md").read_text()
    offered = [line for line in page.splitlines() if line.startswith("mosquitto_")]
    assert [line.split()[0] for line in offered] == ["mosquitto_sub", "mosquitto_pub"]
    described = "homeassistant/device/roomtone-loft/config"
    acl = f"user loft\ntopic readwrite roomtone/loft/#\ntopic write {described}\nuser root\ntopic readwrite #\n"
    with Broker(tmp_path / "broker", users={"loft": "right", "root": "right"}, acl=acl) as broker:
        root = ("-u", "root", "-P", "right")
        topics = {f"roomtone/{kind}" for kind in ("loft/status", "loft/state", "loft/timeline", "attic/status")}
        for topic in topics | {described}:
            retain(broker.port, topic, "1", *root)
        ends = []
        for line in offered:
            for placeholder, value in (("BROKER", HOST), ("NAME", "loft"), ("PASSWORD", "right"), ("<device>", "loft")):
                line = line.replace(placeholder, value)
            done = subprocess.run([*shlex.split(line), "-p", str(broker.port)], capture_output=True, timeout=PATIENCE_S)
            ends.append((done.returncode, done.stderr.decode().strip()))
        assert ends == [(27, "Timed out"), (0, "")]
        assert retained(broker.port, *root) == {"roomtone/attic/status"}


def test_what_the_broker_refuses_is_named_and_the_rest_is_done(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("right")
    acl = "user loft\ntopic readwrite roomtone/loft/#\nuser root\ntopic readwrite #\n"
    mqtt = {"username": "loft", "password_file": str(secret)}
    with Broker(tmp_path / "broker", users={"loft": "right", "root": "right"}, acl=acl) as broker:
        root = ["-u", "root", "-P", "right", "-p", str(broker.port)]
        left = ["mosquitto_pub", *root, "-r", "-t", "roomtone/loft/status", "-m", "offline"]
        subprocess.run(left, check=True)
        done = roomtone(tmp_path, broker.port, "forget", "loft", mqtt=mqtt)
        assert done.returncode == 69
        assert "roomtone/loft/status: removed" in done.stdout
        (line,) = done.stderr.splitlines()
        assert f"broker {HOST}:{broker.port}: refuses homeassistant/device/roomtone-loft/config: " in line
        subprocess.run(left, check=True)
        done = roomtone(tmp_path, broker.port, "forget", "loft", mqtt=mqtt, homeassistant={"enabled": False})
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_sensor_keeps_is_said_to_stay(tmp_path, broker):
    (tmp_path / "state").mkdir()
    for name in ("listening-loft.json", "settings-loft.json", "listening-my-loft.json", "outbox-attic.sqlite"):
        (tmp_path / "state" / name).write_text("{}")
    (tmp_path / "state" / "lessons-loft").mkdir()
    retain(broker.port, "roomtone/loft/status", "offline")
    stays = f"{tmp_path}/state: lessons-loft, listening-loft.json, settings-loft.json stay: "
    for code, mqtt in ((0, {}), (69, {}), (0, {"host": "embedded"})):
        done = roomtone(tmp_path, broker.port, "forget", "loft", mqtt=mqtt, state_folder=str(tmp_path / "state"))
        assert done.returncode == code
        assert done.stdout.splitlines()[0].startswith(stays)
    assert len(list((tmp_path / "state").iterdir())) == 5


def test_wrong_usage_an_embedded_broker_and_none_at_all(tmp_path):
    assert roomtone(tmp_path, 1, "forget").returncode == 2
    assert roomtone(tmp_path, 1, "forget", "Attic#").returncode == 2
    for command in (["forget", "attic"], ["homeassistant", "--remove"]):
        done = roomtone(tmp_path, 1, *command, mqtt={"host": "embedded"})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("nothing to take off a broker: the embedded one keeps nothing")
    done = roomtone(tmp_path, 1, "forget", "attic")
    assert done.returncode == 69
    assert f"broker {HOST}:1: connection refused" in done.stderr.splitlines()[-1]
