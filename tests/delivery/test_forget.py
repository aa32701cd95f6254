"""A device is forgotten: nothing of it is left on a real broker, by the word of mosquitto's own client."""

import os
import shlex
import subprocess
import sys

import yaml

from edge.delivery.embedded import embedded
from tests.support.broker import HOST, Broker, free_port
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S, wait_until
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
    kinds = ("status", "state", "timeline", "health", "listening", "settings", "lessons", "model")
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


def test_a_device_that_says_it_is_online_is_forgotten_only_by_force(tmp_path, broker):
    described = "ha/sensors/device/roomtone-attic/config"
    retain(broker.port, described)
    retain(broker.port, "roomtone/attic/status", "online")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "listening-attic.json").write_text("{}")
    edge = {"homeassistant": {"prefix": "ha/sensors"}, "state_folder": str(tmp_path / "state")}
    done = roomtone(tmp_path, broker.port, "forget", "attic", "--everything", **edge)
    assert (done.returncode, done.stdout) == (69, "")
    assert f"attic says `online` on broker {HOST}:{broker.port}, and nothing was done" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert retained(broker.port) == {described, "roomtone/attic/status"}
    assert list((tmp_path / "state").iterdir())
    done = roomtone(tmp_path, broker.port, "forget", "attic", "--everything", "--force", **edge)
    assert (done.returncode, done.stderr) == (0, "")
    assert retained(broker.port) == set()
    assert not list((tmp_path / "state").iterdir())


def test_a_sensor_with_a_broker_of_its_own_is_not_forgotten_while_it_runs(tmp_path):
    mqtt = {"host": "embedded", "websockets_port": free_port()}
    port = free_port()
    with Daemon(tmp_path, port, mqtt=mqtt, edge={"device": {"id": "attic"}}) as daemon:
        daemon.wait_until_ready()
        wait_until(lambda: list(daemon.state.glob("listening-attic.json")))
        done = roomtone(tmp_path, port, "forget", "attic", "--everything", mqtt=mqtt, state_folder=str(daemon.state))
        assert (done.returncode, done.stdout) == (69, "")
        assert f"attic says `online` on broker {HOST}:{port}" in done.stderr
    done = roomtone(tmp_path, port, "forget", "attic", "--everything", mqtt=mqtt, state_folder=str(daemon.state))
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(daemon.state.glob("*attic*"))


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
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "listening-loft.json").write_text("{}")
        here = {"state_folder": str(tmp_path / "state")}
        done = roomtone(tmp_path, broker.port, "forget", "loft", "--everything", mqtt=mqtt, **here)
        assert done.returncode == 69  # although what is here was deleted
        assert "refuses homeassistant/" in done.stderr
        subprocess.run(left, check=True)
        done = roomtone(tmp_path, broker.port, "forget", "loft", mqtt=mqtt, homeassistant={"enabled": False})
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_sensor_keeps_is_said_to_stay(tmp_path, broker):
    (tmp_path / "state").mkdir()
    for name in ("listening-loft.json", "settings-loft.json", "listening-my-loft.json", "outbox-attic.sqlite"):
        (tmp_path / "state" / name).write_text("{}")
    (tmp_path / "state" / "lessons-loft").mkdir()
    retain(broker.port, "roomtone/loft/status", "offline")
    (tmp_path / "state" / "lessons-loft" / "model-1.json").write_text("{}")
    (tmp_path / "state" / "lessons-attic").mkdir()
    stays = f"{tmp_path}/state: lessons-loft, listening-loft.json, settings-loft.json stay: "
    for code, mqtt in ((0, {}), (69, {}), (69, {"host": "embedded"})):
        done = roomtone(tmp_path, broker.port, "forget", "loft", mqtt=mqtt, state_folder=str(tmp_path / "state"))
        assert done.returncode == code
        assert done.stdout.splitlines()[0].startswith(stays)
    assert len(list((tmp_path / "state").iterdir())) == 6
    done = roomtone(tmp_path, broker.port, "forget", "attic", state_folder=str(tmp_path / "state"))
    assert "lessons-attic, outbox-attic.sqlite stay: " in done.stdout
    (tmp_path / "state" / "lessons-attic").rmdir()
    done = roomtone(tmp_path, broker.port, "forget", "attic", state_folder=str(tmp_path / "state"))
    assert "outbox-attic.sqlite stays: " in done.stdout


def test_everything_is_all_that_this_machine_keeps_of_the_device_and_nothing_else(tmp_path, broker):
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    ours = ("listening-loft.json", "settings-loft.json", "outbox-loft.sqlite", "outbox-loft.sqlite-wal",
            "outbox-loft.damaged", ".settings-loft.json.k2_x9abc")  # fmt: skip
    others = ("listening-my-loft.json", "listening-loft-2.json", "outbox-attic.sqlite", "models.json")
    for folder in (state / "lessons-loft", elsewhere):
        folder.mkdir(parents=True)
        (folder / "model-1.json").write_text("{}")
    for name in (*ours, *others):
        (state / name).write_text("{}")
    (state / "heard-loft").symlink_to(elsewhere)
    done = roomtone(tmp_path, broker.port, "forget", "loft", "--everything", state_folder=str(state))
    assert (done.returncode, done.stderr) == (0, "")  # although the broker has nothing of it
    assert all(name in done.stdout.splitlines()[0] for name in (*ours, "lessons-loft"))
    assert "a sensor that starts as loft knows nothing of a switch" in done.stdout
    assert {path.name for path in state.iterdir()} == set(others)
    assert (elsewhere / "model-1.json").exists()
    again = roomtone(tmp_path, broker.port, "forget", "loft", "--everything", state_folder=str(state))
    assert (again.returncode, again.stdout) == (69, f"{state}: nothing of loft is kept there\n")


def test_a_broker_that_is_gone_for_good_keeps_nobody_from_wiping_what_is_here(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "listening-loft.json").write_text("{}")
    how = {"state_folder": str(state)}
    done = roomtone(tmp_path, 1, "forget", "loft", "--everything", **how)
    assert (done.returncode, done.stdout) == (69, "")  # it may run
    done = roomtone(tmp_path, 1, "forget", "loft", "--everything", "--force", **how)
    assert done.returncode == 69
    assert f"{state}: listening-loft.json: deleted" in done.stdout
    assert f"broker {HOST}:1: connection refused" in done.stderr
    assert not list(state.iterdir())


def test_what_cannot_be_deleted_is_said(tmp_path, broker):
    retain(broker.port, "roomtone/loft/status", "offline")
    (tmp_path / "state").write_text("no folder")
    done = roomtone(tmp_path, broker.port, "forget", "loft", "--everything", state_folder=str(tmp_path / "state"))
    assert (done.returncode, done.stdout) == (74, "")
    assert f"{tmp_path}/state: Not a directory: nothing was deleted there" in done.stderr
    assert retained(broker.port) == {"roomtone/loft/status"}


def test_removed_is_said_of_what_was_there_only(tmp_path, broker):
    described = "homeassistant/device/roomtone-hall/config"
    retain(broker.port, described, "{}")
    for says in ("removed", "not seen, and cleared all the same, for an account that may write but not read it"):
        done = roomtone(tmp_path, broker.port, "homeassistant", "--remove", device={"id": "hall"})
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == f"{described}: {says}"
        assert retained(broker.port) == set()


def test_a_room_of_this_machine_is_taken_off_the_embedded_broker_of_another(tmp_path):
    with embedded(port=free_port(), websockets_port=free_port()) as running:
        for topic in ("roomtone/kitchen/status", "roomtone/hall/status", "homeassistant/device/roomtone-hall/config"):
            retain(running.port, topic, "offline")
        done = roomtone(tmp_path, running.port, "forget", "kitchen", mqtt={"host": "embedded"})
        assert (done.returncode, done.stderr) == (0, "")
        assert "kitchen: 1 retained message was found" in done.stdout
        command = ("homeassistant", "--remove")
        done = roomtone(tmp_path, running.port, *command, mqtt={"host": "embedded"}, device={"id": "hall"})
        assert done.returncode == 0, done.stderr
        assert retained(running.port) == {"roomtone/hall/status"}
        done = roomtone(tmp_path, running.port, "forget", "kitchen", mqtt={"host": "embedded"})
        assert (done.returncode, done.stderr.endswith(": there are hall\n")) == (69, True)


def test_wrong_usage_an_embedded_broker_and_none_at_all(tmp_path):
    assert roomtone(tmp_path, 1, "forget").returncode == 64
    assert roomtone(tmp_path, 1, "forget", "Attic#").returncode == 64
    for command in (["forget", "attic"], ["homeassistant", "--remove"]):
        done = roomtone(tmp_path, 1, *command, mqtt={"host": "embedded"})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("nothing to take off a broker: no embedded one runs here")
    done = roomtone(tmp_path, 1, "forget", "attic")
    assert done.returncode == 69
    assert f"broker {HOST}:1: connection refused" in done.stderr.splitlines()[-1]
