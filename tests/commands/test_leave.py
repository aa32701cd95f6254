"""Off is off for whoever looks, too: `doctor`, `check --live` and `devices --live` open no forbidden microphone."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.commands.test_cli import complaint, roomtone
from tests.support.broker import HOST, free_port
from tests.support.daemon import Daemon, switched
from tests.support.subscriber import Subscriber
from tests.test_files import LIKE_ANYBODY

NOW = time.gmtime()
QUIET = {"start": "00:00", "end": "23:59"} if NOW.tm_hour < 23 else {"start": "12:00", "end": "11:59"}
SET_HOURS = f"quiet hours until {QUIET['end']} UTC, set over MQTT"
LOOKS = (["devices", "--live", "4"], ["check", "--live"], ["doctor"])


@pytest.fixture
def ear(tmp_path: Path):
    """The file that a microphone leaves where it was opened: a command that delivers a hum."""
    hum = "import sys, time\nwhile True: sys.stdout.buffer.write(bytes(range(0, 128)) * 10); time.sleep(0.04)"
    (tmp_path / "hum.py").write_text(hum)
    return tmp_path / "opened"


def look(folder: Path, arguments: list[str], port: int | None = None, **edge) -> subprocess.CompletedProcess[str]:
    """Look, as configured, with the house's broker at a port, or with none but such of this machine as run there."""
    mqtt = {"host": HOST, "port": port} if port else {"port": free_port()}
    audio = {"command": ["sh", "-c", f"touch {folder}/opened; exec python3 {folder}/hum.py"]}
    edge = {"state_folder": str(folder / "state"), "audio": audio, "mqtt": mqtt} | edge
    (folder / "config.yaml").write_text(yaml.safe_dump({"edge": edge}))
    return roomtone(*arguments, cwd=folder, PULSE_SERVER="unix:/nowhere")


def retain(port: int, word: str, device: str = "room") -> None:
    words = ["-V", "5", "-q", "1", "-r", "-t", f"roomtone/{device}/listening", "-m", word]
    when = ["-D", "publish", "user-property", "ts", "2026-02-01T12:00:00.000Z"]
    subprocess.run(["mosquitto_pub", "-p", str(port), *words, *when], check=True)


def forbidden(done: subprocess.CompletedProcess[str], arguments: list[str], says: str) -> None:
    """Hold that it says so, in the words of each command, and calls nothing else a fault of the microphone's."""
    if arguments[0] in ("devices", "teach"):
        assert f"microphone: {says}" in complaint(done, 69)
        assert complaint(done, 69).endswith(": not opened; --anyway opens it")
        return
    lines = done.stdout.splitlines()
    if arguments[0] == "doctor":
        assert [line for line in lines if line.startswith(f"warn  listening: {says}")], done.stdout
        assert "warn  level: the microphone was not opened: --anyway opens it" in lines
    else:
        assert [line for line in lines if line.startswith(f"listening: {says}")], done.stdout
        assert [line for line in lines if line.endswith(": not opened; --anyway opens it")], done.stdout
        if arguments[0] == "check":
            assert "microphone and broker answer" not in lines[-1]
            assert re.search("the broker answers; the microphone was not opened$|look at: ", lines[-1])


@pytest.mark.parametrize("arguments", [*LOOKS, ["teach", "--guided"]], ids=" ".join)
@pytest.mark.parametrize("why", ["here", "broker", "quiet hours", "quiet hours set over MQTT"])
def test_what_is_forbidden_is_said_and_nothing_is_opened(tmp_path, broker, ear, arguments, why):
    says, edge = "switched off since 2026-0", {}
    if why == "here" and arguments[0] != "teach":  # which waits for sentences
        switched(tmp_path / "state", "OFF")
    elif why == "broker":  # the later of the two
        switched(tmp_path / "state", "ON")
        retain(broker.port, "OFF")
    else:
        says = f"quiet hours until {QUIET['end']} UTC"
        edge = {"quiet_hours": QUIET} if why == "quiet hours" else {}
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "settings-room.json").write_text("{}" if edge else json.dumps({"quiet_hours": QUIET}))
    done = look(tmp_path, arguments, broker.port, **edge)
    forbidden(done, arguments, says)
    assert not ear.exists()
    assert done.returncode == (69 if arguments[0] in ("devices", "teach") else 0), done.stderr
    if why == "here" and arguments[0] != "teach":  # which waits for sentences
        look(tmp_path, [*arguments, "--anyway"], broker.port, **edge)
        assert ear.exists()


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
@pytest.mark.parametrize("known", ["never switched", "switched on since", "no broker"])
def test_what_is_not_forbidden_is_opened(tmp_path, broker, ear, arguments, known):
    if known == "switched on since":
        switched(tmp_path / "state", "OFF")
        retain(broker.port, "ON")
    elif known == "no broker":
        switched(tmp_path / "state", "ON")
    done = look(tmp_path, arguments, free_port() if known == "no broker" else broker.port)
    assert ear.exists()
    assert "not opened" not in done.stdout + done.stderr
    assert arguments[0] == "devices" or "listening: switched on" in done.stdout


def test_nobody_is_asked_for_sentences_that_are_not_to_be_heard(tmp_path, ear):
    switched(tmp_path / "state", "OFF")
    done = look(tmp_path, ["teach", "--guided"])
    forbidden(done, ["devices"], "switched off since 2026-01-31")
    assert "say a sentence" not in done.stdout
    anyway = [sys.executable, "-m", "edge", "teach", "--guided", "--anyway"]
    with subprocess.Popen(anyway, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as asking:
        assert any("say a sentence" in line for line in asking.stdout)
        asking.terminate()


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_where_no_sensor_ever_ran_a_microphone_is_opened_at_once(tmp_path, ear, arguments):
    look(tmp_path, arguments)
    assert ear.exists()


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_a_broker_that_could_know_and_does_not_answer_leaves_it_closed(tmp_path, ear, arguments):
    """As `run`, which waits for it; and so does a broker that takes the question and says nothing."""
    with socket.create_server((HOST, 0)) as mute:
        for mqtt in ({"host": HOST, "port": free_port()}, {"port": mute.getsockname()[1]}):
            done = look(tmp_path, arguments, mqtt=mqtt)
            forbidden(done, arguments, f"whether it is switched off is not known (broker {HOST}")
            assert arguments[0] == "devices" or f"as configured, as far as is known here (broker {HOST}" in done.stdout
    assert not ear.exists()


def test_a_broker_that_lets_nobody_ask_leaves_it_closed(tmp_path, ear):
    """mosquitto lets everybody subscribe, and then says nothing; others refuse."""
    with socket.create_server((HOST, 0)) as server:

        def refuse() -> None:
            with server.accept()[0] as client:
                client.recv(1_000)  # CONNECT
                client.sendall(b"\x20\x03\x00\x00\x00")
                identifier = client.recv(1_000)[2:4]  # of SUBSCRIBE, to two topics
                client.sendall(b"\x90\x05" + identifier + b"\x00\x87\x87")
                while client.recv(1_000):
                    pass

        threading.Thread(target=refuse, daemon=True).start()
        done = look(tmp_path, ["devices", "--live", "4"], server.getsockname()[1])
    forbidden(done, ["devices"], "whether it is switched off is not known (broker")
    assert "may not be asked (Not authorized)" in done.stderr
    assert not ear.exists()


@pytest.mark.parametrize("where", ["here", "an account of its own", "another configuration", "quiet hours"])
def test_off_is_off_for_whoever_asks_on_the_machine_of_an_embedded_broker(tmp_path, ear, where):
    """A running sensor, with its own state folder; and somebody who has another, or calls the sensor otherwise."""
    sensor, port = tmp_path / "sensor", free_port()
    sensor.mkdir()
    switched(sensor / "state", "ON" if where == "quiet hours" else "OFF")
    if where == "quiet hours":
        (sensor / "state" / "settings-room.json").write_text(json.dumps({"quiet_hours": QUIET}))
    edge = {"mqtt": {"port": port}, "state_folder": str(sensor / "state")}
    mqtt = {"host": "embedded", "websockets_port": free_port()}
    with Daemon(sensor, port, mqtt=mqtt, recording=None, edge={"audio": {"microphone": "No Such Device"}}) as daemon:
        daemon.wait_for_log("dashboard http")
        with Subscriber(port) as watcher:
            watcher.wait_for(lambda w: w.on("listening") and w.on("settings"))
        if where != "here":
            del edge["state_folder"]
        if where == "another configuration":
            edge["device"] = {"id": "attic"}
        says = SET_HOURS if where == "quiet hours" else "switched off since 2026-01-31"
        for arguments in LOOKS:
            done = look(tmp_path, arguments, **edge)
            forbidden(done, arguments, says)
            by_another = "as the sensor room of this machine" in done.stdout + done.stderr
            assert by_another is (where == "another configuration")
            if where == "quiet hours" and arguments[0] != "devices":
                assert f"set over MQTT, as the broker has it: quiet_hours {QUIET['start']}" in done.stdout
    assert not ear.exists()


def test_a_house_broker_tells_another_account_of_quiet_hours_that_were_set(tmp_path, broker, ear):
    (tmp_path / "sensor").mkdir()
    with Daemon(tmp_path / "sensor", broker.port), Subscriber(broker.port) as watcher:
        watcher.wait_for(lambda w: w.on("settings"))
        hours = ["-t", "roomtone/room/settings/set", "-m", json.dumps({"quiet_hours": QUIET})]
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), *hours], check=True)
        watcher.wait_for(lambda w: w.on("settings")[-1].json["set"])
        for arguments in LOOKS:
            forbidden(look(tmp_path, arguments, broker.port), arguments, SET_HOURS)
    assert not ear.exists()


def test_hours_that_were_set_win_over_those_of_the_file_for_whoever_asks(tmp_path, broker, ear):
    (tmp_path / "sensor").mkdir()
    with Daemon(tmp_path / "sensor", broker.port), Subscriber(broker.port) as watcher:
        watcher.wait_for(lambda w: w.on("settings"))
        none = ["-t", "roomtone/room/settings/set", "-m", '{"quiet_hours": null}']
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), *none], check=True)
        watcher.wait_for(lambda w: w.on("settings")[-1].json["set"])
        assert look(tmp_path, ["devices", "--live", "4"], broker.port, quiet_hours=QUIET).returncode == 0
    assert ear.exists()


def test_what_a_sensor_of_another_name_left_here_holds_until_this_one_is_switched(tmp_path, ear):
    switched(tmp_path / "state", "OFF", "living")
    done = look(tmp_path, ["devices", "--live", "4"], device={"id": "living2"})
    forbidden(done, ["devices"], "switched off since 2026-01-31")
    assert ", as the sensor living of this machine" in done.stderr
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["listening-living.json"]
    switched(tmp_path / "state", "ON", "living2")
    look(tmp_path, ["devices", "--live", "4"], device={"id": "living2"})
    assert ear.exists()


def test_without_live_nobody_is_asked_and_the_switch_is_told_all_the_same(tmp_path, ear):
    switched(tmp_path / "state", "OFF")
    done = look(tmp_path, ["check"], free_port())
    assert "\nlistening: switched off since 2026-01-31" in done.stdout
    assert done.returncode == 0
    (tmp_path / "state" / "listening-room.json").unlink()
    done = look(tmp_path, ["check"], free_port())
    assert "\nlistening: whether it is switched off is not known (--live asks the broker)" in done.stdout


def test_who_may_not_read_the_switch_does_not_take_it_for_on(tmp_path, ear):
    switched(tmp_path / "state", "OFF")
    (tmp_path / "state").chmod(0)
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"edge": {"audio": {"command": ["sh", "-c", f"touch {ear}"]}, "mqtt": {"port": free_port()}}})
    )
    tmp_path.chmod(0o777)
    done = roomtone(
        "devices", "--live", "4", cwd=tmp_path, before=LIKE_ANYBODY, STATE_DIRECTORY=str(tmp_path / "state")
    )
    assert "which is not for this user: not opened; --anyway opens it" in complaint(done, 69)
    assert not ear.exists()
