"""`roomtone doctor` and `check` before recorders whose illness is known."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edge.config import EdgeConfig
from edge.history.place import opened
from tests.commands.test_doctor import doctor
from tests.dashboard.puppet import Puppet
from tests.history.test_recorder import fill, recording, small_disk
from tests.support.broker import HOST, Broker, free_port
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT

LOOKS = {"configuration", "clock", "broker", "rights", "store", "metrics", "secrets"}


def settings(port: int, store: Path, **history) -> dict:
    return {"mqtt": {"host": HOST, "port": port}, "history": {"store": str(store), **history}}


def test_a_healthy_recorder_and_nothing_of_a_sensor(tmp_path, broker):
    metrics = f"127.0.0.1:{free_port()}"
    wanted = settings(broker.port, tmp_path / "history.sqlite", metrics=metrics)
    with Puppet(broker.port):
        status, lines = doctor(tmp_path, wanted)
        assert (status, set(lines)) == (0, LOOKS), lines
        assert all(line.startswith("ok  ") for subject, line in lines.items() if subject != "clock"), lines
        assert lines["rights"] == "ok    rights: reads 1 sensor, and may answer"
        assert "nothing is kept yet, and it can be written" in lines["store"]
        assert lines["metrics"] == f"ok    metrics: can be told on {metrics}"
        assert not (tmp_path / "history.sqlite").exists()  # looking leaves nothing behind
        with recording(tmp_path, broker.port, str(tmp_path / "history.sqlite"), history={"metrics": metrics}):
            status, lines = doctor(tmp_path, wanted)
    assert status == 0, lines
    assert "MB, can be written" in lines["store"]
    assert lines["metrics"] == f"ok    metrics: told on {metrics} by the recorder that runs"


def test_each_thing_that_is_wrong_is_a_line_of_its_own(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = f"127.0.0.1:{taken.getsockname()[1]}"
        port = free_port()
        (tmp_path / "folder").mkdir()
        status, lines = doctor(tmp_path, settings(port, tmp_path / "folder", metrics=metrics))
    assert (status, set(lines)) == (69, LOOKS - {"rights"}), lines
    assert lines["broker"].startswith(f"FAIL  broker: {HOST}:{port}: ")
    assert f"{tmp_path / 'folder'}: no file: name one" in lines["store"]
    assert lines["metrics"].startswith(f"FAIL  metrics: cannot listen on {metrics} (Address already in use): ")


@pytest.mark.parametrize(
    ("acl", "says"),
    [("topic read roomtone/#\n", "FAIL  rights: "),
     ("topic write roomtone/history/#\n", "warn  rights: no sensor can be read of")],
    ids=["may not answer", "may not read"],
)  # fmt: skip
def test_an_account_with_too_few_rights_is_told_so(tmp_path, acl, says):
    (tmp_path / "word").write_text("word")
    (tmp_path / "word").chmod(0o600)
    users, acl = {"anna": "word", "sensor": "word"}, f"user anna\n{acl}user sensor\ntopic readwrite roomtone/#\n"
    with Broker(tmp_path / "acl", users=users, acl=acl) as broker:
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-u", "sensor", "-P", "word", "-r", "-t",
                        "roomtone/attic/status", "-m", "online"], check=True)  # fmt: skip
        wanted = settings(broker.port, tmp_path / "history.sqlite")
        wanted["mqtt"] |= {"username": "anna", "password_file": str(tmp_path / "word")}
        status, lines = doctor(tmp_path, wanted)
    assert status == (69 if says.startswith("FAIL") else 0)
    assert lines["rights"].startswith(says)
    assert "give its account what `house.sh history` gives" in lines["rights"]


def test_a_store_that_is_full_is_told_so(tmp_path, broker):
    with small_disk(tmp_path / "disk", 4) as disk:
        opened(EdgeConfig(), str(disk / "history.sqlite"), create=True).engine.close()
        fill(disk)
        status, lines = doctor(tmp_path, settings(broker.port, disk / "history.sqlite"))
    assert status == 74
    assert lines["store"].startswith(f"FAIL  store: {disk / 'history.sqlite'}: ")
    assert lines["store"].endswith(": its disk is full: make room there")


def test_check_says_the_same_of_a_recorder(tmp_path, broker):
    file = tmp_path / "history.yaml"
    file.write_text(yaml.safe_dump({"edge": settings(broker.port, tmp_path / "none" / "history.sqlite")}))
    for live, answers in (([], ""), (["--live"], ", and the broker answers")):
        done = subprocess.run([sys.executable, "-m", "edge", "check", file, *live], cwd=ROOT, env=os.environ,
                              capture_output=True, text=True, timeout=PATIENCE_S)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == f"{file}: valid{answers}"
        assert f"store: {tmp_path / 'none' / 'history.sqlite'}: nothing is kept yet" in done.stdout
        assert "metrics: told nowhere" in done.stdout
        assert ("rights: " in done.stdout) == bool(live)
        assert "microphone" not in done.stdout


def test_one_file_for_both_is_looked_at_as_both(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"edge": {"device": {"id": "attic"}, "state_folder": str(tmp_path),
                                             **settings(free_port(), tmp_path / "history.sqlite")}}))  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "edge", "check", file], cwd=ROOT, capture_output=True, text=True,
                          timeout=PATIENCE_S)  # fmt: skip
    assert done.returncode == 0
    assert [word for word in ("model", "microphone: ", "store: ", "metrics: ") if word not in done.stdout] == []
