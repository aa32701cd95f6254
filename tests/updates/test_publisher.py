"""`roomtone model publish` and `promote` as an owner types them, against a real broker and sensors' own words."""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from edge.model.artifact import read_artifact
from edge.voice.models import MOST_BYTES, Model, ModelFile, ring_topic
from edge.voice.payloads import rfc3339
from tests.support.broker import HOST, Broker, free_port
from tests.support.owner import Owner
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT


def desk(owner: Owner, port: int, **store) -> None:
    """The owner's own configuration, which is no sensor's."""
    owner.config(edge={"mqtt": {"host": HOST, "port": port}}, called="desk", **store)


def published(port: int, ring: str = "house") -> bytes:
    """Return what is retained for a ring, by mosquitto's own client; nothing where nothing is."""
    asked = ["mosquitto_sub", "-p", str(port), "-t", ring_topic(ring), "-N", "-C", "1", "-W", "2"]
    return subprocess.run(asked, capture_output=True).stdout


def says(house, device: str, model: Path, result: str, *, since_s: float = 0.0, ring: str = "canary", **fields) -> None:
    """Have a sensor's word stand on the broker: it runs this model since so long, or, where it does not, another."""
    digest = read_artifact(model).digest
    offered = ModelFile(model="first-1", created="2026-11-01T00:00:00Z", sha256=digest)
    other = ModelFile(model="other-1", created="2026-10-01T00:00:00Z", sha256="0" * 64)
    runs = offered if result in ("installed", "trying") else other
    now = time.time()
    told = Model(ts=rfc3339(now), since=rfc3339(now - since_s), installed=runs, offered=offered, result=result,
                 ring=ring, **{"updates": "auto", **fields})  # fmt: skip
    house.publish(msgspec.json.encode(told), topic=f"roomtone/{device}/model")


def is_there(house, device: str, word: bytes = b"online") -> None:
    house.publish(word, topic=f"roomtone/{device}/status")


def test_what_is_published_is_the_file_and_is_taken_off_again(house):
    desk(house, house.broker.port)
    file = house.model("first")
    says(house, "attic", file, "none")
    says(house, "cellar", file, "none", updates="never")
    house.publish(b'{"x":' + b"[" * 10_000, topic="roomtone/nested/model")  # makes no sense, and ends nothing
    done = house.roomtone("publish", file, "--ring", "canary", called="desk")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"published to ring canary on broker {HOST}:{house.broker.port}" in done.stdout
    assert "1 sensor takes models of this ring" in done.stdout
    assert published(house.broker.port, "canary") == file.read_bytes()
    assert published(house.broker.port) == b""
    done = house.roomtone("publish", "--ring", "canary", "--remove", called="desk")
    assert (done.returncode, done.stderr) == (0, "")
    assert published(house.broker.port, "canary") == b""
    done = house.roomtone("publish", "--ring", "canary", "--remove", called="desk")
    assert (done.returncode, done.stdout) == (69, "")
    assert "ring canary: nothing that this account may read is published to it" in done.stderr


def test_what_sensors_would_refuse_is_refused_here_in_one_line(house):
    desk(house, house.broker.port)
    large = house.folder / "large.tflite"
    large.write_bytes(house.model("first").read_bytes() + bytes(MOST_BYTES))
    half = house.folder / "half.tflite"
    whole = house.model("first").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    for name, content in (("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"), ("empty", b""), ("words.txt", b"a model?\n")):
        (house.folder / name).write_bytes(content)
    refused = {
        house.folder / "photo.jpg": "photo.jpg: not a TFLite model",
        house.folder / "empty": "empty: empty: copy it again",
        house.folder / "words.txt": "words.txt: not a TFLite model",
        house.folder: f"{house.folder}: not a file",
        house.model("plain", key=None): "plain.tflite: not signed: `roomtone model sign` it first",
        house.model("theirs", key="stranger"): "theirs.tflite: signed by none of the trusted keys",
        large: f"large.tflite: has {large.stat().st_size} bytes, and sensors take at most {MOST_BYTES} over the air",
        half: "half.tflite: damaged or cut short",
        house.folder / "none.tflite": "none.tflite: no such model file",
    }
    for file, why in refused.items():
        done = house.roomtone("publish", file, called="desk")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (65, "", 1), done.stderr
        assert why in done.stderr
    assert published(house.broker.port) == b""
    for words in ((), (house.model("first"), "--remove")):
        done = house.roomtone("publish", *words, called="desk")
        assert (done.returncode, done.stdout) == (64, "")
        assert "name a model FILE, or --remove" in done.stderr


def test_a_ring_of_which_no_sensor_is_gets_nothing(house):
    desk(house, house.broker.port)
    file = house.model("first")
    says(house, "attic", file, "none", ring="upstairs")
    house.publish(file, "upstairs")
    there = f"no sensor on broker {HOST}:{house.broker.port} is of it (edge.model_store.ring): "
    for ring, meant in (("cannary", "did you mean canary?"), ("upstair", "did you mean upstairs?"),
                        ("garden", "there are canary, house, upstairs")):  # fmt: skip
        for words in (("publish", file, "--ring", ring), ("promote", "--from", "upstairs", "--to", ring)):
            done = house.roomtone(*words, called="desk")
            assert (done.returncode, done.stdout) == (69, "")
            assert done.stderr.splitlines() == [f"roomtone: ring {ring}: {there}{meant}"]
        assert published(house.broker.port, ring) == b""
    done = house.roomtone("publish", file, "--ring", "Canary", called="desk")
    assert (done.returncode, len(done.stderr.splitlines())) == (64, 1)
    done = house.roomtone("publish", file, "--ring", "upstairs", called="desk")
    assert (done.returncode, "1 sensor takes models" in done.stdout) == (0, True)


def test_a_broker_that_is_not_there_or_takes_less_is_said(house, tmp_path):
    file = house.model("first")
    desk(house, free_port())
    done = house.roomtone("publish", file, called="desk")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    with Broker(tmp_path / "small", extra="max_packet_size 40000") as small:
        desk(house, small.port)
        done = house.roomtone("publish", file, called="desk")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert f"takes packets of at most 40000 bytes, and this needs {file.stat().st_size // 1000}" in done.stderr
    house.config(called="desk")
    done = house.roomtone("publish", file, called="desk")
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1)
    assert "edge.mqtt.host: embedded" in done.stderr


def test_an_account_that_may_not_publish_is_told_so(house, tmp_path):
    with Broker(tmp_path / "acl", users={"anna": "word"}, acl="user anna\ntopic read roomtone/#\n") as broker:
        (house.folder / "word").write_text("word")
        mqtt = {"host": HOST, "port": broker.port, "username": "anna", "password_file": str(house.folder / "word")}
        house.config(edge={"mqtt": mqtt}, called="desk")
        done = house.roomtone("publish", house.model("first"), called="desk")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (69, "", 1)
    assert "refuses roomtone/models/house: Not authorized" in done.stderr


def test_the_house_gets_what_ran_well_with_every_canary(house):
    desk(house, house.broker.port)
    file = house.model("first")
    house.publish(file, "canary")
    for device in ("attic", "cellar"):
        is_there(house, device)
        says(house, device, file, "installed", since_s=90.0)
    says(house, "kitchen", file, "none", ring="house")
    says(house, "old", file, "none", updates="never")
    done = house.roomtone("promote", "--after", "1m", called="desk")
    assert (done.returncode, done.stderr) == (0, "")
    assert published(house.broker.port) == file.read_bytes()


def test_it_waits_for_the_last_canary_and_says_for_whom(house):
    desk(house, house.broker.port)
    file = house.model("first")
    house.publish(file, "canary")
    for device in ("attic", "cellar", "loft"):
        is_there(house, device)
    says(house, "attic", file, "installed", since_s=90.0)
    says(house, "cellar", file, "trying", since_s=1.0)
    says(house, "loft", file, "installed", since_s=90.0)
    is_there(house, "loft", b"offline")
    config = house.folder / "desk.yaml"
    command = [sys.executable, "-m", "edge", "--config", config, "model", "promote", "--after", "1m"]
    with (house.folder / "out").open("wb") as out:
        promoting = subprocess.Popen(command, cwd=ROOT, stdout=out)
    try:
        said = (house.folder / "out").read_text
        wait_until(lambda: "waiting: cellar tries it; loft is offline\n" in said(), said)
        is_there(house, "loft")
        says(house, "cellar", file, "installed", since_s=10.0)
        wait_until(lambda: "waiting: cellar runs it since" in said(), said)
        assert published(house.broker.port) == b""
        says(house, "cellar", file, "installed", since_s=61.0)
        assert promoting.wait(PATIENCE_S) == 0
    finally:
        promoting.kill()
        promoting.wait()
    assert "ran well in ring canary; published to ring house" in said()
    assert published(house.broker.port) == file.read_bytes()


@pytest.mark.parametrize(("result", "did"), [("went-back", "went back from it"), ("refused", "refused it")])
def test_nobody_else_gets_what_a_canary_went_back_from(house, result, did):
    desk(house, house.broker.port)
    file = house.model("first")
    house.publish(file, "canary")
    for device in ("attic", "cellar"):
        is_there(house, device)
    says(house, "attic", file, "installed", since_s=90.0)
    says(house, "cellar", file, result, reason="too slow")
    done = house.roomtone("promote", "--after", "0s", called="desk")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (65, "", 1)
    assert f": cellar {did}: too slow; ring house keeps what it has" in done.stderr
    assert published(house.broker.port) == b""


def test_without_canaries_or_a_model_nothing_is_promoted(house):
    desk(house, house.broker.port)
    done = house.roomtone("promote", called="desk")
    assert (done.returncode, "ring canary: no model is published to it" in done.stderr) == (69, True)
    house.publish(house.model("first"), "canary")
    done = house.roomtone("promote", called="desk")
    assert (done.returncode, "ring canary: no sensor takes its models" in done.stderr) == (69, True)
    house.publish(house.model("theirs", key="stranger"), "canary")
    done = house.roomtone("promote", called="desk")
    assert (done.returncode, "signed by none of the trusted keys" in done.stderr) == (65, True)
    assert published(house.broker.port) == b""
