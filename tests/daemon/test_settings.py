"""Settings that change while the sensor runs: taken or refused as a whole, remembered, and given back."""

import json
import logging
import os
import random
import re
import subprocess
import time
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import Device, EdgeConfig, QuietHours
from edge.daemon import tuning
from edge.daemon.permission import Permission
from edge.daemon.preferences import Preferences
from edge.daemon.quiet_hours import QuietClock
from edge.daemon.tuning import Tuning
from edge.delivery.packets import Word
from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import timed_blocks
from edge.voice.contract import FOLDER
from edge.voice.payloads import Hours, Settings, SettingsCommand, Wanted
from tests.support.daemon import Daemon
from tests.support.subscriber import Subscriber

NIGHT = {"start": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}
ARTIFACT, MODEL = load(DEFAULT_MODEL)


@pytest.fixture(autouse=True)
def log_level():
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def tuned(path: Path | None = None, config: EdgeConfig | None = None) -> tuple[Tuning, list[Settings]]:
    said: list[Settings] = []
    config = config or EdgeConfig()
    pipeline = Pipeline(MODEL, ARTIFACT.manifest)
    made = Tuning(Preferences(path, config), pipeline, Permission(None, None, QuietClock(None)), said.append)
    made.apply()
    made.recall()
    return made, said


def told(made: Tuning, said: list[Settings], command: dict | bytes) -> Settings | str:
    """Return what holds after a command, or why it was refused."""
    payload = command if isinstance(command, bytes) else json.dumps(command).encode()
    why = made.obey(payload)
    made.turn()
    assert said[-1].answer.done == (why is None)
    return why or said[-1]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Wohnzimmer oben", "Wohnzimmer oben"), ("x" * 5_000, "x" * 64), ("Room", None), (" ", None)],
)
def test_the_name_for_people_is_told_where_the_configuration_gives_one(name, shown):
    _, said = tuned(config=EdgeConfig(device=Device(id="attic", name=name)))
    assert said[-1].name == shown


def test_what_is_set_holds_until_it_is_reset_and_the_file_does_not_change_it(tmp_path):
    path = tmp_path / "settings.json"
    own = EdgeConfig(sensitivity=30, quiet_hours=QuietHours(start="01:00", end="02:00", time_zone="Asia/Tokyo"))
    made, said = tuned(path, own)
    assert (said[-1].sensitivity, said[-1].set) == (30, [])
    assert not path.exists()  # nothing was set
    now = told(made, said, {"sensitivity": 70, "quiet_hours": None, "state_interval_s": 10, "log_level": "debug"})
    assert (now.sensitivity, now.quiet_hours, now.state_interval_s, now.log_level) == (70, None, 10.0, "debug")
    assert now.set == ["sensitivity", "quiet_hours", "state_interval_s", "log_level"]
    tokyo = Hours(start="01:00", end="02:00", time_zone="Asia/Tokyo")
    assert now.configured == Wanted(sensitivity=30, quiet_hours=tokyo, state_interval_s=30.0, log_level="info")
    assert logging.getLogger().level == logging.DEBUG
    _, said = tuned(path, msgspec.structs.replace(own, sensitivity=10))  # another life, with another file
    assert (said[-1].sensitivity, said[-1].quiet_hours) == (70, None)
    made, said = tuned(path, own)
    now = told(made, said, {"reset": ["sensitivity"]})
    assert (now.sensitivity, now.set) == (30, ["quiet_hours", "state_interval_s", "log_level"])
    assert now.configured.sensitivity is msgspec.UNSET
    now = told(made, said, {"quiet_hours": {"start": "22:00", "end": "07:00"}})
    assert now.quiet_hours.time_zone == "Asia/Tokyo"  # as the configuration has it
    now = told(made, said, {"reset": True, "log_level": "error"})  # and what is set beside it
    assert (now.quiet_hours.start, now.log_level, now.set) == ("01:00", "error", ["log_level"])


@pytest.mark.parametrize(
    "command",
    [
        {"sensitivity": 101}, {"sensitivity": -1}, {"sensitivity": True}, {"sensitivity": "60"}, {"sensitivity": None},
        {"sensitivity": 60.5}, {"state_interval_s": 0}, {"state_interval_s": 61}, {"log_level": "loud"},
        {"quiet_hours": {"start": "22:00"}}, {"quiet_hours": {"start": "25:00", "end": "07:00"}},
        {"quiet_hours": {"start": "22:00", "end": "22:00"}}, {"quiet_hours": NIGHT | {"time_zone": "Moon/Base"}},
        {"quiet_hours": NIGHT | {"time_zone": "../../etc/passwd"}}, {"quiet_hours": NIGHT | {"more": 1}},
        {"sensibility": 60}, {"reset": ["everything"]}, {"reset": "yes"}, {"calibrate": 1}, [], 7, None,
        b"{", b"\xff", b"[" * 4_000, b'{"sensitivity": 1e999}', b" " * 5_000, b'{"state_interval_s": NaN}',
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_as_a_whole(tmp_path, command):
    path = tmp_path / "settings.json"
    made, said = tuned(path)
    if isinstance(command, dict):
        command = {"state_interval_s": 20, **command}
    why = told(made, said, command)
    assert isinstance(why, str)
    assert "\n" not in why
    before, after = said
    assert why == f"refused: {after.answer.reason}"
    assert msgspec.structs.replace(after, ts=before.ts, answer=None) == before  # nothing else is said
    assert not path.exists()


def test_a_retained_command_that_is_taken_off_the_broker_is_no_command(tmp_path):
    path = tmp_path / "settings.json"
    made, said = tuned(path)
    before = list(said)
    assert made.obey(b"") == "empty"
    made.turn()
    assert said == before
    assert not path.exists()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ({"quiet_hours": {"start": "7:00", "end": "09:30"}}, "quiet_hours.start: expected HH:MM, got '7:00'"),
        ({"quiet_hours": {"start": 7, "end": "09:30"}}, 'quiet_hours.start: write it in quotes: "7"'),
        ({"quiet_hours": NIGHT | {"time_zone": "Moon/Base"}},
         "quiet_hours.time_zone: unknown time zone 'Moon/Base' (expected e.g. Europe/Berlin)"),
        ({"quiet_hours": NIGHT | {"start": "07:00"}},
         "quiet_hours: start and end are both 07:00, which says neither never nor always: write quiet_hours: null for "
         "none, or switch listening off"),
        ({"sensitivity": 60.5}, "sensitivity: expected int, got 60.5"),
        ({"quiet_hours": NIGHT | {"zone": 1}}, "quiet_hours.zone: unknown key (did you mean time_zone?)"),
        ({"log_level": "loud"}, "log_level: expected one of debug, info, warning, error, got 'loud'"),
        ({"reset": ["sensibility"]}, "reset[0]: expected one of sensitivity, quiet_hours, state_interval_s, log_level, "
                                     "calibration, got 'sensibility'"),
        ({"sensitivty": 60}, "sensitivty: unknown key (did you mean sensitivity?)"),
        ([], "expected keys with values ({key: value}), got []"),
        (b'{"sensitivity": "' + b"a" * 200 + b'"}', f"sensitivity: expected int, got '{'a' * 56}..."),
    ],
)  # fmt: skip
def test_a_refusal_speaks_as_a_mistake_in_the_configuration_does(command, why):
    assert told(*tuned(), command) == f"refused: {why}"


@pytest.mark.parametrize("number", ["60", "60.0", "6e1"])
def test_a_whole_number_is_one_however_it_is_written(number):
    """As the schema's `integer` has it, and as programs write it that know of no other numbers."""
    assert told(*tuned(), f'{{"sensitivity": {number}, "state_interval_s": {number}}}'.encode()).sensitivity == 60


SCALARS = st.none() | st.booleans() | st.integers(-300, 300) | st.floats() | st.text(max_size=8)
HOURS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["22:00", "07:00", "24:00", "UTC", "Mars"]) | SCALARS
                  for name in ("start", "end", "time_zone")},
)  # fmt: skip
COMMANDS = st.fixed_dictionaries(
    {},
    optional={
        "sensitivity": st.integers(0, 100) | SCALARS,
        "quiet_hours": HOURS | SCALARS,
        "state_interval_s": st.floats(1, 60) | SCALARS,
        "log_level": st.sampled_from(["debug", "info", "warning", "error"]) | SCALARS,
        "reset": st.booleans() | st.lists(st.sampled_from(["sensitivity", "quiet_hours", "x"])) | SCALARS,
        "calibrate": st.booleans() | SCALARS,
        "what": SCALARS,
    },
).map(lambda made: json.dumps(made).encode())


AT_ONCE = 20  # Hypothesis takes longer over an example than over a command in it


@settings(max_examples=10_000 // AT_ONCE, deadline=None, suppress_health_check=list(HealthCheck))
@given(payloads=st.lists(COMMANDS | st.binary(max_size=64), min_size=AT_ONCE, max_size=AT_ONCE))
def test_no_payload_leaves_a_setting_out_of_range(payloads):
    made, said = _REUSED
    for payload in payloads:
        why = made.obey(payload)
        made.turn()
        assert why is None or (isinstance(why, str) and why)
        _VALIDATOR.validate(json.loads(msgspec.json.encode(said[-1])))
        config = made.config
        assert 0 <= config.sensitivity <= 100
        assert 1 <= config.state_interval_s <= 60
        assert config.log_level in ("debug", "info", "warning", "error")
        if config.quiet_hours is not None:
            config.quiet_hours.zone()
        del said[:-1]


_REUSED = tuned()
_SCHEMA = json.loads((FOLDER / "settings.json").read_text())
_VALIDATOR = jsonschema.validators.Draft202012Validator(_SCHEMA)


def test_a_damaged_file_is_said_and_the_configuration_holds(tmp_path, caplog):
    path = tmp_path / "settings.json"
    never = b'{"quiet_hours": {"start": "22:00", "end": "22:00"}}'
    for damage in (b"", b"{", b'{"sensitivity": 700}', never, b"\0" * 9_000):
        path.write_bytes(damage)
        caplog.clear()
        made, said = tuned(path)
        assert said[-1].sensitivity == 50
        assert "what the broker has of it holds" in caplog.text
        assert told(made, said, {"sensitivity": 61}).sensitivity == 61
        assert tuned(path)[1][-1].sensitivity == 61


def retained(**holds) -> Word:
    words = {"ts": "2026-01-31T12:00:00.000Z", "sensitivity": 50, "quiet_hours": None, "state_interval_s": 5.0,
             "log_level": "info", "set": []}  # fmt: skip
    return Word(word=json.dumps(words | holds).encode(), ts=None)


def test_what_the_folder_has_lost_is_what_the_broker_has(tmp_path):
    of_before = retained(
        sensitivity=20, quiet_hours=NIGHT, set=["sensitivity", "quiet_hours"], log_level="debug",
        calibration={"state": "spoken", "floor_dbfs": -55.0, "restless_db": 3.0},
    )  # fmt: skip
    for damage in (None, b"{"):
        path = tmp_path / f"settings-{damage is None}.json"
        if damage:
            path.write_bytes(damage)
        made, said = tuned(path)
        assert told(made, said, {"sensitivity": 61}).sensitivity == 61  # what is said in this life is later
        made.recall(of_before)
        for holds in (said[-1], tuned(path)[1][-1]):
            assert (holds.sensitivity, holds.quiet_hours, holds.log_level) == (61, Hours(**NIGHT), "info")
            assert holds.calibration.floor_dbfs == -55.0
        made.recall(retained(sensitivity=10, set=["sensitivity"]))
        assert made.config.sensitivity == 61  # it is told once


def test_what_the_folder_has_or_was_reset_does_not_come_back_from_the_broker(tmp_path):
    of_before = retained(sensitivity=20, quiet_hours=NIGHT, set=["sensitivity", "quiet_hours"])
    made, said = tuned(tmp_path / "kept.json")
    told(made, said, {"log_level": "warning"})
    again, said = tuned(tmp_path / "kept.json")
    again.recall(of_before)
    assert again.config.quiet_hours is None
    assert again.config.sensitivity == 50
    reset, said = tuned(tmp_path / "reset.json")
    told(reset, said, {"reset": ["sensitivity"]})
    reset.recall(of_before)
    assert reset.config.quiet_hours is None
    assert reset.config.sensitivity == 50


@pytest.mark.parametrize(
    "rubbish",
    [None, Word(word=b"", ts=None), Word(word=b"[" * 100_000, ts=None), Word(word=b"\xff{", ts=None),
     retained(set=["quiet_hours"], quiet_hours={"start": "22:00", "end": "22:00"}),
     retained(set=["quiet_hours"], quiet_hours=NIGHT | {"time_zone": "Mars/Olympus"}),
     retained(set=["sensitivity"], sensitivity=700), retained(set=["calibration", "ts", "host"])],
)  # fmt: skip
def test_rubbish_on_the_broker_sets_nothing(tmp_path, rubbish):
    made, said = tuned(tmp_path / "settings.json")
    made.recall(rubbish)
    assert made.config == EdgeConfig()
    assert not (tmp_path / "settings.json").exists()
    assert told(made, said, {"sensitivity": 61}).sensitivity == 61


def test_quiet_hours_of_the_name_before_hold_under_a_new_one_until_they_are_reset(tmp_path, caplog):
    attic, living, here = (tmp_path / f"settings-{name}.json" for name in ("attic", "living", "living2"))
    assert Preferences(here, EdgeConfig(), [attic, living]).names == []  # nobody was here before
    for path, start in ((attic, "21:00"), (living, "22:00")):
        hours = SettingsCommand(quiet_hours=Hours(start=start, end="07:00"), sensitivity=10)
        Preferences(path, EdgeConfig()).take(hours)
    os.utime(attic, (1, 1))  # the one of long ago
    renamed = Preferences(here, EdgeConfig(), [attic, living])
    assert renamed.config.quiet_hours.start == "22:00"
    assert renamed.names == ["quiet_hours"]  # how sensitive it is, is the room's
    assert "settings-living.json: quiet hours were set under that name, and hold here, too" in caplog.text
    assert not here.exists()
    renamed.take(SettingsCommand(reset=["quiet_hours"]))
    assert Preferences(here, EdgeConfig(), [attic, living]).config.quiet_hours is None
    living.write_text("{")
    assert Preferences(tmp_path / "settings-x.json", EdgeConfig(), [living]).names == []  # damaged: said, and nothing



def test_a_folder_that_cannot_be_written_is_a_problem_that_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    made, said = tuned(tmp_path / "file" / "settings.json")
    now = told(made, said, {"sensitivity": 61})
    assert now.sensitivity == 61
    assert "is forgotten at a restart" in now.problem


def room(*, spoken: bool = False, gust_db: float = 0.0, seconds: float = 32.0) -> np.ndarray:
    chance = np.random.default_rng(0)
    sound = chance.normal(0, 10 ** (-60 / 20), round(seconds * 16_000)).astype(np.float32)
    if gust_db:  # for a fifth of each second
        for begin in range(0, len(sound), 16_000):
            sound[begin : begin + 3_200] *= 10 ** (gust_db / 20)
    if spoken:
        from edge.sound.recording import load_recording
        from tests.support.daemon import RECORDING

        sound += load_recording(RECORDING)[: len(sound)]
    return sound


@pytest.mark.parametrize(("gust_db", "least", "most"), [(0.0, 0.0, 5.0), (12.0, 11.0, 16.0)])
def test_calibration_learns_the_rooms_noise_and_keeps_it(tmp_path, gust_db, least, most):
    path = tmp_path / "settings.json"
    made, said = tuned(path)
    assert told(made, said, {"calibrate": True}).calibration.state == "running"
    assert tuning.CALIBRATION_S == 30.0
    for block in timed_blocks([room(gust_db=gust_db)], started_at=0.0):
        made.hear(made._pipeline.process(block))
    known = said[-1].calibration
    assert known.state == "done"
    assert known.floor_dbfs == pytest.approx(-60, abs=1.5)
    assert least <= known.restless_db <= most
    again, said = tuned(path)
    assert said[-1].calibration == known
    assert again._pipeline._level_gate.floor_dbfs != known.floor_dbfs  # nothing was heard yet
    again._pipeline.process(next(iter(timed_blocks([room(seconds=0.2)], started_at=0.0))))
    assert again._pipeline._level_gate.floor_dbfs == pytest.approx(known.floor_dbfs, abs=1.5)
    assert again._pipeline._level_gate.margin_db == max(6.0, known.restless_db)
    assert told(again, said, {"reset": ["calibration"]}).calibration.state == "none"
    assert again._pipeline._level_gate.margin_db == 6.0


def test_a_room_that_is_not_empty_or_not_heard_leaves_what_was_known(tmp_path):
    made, said = tuned(tmp_path / "settings.json")
    told(made, said, {"calibrate": True})
    for block in timed_blocks([room(spoken=True)], started_at=0.0):
        made.hear(made._pipeline.process(block))
    assert (said[-1].calibration.state, said[-1].calibration.floor_dbfs) == ("spoken", None)
    told(made, said, {"calibrate": True})
    made.interrupted()
    assert said[-1].calibration.state == "interrupted"
    before = len(said)
    made.interrupted()
    assert len(said) == before


def set_(port: int, command: dict) -> None:
    words = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", "roomtone/room/settings/set", "-m", json.dumps(command)]
    subprocess.run(words, check=True)


def test_an_empty_command_is_ignored_and_leaves_the_answer_before(tmp_path):
    made, said = tuned(tmp_path / "settings.json")
    told(made, said, {"sensitivity": 20})
    before = len(said)
    assert made.obey(b"") == "empty"
    made.turn()
    assert len(said) == before
    assert said[-1].answer.done


def test_nothing_is_calibrated_while_nothing_may_be_heard(tmp_path):
    made, said = tuned(tmp_path / "settings.json")
    late = time.gmtime().tm_hour == 23
    made._permission.quiet(QuietClock(QuietHours(start="12:00" if late else "00:00", end="11:59" if late else "23:59")))
    answer = told(made, said, {"calibrate": True, "sensitivity": 20})
    assert answer.startswith("refused: calibrate: these are quiet hours")
    assert answer.endswith(", so nothing is heard")
    assert said[-1].sensitivity == 50  # it is refused as a whole


def test_a_calibration_that_runs_ends_with_its_reset(tmp_path):
    made, said = tuned(tmp_path / "settings.json")
    for command in ({"reset": True}, {"reset": ["calibration"]}):
        assert told(made, said, {"calibrate": True}).calibration.state == "running"
        assert told(made, said, {"sensitivity": 30}).calibration.state == "running"
        assert told(made, said, command).calibration.state == "none"
        for block in timed_blocks([room()], started_at=0.0):
            made.hear(made._pipeline.process(block))
        assert said[-1].calibration.state == "none"
    again = told(made, said, {"reset": ["calibration"], "calibrate": True})
    assert again.calibration.state == "running"
    for block in timed_blocks([room()], started_at=0.0):
        made.hear(made._pipeline.process(block))
    assert said[-1].calibration.state == "done"


def holds(watcher: Subscriber) -> dict:
    return watcher.on("settings")[-1].json if watcher.on("settings") else {}


def test_a_running_sensor_takes_them_says_them_and_refuses_what_is_none(broker, tmp_path):
    with (
        Subscriber(broker.port) as watcher,
        Daemon(tmp_path, broker.port, edge={"health_interval_s": 1}) as daemon,
    ):
        watcher.wait_for(lambda w: holds(w).get("sensitivity") == 50)
        set_(broker.port, {"sensitivity": 20})
        watcher.wait_for(lambda w: holds(w)["sensitivity"] == 20)
        assert json.loads((daemon.state / "settings-room.json").read_text())["sensitivity"] == 20
        for _ in range(3):
            set_(broker.port, {"sensitivity": 200})
        daemon.wait_for_log("refused: .*sensitivity")
        watcher.wait_for(lambda w: w.on("health")[-1].json["ignored_commands"] >= 3)
        assert daemon.log.count("refused: ") == 1
        assert holds(watcher)["sensitivity"] == 20
        watcher.wait_for(lambda w: holds(w)["answer"]["done"] is False)
        assert "sensitivity" in holds(watcher)["answer"]["reason"]
        always = {"start": "00:00", "end": "23:59"}
        set_(broker.port, {"quiet_hours": always})
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "quiet-hours")
        takes_back = '{"reset": ["quiet_hours"]} on settings/set takes them back'
        daemon.wait_for_log(re.escape(f"these are quiet hours (until 23:59 UTC, set over MQTT; {takes_back})"))
        set_(broker.port, {"reset": True})
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "ok" and holds(w)["set"] == [])
        assert "Traceback" not in daemon.log


@pytest.mark.timeout(600)
def test_killed_at_twenty_moments_while_they_change_the_newest_acknowledged_one_is_there(broker, tmp_path):
    chance = random.Random(0)
    number = 0
    for _ in range(20):
        seen: list[int] = []
        with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:
            watcher.wait_for(lambda w: len(w.on("settings")) and not w.on("settings")[-1].retained)
            until_s = time.monotonic() + chance.uniform(0.05, 1.0)
            while time.monotonic() < until_s:
                number += 1
                set_(broker.port, {"state_interval_s": 1 + number % 5_900 / 100})
            daemon.kill()
            watcher.wait_for(lambda w: w.on("status")[-1].payload == "offline")
            seen = [round(100 * (message.json["state_interval_s"] - 1)) for message in watcher.on("settings")]
        kept = json.loads((daemon.state / "settings-room.json").read_text()).get("state_interval_s", 30.0)
        acknowledged = seen[-1] if seen[-1] != 2_900 else 0
        assert acknowledged <= round(100 * (kept - 1)) <= number
        assert len(list(daemon.state.glob(".settings*"))) <= 1  # of this life; that of the one before is gone
