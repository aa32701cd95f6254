"""What Home Assistant is told, as mosquitto's client sees it; `make test-homeassistant` asks Home Assistant itself."""

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import jinja2
import msgspec
import numpy as np
import pytest
import soundfile
import yaml

from edge.commands.demo import RECORDING
from edge.config import Device, EdgeConfig, Mqtt
from edge.delivery.homeassistant import AGAIN_S, Announcement
from edge.delivery.link import Link
from edge.hearing import mood
from edge.model.artifact import DEFAULT_MODEL, read_artifact
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from edge.voice.homeassistant import discovery
from edge.voice.models import Install, Model, ModelFile
from edge.voice.payloads import Event, Health, Hours, Settings, SettingsCommand, State
from edge.voice.teaching import Forget, Lessons, Teach
from tests.commands.test_watch import publish, state
from tests.support.broker import HOST
from tests.support.home_assistant import Home, require_home_assistant
from tests.support.owner import Owner, Silent
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
ACCEPTED = ROOT / "tests" / "data" / "homeassistant" / "discovery.json"
CARDS = ROOT / "deploy" / "homeassistant"
TOPIC = "homeassistant/device/roomtone-attic/config"
CONFIG = EdgeConfig(device=Device(id="attic", name="Attic"))


def announced(link: Link) -> Announcement:
    return Announcement(link, CONFIG, LABELS, "model-1", teachable=True)


def description() -> dict:
    """Return what a sensor with the bundled model says, whose name moves on."""
    said = read_artifact(DEFAULT_MODEL).manifest
    told = discovery(CONFIG.device, said.labels, "model-1", mood.names(said.moods), teachable=said.teachable)
    return json.loads(msgspec.json.encode(told))


def test_the_description_is_what_home_assistant_accepted():
    made = description()
    accepted = json.loads(ACCEPTED.read_text())
    for described in (made, accepted):  # the version moves on
        described["device"].pop("sw_version")
        described["origin"].pop("sw_version")
    assert made == accepted


def test_every_label_is_an_option_and_every_field_exists_on_the_wire():
    components = discovery(CONFIG.device, LABELS, "model-1", teachable=True)["components"]
    assert components["emotion"]["options"] == [*LABELS, "unknown", "quiet"] == components["change"]["event_types"]
    fields = {"state": State, "health": Health, "event": Event, "settings": Settings, "lessons": Lessons}
    for name, component in components.items():
        payload = fields.get(component.get("state_topic", "").rpartition("/")[2])
        template = component.get("value_template", "")
        if "value_json." in template:
            field = re.search(r"value_json\.(\w+)", template)[1]
            assert field in payload.__struct_fields__, name


def test_a_model_with_moods_has_an_entity_for_them_and_others_have_none():
    moods = ["tense", "calm", "excited", "unknown", "quiet"]
    told = discovery(CONFIG.device, LABELS, "model-1", moods)["components"]
    assert told["mood"]["options"] == moods
    assert told["mood"]["state_topic"] == "roomtone/attic/state"
    assert told["mood"]["value_template"] == "{{ value_json.mood | default(none) }}"
    assert "mood" in State.__struct_fields__
    told.pop("mood")
    assert told == discovery(CONFIG.device, LABELS, "model-1")["components"]


def test_what_home_assistant_sends_is_a_lesson_and_only_a_model_that_learns_is_sent_any():
    told = discovery(CONFIG.device, LABELS, "model-1", teachable=True)["components"]
    template = told["it-was"]["command_template"]
    now = "{{ utcnow().strftime('%Y-%m-%dT%H:%M:%SZ') }}"
    assert now in template
    sent = template.replace(now, "2026-11-26T10:42:12Z").replace("{{ value }}", "sad")
    assert msgspec.json.decode(sent, type=Teach) == Teach(event_id="last", label="sad", ts="2026-11-26T10:42:12Z")
    assert msgspec.json.decode(told["undo"]["payload_press"], type=Forget) == Forget(event_id="last")
    assert told["it-was"]["options"] == LABELS
    plain = discovery(CONFIG.device, LABELS, "model-1")["components"]
    figures = {f"{of}-{when}" for of in ("right", "chance") for when in ("before", "after")}
    assert set(told) - set(plain) == {"it-was", "undo", "lessons", "lessons-help"} | figures
    assert {name: told[name] for name in plain} == plain


def test_a_model_that_is_offered_is_an_update_where_models_come_over_the_air():
    plain = discovery(CONFIG.device, LABELS, "model-1")["components"]
    told = discovery(CONFIG.device, LABELS, "model-1", updated=True)["components"]
    assert set(told) - set(plain) == {"model"}
    update = told["model"]
    assert (update["state_topic"], update["command_topic"]) == ("roomtone/attic/model", "roomtone/attic/model/install")
    assert msgspec.json.decode(update["payload_install"], type=Install) == Install(sha256="offered")
    one, other = (ModelFile(model=name, created="2026", sha256=name[0] * 64) for name in ("a-1", "b-2"))
    template = jinja2.Environment().from_string(update["value_template"])
    newest = {"none": "a-1 aaaaaaaa", "refused": "a-1 aaaaaaaa", "offered": "b-2 bbbbbbbb", "went-back": "b-2 bbbbbbbb"}
    for result, latest in newest.items():
        offered = None if result == "none" else other
        reason = "too slow" if result == "went-back" else None
        said = Model(ts="2026-11-26T17:20:05Z", since="2026-11-26T17:20:05Z", updates="ask", ring="house",
                     installed=one, offered=offered, result=result, reason=reason)  # fmt: skip
        shown = json.loads(template.render(value_json=json.loads(msgspec.json.encode(said))))
        assert shown == {"installed_version": "a-1 aaaaaaaa", "latest_version": latest, "in_progress": False,
                         "release_summary": reason or ""}, result  # fmt: skip


def test_quiet_hours_are_a_text_that_is_read_and_written():
    told = discovery(CONFIG.device, LABELS, "model-1")["components"]["quiet_hours"]
    for hours in ("22:00-07:00", "00:00-23:59", "off"):
        assert re.match(told["pattern"], hours)
        assert len(hours) <= told["max"]
    for no_hours in ("", "22:00", "24:00-07:00", "22:00-07:00\n22", "22:0007:00", "OFF"):
        assert not re.match(told["pattern"], no_hours)
    sent, rest = told["command_template"].split("{% else %}")
    assert msgspec.json.decode(sent.partition("{%")[0] + "null}", type=SettingsCommand).quiet_hours is None
    filled = rest.removesuffix("{% endif %}}").replace("{{ value[:5] }}", "22:00").replace("{{ value[6:] }}", "07:00")
    hours = filled.replace("{{ now().tzinfo }}", "Europe/Berlin")
    assert msgspec.json.decode(hours, type=Hours) == Hours(start="22:00", end="07:00", time_zone="Europe/Berlin")


def test_it_is_retained_and_sent_again_when_home_assistant_starts(broker):
    link = Link(Mqtt(), "attic", host=HOST, port=broker.port)
    announced(link)
    link.start()
    with Subscriber(broker.port, "homeassistant/device/#") as watcher:
        watcher.wait_for(lambda w: w.messages)
        subprocess.run(
            ["mosquitto_pub", "-p", str(broker.port), "-t", "homeassistant/status", "-m", "online"], check=True
        )
        watcher.wait_for(lambda w: len(w.messages) >= 2)
        assert {message.topic for message in watcher.messages} == {TOPIC}
        assert watcher.messages[-1].json["device"]["identifiers"] == ["roomtone-attic"]
    link.stop()


def test_the_description_alone_is_announced_again_a_while_after_each_time(broker):
    """Home Assistant may have lost an entity of the first one while it loaded its platforms."""
    link = Link(Mqtt(), "attic", host=HOST, port=broker.port)
    announcement = announced(link)
    with Subscriber(broker.port, "homeassistant/device/#", "-t", "roomtone/attic/#") as watcher:

        def described(count: int) -> None:
            watcher.wait_for(lambda w: sum(message.topic == TOPIC for message in w.messages) >= count)

        def pass_time(announced_s: float, count: int) -> None:
            """Let the times pass at which it is due again, and hours more. count: how often it came before."""
            announcement.turn(announced_s)
            for number, after_s in enumerate(AGAIN_S, start=count + 1):
                announcement.turn(announced_s + after_s - 0.1)
                announcement.turn(announced_s + after_s)
                described(number)
            announcement.turn(announced_s + 10_000.0)

        link.start()
        described(1)
        pass_time(0.0, 1)
        started = ["mosquitto_pub", "-p", str(broker.port), "-t", "homeassistant/status", "-m"]
        subprocess.run([*started, "offline"], check=True)
        subprocess.run([*started, "online"], check=True)
        described(4)
        pass_time(20_000.0, 4)
        link.retain("state", b"{}")  # a mark behind all that was to come
        watcher.wait_for(lambda w: w.on("state"))
        assert len(watcher.on("config")) == 6
        assert len({message.payload for message in watcher.on("config")}) == 1
        # On the connection, and when Home Assistant had started.
        assert [message.payload for message in watcher.on("status")] == ["online", "online"]
    link.stop()


def test_remove_clears_the_description(broker, tmp_path):
    link = Link(Mqtt(), "attic", host=HOST, port=broker.port)
    announced(link)
    link.start()
    with Subscriber(broker.port, "homeassistant/device/#") as watcher:
        watcher.wait_for(lambda w: w.messages)
        link.stop()
        (tmp_path / "config.yaml").write_text(
            f"edge: {{device: {{id: attic}}, mqtt: {{host: {HOST}, port: {broker.port}}}}}"
        )
        command = [sys.executable, "-m", "edge", "--config", str(tmp_path / "config.yaml"), "homeassistant", "--remove"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        assert f"{TOPIC}: removed" in done.stdout
        assert "`roomtone forget attic`" in done.stdout
        watcher.wait_for(lambda w: w.messages[-1].payload == "")
    with Subscriber(broker.port, "#", "-W", "2") as late:
        late._process.wait()
    assert TOPIC not in {message.topic for message in late.messages}


# What there is to be set, and how it is where nothing is configured.
AT_FIRST = {
    "number.attic_sensitivity": "50", "text.attic_quiet_hours": "off", "number.attic_state_interval": "30.0",
    "select.attic_log_level": "info",
}  # fmt: skip


@pytest.mark.machine
def test_a_real_home_assistant_discovers_follows_and_switches_the_sensor(broker, tmp_path):
    require_home_assistant()
    recording = tmp_path / "recording.wav"  # long enough for a calibration, whenever that comes
    soundfile.write(recording, np.tile(load_recording(RECORDING), 12), SAMPLE_RATE_HZ)
    (tmp_path / "config.yaml").write_text(
        f"edge: {{device: {{id: attic, name: Attic}}, mqtt: {{host: {HOST}, port: {broker.port}}}, "
        f"health_interval_s: 5, state_folder: {tmp_path / 'state'}}}"
    )
    command = [
        sys.executable,
        "-m",
        "edge",
        "--config",
        str(tmp_path / "config.yaml"),
        "run",
        "--input",
        str(recording),
    ]

    with (
        Home(tmp_path / "home", broker.port) as home,
        Subscriber(broker.port, "roomtone/attic/#") as watcher,
        ExitStack() as started,
    ):

        def sense() -> subprocess.Popen:
            process = started.enter_context(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
            started.callback(process.kill)
            return process

        described = description()
        sensor = sense()
        count = len(described["components"])
        entities = home.wait_for(lambda: len(found := home.states()) >= count and found)
        assert len(entities) == count
        emotion, switch, speech = "sensor.attic_emotion", "switch.attic_listening", "binary_sensor.attic_speech"

        # Every label that is published is followed, and its mood; arousal and valence are unknown while nobody speaks.
        followed = set()
        beside = ("mood", "arousal", "valence")

        def in_step() -> bool:
            last, known = watcher.on("state")[-1].json, home.states()
            shown = [known[f"sensor.attic_{name}"]["state"] for name in beside]
            told = ["unknown" if last[name] is None else str(last[name]) for name in beside]
            if (known[emotion]["state"], shown) == (last["emotion"], told):
                followed.add(last["emotion"])
            return len(followed) >= 3 and "quiet" in followed

        home.wait_for(in_step)
        states = home.states()
        assert states["binary_sensor.attic_microphone_problem"]["state"] == "off"
        assert float(states["sensor.attic_memory"]["state"]) > 10
        assert states["event.attic_change"]["attributes"]["event_type"] in states[emotion]["attributes"]["options"]
        assert states[speech]["state"] in ("on", "off")
        assert states[switch]["state"] == "on"

        # It teaches the last utterance, and says how many lessons there are; what it chose is not said of the next.
        select = "select.attic_it_was"
        home.call("select", "select_option", select, option="sad")
        home.wait_for(lambda: home.states()["sensor.attic_lessons"]["state"] == "1")
        assert watcher.on("lessons")[-1].json["per_label"] == {"sad": 1}
        for figure in ("right_before", "right_after", "chance_before", "chance_after"):
            home.wait_for(lambda: home.states()[f"sensor.attic_{figure}_lessons"]["state"].isdecimal())  # noqa: B023
        home.wait_for(lambda: home.states()[select]["state"] == "unknown")
        assert home.states()["binary_sensor.attic_lessons_help"]["state"] == "off"
        for card in CARDS.glob("*card.yaml"):
            named = set(re.findall(r"entity: (\S+)", card.read_text().replace("living_room", "attic")))
            assert named <= set(home.states()), card.name
        home.call("button", "press", "button.attic_forget_last_lesson")
        home.wait_for(lambda: home.states()["sensor.attic_lessons"]["state"] == "0")

        # The switch works from its side.
        home.call("switch", "turn_off", switch)
        watcher.wait_for(lambda w: w.on("listening")[-1].payload == "OFF")
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "off")
        home.wait_for(lambda: home.states()[switch]["state"] == "off")
        home.call("switch", "turn_on", switch)
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "ok")

        # Every setting is set, read back, and outlives the sensor.
        def holds() -> dict:
            return watcher.on("settings")[-1].json

        def shown() -> dict[str, str]:
            known = home.states()
            return {entity: known[entity]["state"] for entity in AT_FIRST}

        home.wait_for(lambda: shown() == AT_FIRST)
        far = [f"{(datetime.now(UTC).hour + hours) % 24:02}:00" for hours in (11, 12)]
        wanted = dict(zip(AT_FIRST, ("60", "-".join(far), "10.0", "error"), strict=True))
        for entity, value in wanted.items():
            option = {"option" if entity.startswith("select") else "value": value}
            service = "select_option" if entity.startswith("select") else "set_value"
            home.call(entity.partition(".")[0], service, entity, **option)
            home.wait_for(lambda: shown()[entity] == value)  # noqa: B023
        told = holds()
        assert told["set"] == ["sensitivity", "quiet_hours", "state_interval_s", "log_level"]
        assert (told["sensitivity"], told["state_interval_s"], told["log_level"]) == (60, 10.0, "error")
        assert told["quiet_hours"] == {"start": far[0], "end": far[1], "time_zone": "UTC"}  # as Home Assistant's is
        home.call("text", "set_value", "text.attic_quiet_hours", value="off")
        watcher.wait_for(lambda w: holds()["quiet_hours"] is None)
        home.wait_for(lambda: shown()["text.attic_quiet_hours"] == "off")
        wanted["text.attic_quiet_hours"] = "off"
        home.call("button", "press", "button.attic_calibrate_the_empty_room")
        watcher.wait_for(lambda w: holds()["calibration"]["state"] == "running")
        watcher.wait_for(lambda w: holds()["calibration"]["state"] in ("spoken", "done"))

        # Killed, it is unavailable; back, it is available.
        sensor.kill()
        sensor.wait()
        home.wait_for(lambda: {s["state"] for s in home.states().values()} == {"unavailable"})
        sensor = sense()
        home.wait_for(lambda: home.states()[emotion]["state"] not in ("unavailable", "unknown"))
        home.wait_for(lambda: shown() == wanted)
        home.call("button", "press", "button.attic_reset_settings_except_quiet_hours")
        home.wait_for(lambda: shown() == AT_FIRST)
        assert (holds()["set"], holds()["calibration"]["state"]) == (["quiet_hours"], "none")
        sensor.terminate()
        sensor.wait()

        removed = subprocess.run([*command[:5], "homeassistant", "--remove"], cwd=ROOT, capture_output=True, text=True)
        assert removed.returncode == 0, removed.stderr
        home.wait_for(lambda: not home.states())
        assert home.complaints() == []
    ACCEPTED.parent.mkdir(parents=True, exist_ok=True)
    ACCEPTED.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.machine
def test_a_real_home_assistant_installs_the_model_that_is_offered(broker, tmp_path):
    require_home_assistant()
    owner = Owner.with_keys(tmp_path)
    told = {"device": {"id": "attic", "name": "Attic"}, "mqtt": {"host": HOST, "port": broker.port}}
    state = {"state_folder": str(tmp_path / "state")}
    owner.config(edge=told, called="desk")
    update = "update.attic_model"
    with Home(tmp_path / "home", broker.port) as home, Silent(owner.config(edge=told | state, updates="ask")):

        def shown(*names: str) -> list[str]:
            known = home.states().get(update, {"state": None, "attributes": {}})
            return [known["state"], *(str(known["attributes"].get(name)) for name in names)]

        home.wait_for(lambda: shown()[0] == "off")
        assert owner.roomtone("publish", owner.model("mine"), called="desk").returncode == 0
        home.wait_for(lambda: shown()[0] == "on")
        installed, latest = shown("installed_version", "latest_version")[1:]
        assert installed.startswith("default-")
        assert latest.startswith("mine-")
        home.call("update", "install", update)
        last = ["off", latest, latest, "False"]
        home.wait_for(lambda: shown("installed_version", "latest_version", "in_progress") == last)
        assert home.complaints() == []


@pytest.mark.machine
def test_a_real_home_assistant_acts_on_a_mood_though_who_speaks_pauses(broker, tmp_path):
    """By what is shipped: the automation, and the sensor that it asks, for another room and a shorter while."""
    require_home_assistant()
    shipped = [(CARDS / name).read_text() for name in ("upset.yaml", "automation.yaml")]
    upset, automation = (re.sub("(?i)living[ _]room", "attic", text) for text in shipped)
    assert "00:05:00" in upset
    more = {"sensor": yaml.safe_load(upset.replace("00:05:00", "00:00:30")), "automation": [yaml.safe_load(automation)]}
    more |= {"recorder": {}, "history": {}}  # which default_config brings, as people have it
    share, acted = "sensor.attic_upset", "automation.softer_light_when_the_attic_sounds_upset"
    with Home(tmp_path / "home", broker.port, more=yaml.safe_dump(more)) as home:

        def said(word: str) -> None:
            publish(broker.port, "roomtone/attic/state", state(word))
            home.wait_for(lambda: home.states()["sensor.attic_emotion"]["state"] == word)

        publish(broker.port, TOPIC, json.dumps(description()).encode())
        publish(broker.port, "roomtone/attic/status", b"online")
        said("quiet")
        home.wait_for(lambda: home.states()[share]["state"] == "0.0")
        assert home.states()[acted]["attributes"]["last_triggered"] is None

        def is_spoken() -> str | None:
            said("angry")
            time.sleep(2.0)
            said("quiet")
            time.sleep(1.0)
            return home.states()[acted]["attributes"]["last_triggered"]

        home.wait_for(is_spoken)
        assert float(home.states()[share]["state"]) > 0
