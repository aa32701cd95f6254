"""Models over the air, as a sensor takes them: the daemon's own loop on a real broker, its store, and real files."""

import json
from typing import Any

import pytest

from edge.config import EdgeConfig, ModelStore, load_edge
from edge.errors import ConfigError
from edge.model.artifact import read_artifact
from edge.voice.models import MOST_BYTES
from tests.support.artifacts import DEFAULT, packed, parts
from tests.support.daemon import Daemon
from tests.support.owner import Silent
from tests.support.patience import wait_until
from tests.support.schemas import validate

BUNDLED = read_artifact(DEFAULT).digest
SECOND = "2026-11-02T00:00:00Z"


@pytest.mark.usefixtures("quick_trials")
def test_a_model_that_is_published_is_installed_tried_and_kept(house):
    with Silent(house.sensor()) as sensor:
        assert house.wait_for("none")["installed"]["sha256"] == BUNDLED
        file = house.model("first")
        house.publish(file)
        told = house.wait_for("installed", offered="first")
        assert told["installed"] == told["offered"]
        assert told["installed"]["sha256"] == read_artifact(file).digest
        results = [one.json["result"] for one in house.watcher.on("model")]
        assert list(dict.fromkeys(results)) == ["none", "trying", "installed"]
        wait_until(lambda: sensor.record.trial_starts is None)
        assert (sensor.record.current.model_id, sensor.lives) == (told["installed"]["model"], 2)
    with Silent(house.config(edge=again(sensor.config), called="attic", updates="auto")) as sensor:
        wait_until(lambda: len(house.watcher.on("model")) > len(results))
        assert house.wait_for("installed", offered="first")["installed"]["sha256"] == told["installed"]["sha256"]
        assert sensor.lives == 1, "the same again is nothing new"
    for one in house.watcher.on("model"):
        validate("model", one.json)


def again(config: EdgeConfig) -> dict[str, Any]:
    return {
        "device": {"id": config.device.id}, "mqtt": {"host": config.mqtt.host, "port": config.mqtt.port},
        "state_folder": config.state_folder, "homeassistant": {"enabled": False},
    }  # fmt: skip


def another_front_end(house) -> bytes:
    """A model whose golden sound came out otherwise, signed all the same."""
    golden = parts(DEFAULT)[1]["golden"]
    rows = [row[1:] + row[:1] for row in golden["probs"]]
    return house.model("strange", created=SECOND, golden={**golden, "probs": rows}).read_bytes()


def another_schema(house) -> bytes:
    graph, told = parts(DEFAULT)
    return packed(graph, {**told, "schema": 2})


def second(house, **changes: Any) -> bytes:
    return house.model("second", created=SECOND, **changes).read_bytes()


def altered(house) -> bytes:
    """A graph with some zeros in it, under its manifest and signature."""
    whole = second(house)
    return whole[:2_000] + bytes(100) + whole[2_100:]


def half(house, number: int) -> bytes:
    whole = second(house)
    return (whole[: len(whole) // 2], whole[len(whole) // 2 :])[number]


ATTACKS = {
    "unsigned": (lambda house: second(house, key=None), "not signed"),
    "another's signature": (lambda house: second(house, key="stranger"), "signed by none of the trusted keys"),
    "half a message": (lambda house: half(house, 0), "damaged or cut short"),
    "the other half": (lambda house: half(house, 1), "not a TFLite model"),
    "altered": (altered, "altered or damaged: the SHA-256 of graph and manifest does not match"),
    "replayed": (lambda house: house.model("old", created="2026-10-01T00:00:00Z"), "older than what was installed"),
    "too large": (lambda house: second(house).ljust(MOST_BYTES + 500, b"\0"), f"larger than {MOST_BYTES} bytes"),
    "another format": (another_schema, "manifest: Invalid enum value 2"),
    "another front end": (another_front_end, "golden replay: probabilities differ"),
    "no model": (lambda house: b"\x00\xff\x1b[2J" * 50, "not a TFLite model"),
}  # fmt: skip


@pytest.mark.usefixtures("quick_trials")
def test_each_attack_is_refused_and_named_and_changes_nothing(house):
    """Also where by hand everything would be allowed: what comes over the air is not what somebody chose."""
    with Silent(house.sensor(allow_unsigned=True, allow_older=True)) as sensor:
        house.publish(house.model("first"))
        first = house.wait_for("installed", offered="first")["installed"]
        for name, (attack, says) in ATTACKS.items():
            house.publish(attack(house))
            house.watcher.wait_for(lambda w, says=says: says in (house.said()["reason"] or ""))
            told = house.said()
            validate("model", told)
            assert (told["result"], told["installed"]) == ("refused", first), name
            assert sensor.record.current.digest == first["sha256"]
            house.publish(b"")
            house.wait_for("none")
        house.publish(second(house) + bytes(MOST_BYTES))  # of which a broker sends it nothing
        assert sensor.lives == 2
        house.publish(house.model("third", created="2026-11-03T00:00:00Z"))
        assert house.wait_for("installed", offered="third")["installed"]["sha256"] != first["sha256"]
        left = {file.name for file in (house.folder / "attic" / "models").iterdir()}
        assert len(left) == 3, left


@pytest.mark.usefixtures("quick_trials")
def test_what_is_to_be_asked_about_waits_for_the_command(house):
    with Silent(house.sensor(updates="ask")) as sensor:
        house.wait_for("none")
        house.install("offered")  # nothing is
        house.publish(house.model("first"))
        told = house.wait_for("offered", offered="first")
        assert told["installed"]["sha256"] == BUNDLED
        house.install(BUNDLED)  # which is not what is offered
        house.publish(house.model("second", created=SECOND))
        house.wait_for("offered", offered="second")
        house.install(told["offered"]["sha256"])  # no longer
        assert (sensor.lives, sensor.record.current) == (1, None)
        house.install("offered")
        assert house.wait_for("installed", offered="second")["installed"]["model"].startswith("second-")
        assert sensor.lives == 2


@pytest.mark.usefixtures("quick_trials")
def test_one_that_fails_its_trial_is_taken_back_and_not_tried_again_but_on_request(house):
    fails = ["bad"]
    with Silent(house.sensor(), drops=lambda name: name.partition("-")[0] in fails) as sensor:
        house.publish(house.model("first"))
        house.wait_for("installed", offered="first")
        bad = house.model("bad", created=SECOND)
        house.publish(bad)
        told = house.wait_for("went-back", offered="bad")
        assert told["installed"]["model"].startswith("first-")
        assert "cannot keep real time" in told["reason"]
        assert sensor.lives == 4  # the bundled one, the first, the bad one, the first again
        house.publish(b"no model")
        house.wait_for("refused")
        house.publish(bad)
        house.wait_for("went-back", offered="bad")
        assert sensor.lives == 4
        fails.clear()
        house.install("offered")
        assert house.wait_for("installed", offered="bad")["installed"]["model"].startswith("bad-")


@pytest.mark.usefixtures("quick_trials")
def test_going_back_by_hand_is_not_undone_by_what_is_still_published(house):
    config = house.sensor()
    with Silent(config) as sensor:
        for name, created in (("first", "2026-11-01T00:00:00Z"), ("second", SECOND)):
            house.publish(house.model(name, created=created))
            house.wait_for("installed", offered=name)
        wait_until(lambda: sensor.record.trial_starts is None)
    done = house.roomtone("rollback", called="attic")
    assert done.returncode == 0, done.stderr
    with Silent(config) as sensor:
        told = house.wait_for("went-back", offered="second")
        assert (told["reason"], told["installed"]["model"][:6]) == ("the sensor went back from it before", "first-")
        assert sensor.lives == 1


def test_a_sensor_that_is_not_to_take_any_says_what_runs_and_asks_for_nothing(house):
    house.publish(house.model("first"))
    with Silent(house.sensor(updates="never")) as sensor:
        told = house.wait_for("none")
        assert (told["updates"], told["installed"]["sha256"], told["offered"]) == ("never", BUNDLED, None)
        assert "roomtone/models/house" not in house.broker.log
        assert sensor.lives == 1


def test_a_recording_takes_no_models_and_says_so(house, tmp_path):
    """It ends by itself, and is no trial of anything."""
    house.publish(house.model("first"))
    store = {"updates": "auto", "trusted_keys": [str(house.folder / "mine.pub")]}
    edge = {"device": {"id": "attic"}, "model_store": store}
    with Daemon(tmp_path, house.broker.port, edge=edge) as daemon:
        told = house.wait_for("none")
        assert (told["updates"], told["installed"]["sha256"], told["offered"]) == ("never", BUNDLED, None)
        assert daemon.stop() == 0


@pytest.mark.usefixtures("quick_trials")
def test_a_sensor_takes_what_is_published_to_its_ring_alone_also_after_it_changed(house):
    house.publish(house.model("brave", created=SECOND), "canary")
    house.publish(house.model("calm"))
    with Silent(house.sensor(ring="canary")):
        house.wait_for("installed", offered="brave")
    with Silent(house.sensor(ring="house")) as sensor:
        told = house.wait_for("refused", offered="calm")
        assert told["ring"] == "house"
        assert "older than what was installed before" in told["reason"]
        house.publish(house.model("braver", created="2026-11-03T00:00:00Z"), "canary")
        house.publish(house.model("calmer", created="2026-11-04T00:00:00Z"))
        house.wait_for("installed", offered="calmer")
        assert sensor.record.previous.model_id.startswith("brave-"), "the session of before was still asked for it"


def test_the_defaults_take_nothing_and_no_ring_without_a_key(tmp_path):
    assert (ModelStore().updates, ModelStore().ring) == ("never", "house")
    for updates in ("ask", "auto"):
        (tmp_path / "config.yaml").write_text(json.dumps({"edge": {"model_store": {"updates": updates}}}))
        with pytest.raises(ConfigError, match=rf"edge.model_store: expected trusted_keys beside updates: {updates}"):
            load_edge(tmp_path / "config.yaml")
