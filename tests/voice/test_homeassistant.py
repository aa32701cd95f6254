"""What Home Assistant is told, as mosquitto's client sees it; `make test-homeassistant` asks Home Assistant itself."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
import soundfile

from edge.commands.demo import RECORDING
from edge.config import Device, EdgeConfig, Mqtt
from edge.delivery.homeassistant import announce
from edge.delivery.link import Link
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from edge.voice.homeassistant import discovery
from edge.voice.payloads import Event, Health, Hours, Settings, SettingsCommand, State
from edge.voice.teaching import Forget, Lessons, Teach
from tests.support.broker import HOST, free_port
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
ACCEPTED = ROOT / "tests" / "data" / "homeassistant" / "discovery.json"
CARDS = ROOT / "deploy" / "homeassistant"
PREFIX = "homeassistant"
TOPIC = "homeassistant/device/roomtone-attic/config"
CONFIG = EdgeConfig(device=Device(id="attic", name="Attic"))


def announced(link: Link) -> Link:
    announce(link, CONFIG, LABELS, "model-1", teachable=True)
    return link


def test_the_description_is_what_home_assistant_accepted():
    made = json.loads(msgspec.json.encode(discovery(CONFIG.device, LABELS, "model-1", teachable=True)))
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
    link = announced(Link(Mqtt(), "attic", host=HOST, port=broker.port))
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


def test_remove_clears_the_description(broker, tmp_path):
    link = announced(Link(Mqtt(), "attic", host=HOST, port=broker.port))
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


class Home:
    """A real Home Assistant, onboarded, with the MQTT integration set up; read and switched over its REST interface."""

    CLIENT = "http://127.0.0.1/"

    def __init__(self, folder, broker_port: int) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / ".storage").mkdir(parents=True)
        (folder / "configuration.yaml").write_text(
            "homeassistant: {name: t, latitude: 0, longitude: 0, elevation: 0, unit_system: metric, time_zone: UTC}\n"
            f"http: {{server_host: 127.0.0.1, server_port: {self.port}}}\n"
            "api:\nonboarding:\nauth:\nlogger: {default: warning}\n"
        )
        entry = {
            "created_at": "2025-01-01T00:00:00+00:00",
            "modified_at": "2025-01-01T00:00:00+00:00",
            "data": {"broker": HOST, "port": broker_port},
            "options": {"discovery": True, "discovery_prefix": PREFIX},
            "domain": "mqtt",
            "entry_id": "mqtt1",
            "title": "broker",
            "source": "user",
            "version": 1,
            "minor_version": 2,
            "unique_id": None,
            "disabled_by": None,
            "discovery_keys": {},
            "pref_disable_new_entities": False,
            "pref_disable_polling": False,
            "subentries": [],
        }
        stored = {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
        (folder / ".storage" / "core.config_entries").write_text(json.dumps(stored))

    def __enter__(self) -> "Home":
        program = ROOT / ".venv-homeassistant" / "bin" / "hass"
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-c", self._folder], stdout=output, stderr=output, start_new_session=True
            )
        self._token = None
        self.wait_for(lambda: self._ask("/api/onboarding"), timeout_s=300)
        user = {"client_id": self.CLIENT, "name": "a", "username": "a", "password": "a", "language": "en"}
        code = self._ask("/api/onboarding/users", json.dumps(user).encode())["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": self.CLIENT}
        self._token = self._ask("/auth/token", urllib.parse.urlencode(form).encode(), form=True)["access_token"]
        return self

    def __exit__(self, *_) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ask(self, path: str, data: bytes | None = None, *, form: bool = False):
        headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def states(self) -> dict[str, dict]:
        """Return the states of the sensor's entities by entity id."""
        return {state["entity_id"]: state for state in self._ask("/api/states") if "attic" in state["entity_id"]}

    def call(self, domain: str, service: str, entity: str, **data: object) -> None:
        self._ask(f"/api/services/{domain}/{service}", json.dumps({"entity_id": entity, **data}).encode())

    def wait_for(self, condition, timeout_s: float = PATIENCE_S):
        """Return what `condition` gives as soon as it is true. Raises TimeoutError with Home Assistant's words."""

        def holds():
            with contextlib.suppress(urllib.error.URLError, ConnectionError, KeyError):
                return condition()

        def seen() -> str:
            return f"Home Assistant says:\n{self.log()}\n{self._known()}"

        return wait_until(holds, seen, patience_s=timeout_s, every_s=0.25)

    def _known(self) -> str:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return "\n".join(f"{entity} {state['state']}" for entity, state in self.states().items())
        return "nothing"

    def log(self) -> str:
        log = self._folder / "home-assistant.log"
        return log.read_text() if log.exists() else (self._folder / "output").read_text()

    def complaints(self) -> list[str]:
        """Return what its log says of us."""
        return [line for line in self.log().splitlines() if "mqtt" in line.lower() or "roomtone" in line.lower()]


@pytest.mark.machine
def test_a_real_home_assistant_discovers_follows_and_switches_the_sensor(broker, tmp_path):
    if not (ROOT / ".venv-homeassistant" / "bin" / "hass").exists():
        pytest.fail("needs Home Assistant: `make test-homeassistant` installs it")
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

    def sense() -> subprocess.Popen:
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    with Home(tmp_path / "home", broker.port) as home, Subscriber(broker.port, "roomtone/attic/#") as watcher:
        described = json.loads(msgspec.json.encode(discovery(CONFIG.device, LABELS, "model-1", teachable=True)))
        sensor = sense()
        count = len(described["components"])
        entities = home.wait_for(lambda: len(found := home.states()) >= count and found)
        assert len(entities) == count
        emotion, switch, speech = "sensor.attic_emotion", "switch.attic_listening", "binary_sensor.attic_speech"

        # Every label that is published is followed; arousal and valence are unknown while nobody speaks.
        followed = set()
        affect = ("arousal", "valence")

        def in_step() -> bool:
            last, known = watcher.on("state")[-1].json, home.states()
            shown = [known[f"sensor.attic_{name}"]["state"] for name in affect]
            told = ["unknown" if last[name] is None else str(last[name]) for name in affect]
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
        home.call("button", "press", "button.attic_reset_settings")
        home.wait_for(lambda: shown() == AT_FIRST)
        assert (holds()["set"], holds()["calibration"]["state"]) == ([], "none")
        sensor.terminate()
        sensor.wait()

        removed = subprocess.run([*command[:5], "homeassistant", "--remove"], cwd=ROOT, capture_output=True, text=True)
        assert removed.returncode == 0, removed.stderr
        home.wait_for(lambda: not home.states())
        assert home.complaints() == []
    ACCEPTED.parent.mkdir(parents=True, exist_ok=True)
    ACCEPTED.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n")
