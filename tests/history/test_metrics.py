"""Metrics: by names that Prometheus' own promtool finds nothing wrong with, of whatever is said; asked over HTTP."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commands.cli import main
from edge.history import sensors as sensors_module
from edge.history.metrics import FIGURES, Condition, Metrics
from edge.history.sensors import Sensors
from edge.voice.payloads import BrokerLink, Health, Microphone, Percentiles, State, rfc3339
from tests.history.test_recorder import Recording, recording
from tests.support.broker import HOST, Broker, free_port
from tests.support.patience import wait_until
from tests.support.rooms import Room
from tests.support.system import require_program

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed (roomtone[metrics])")
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

CERTAIN = Condition(True, True, 7, 2, {"broker": 1_900_000_000.0, "recorder": None})
ENDS = "2027-03-01T12:00:00.000Z"
NUMBERS = Percentiles(p50=0.7, p99=33.1, worst=50.0)


def health(**fields: object) -> Health:
    """A health in which every figure is told."""
    told = {
        "ts": rfc3339(time.time()), "version": "0.1.0", "uptime_s": 61.5, "cpu_ratio": 0.02, "rss_mb": 61.9,
        "temperature_c": 48.5, "realtime_factor": 0.05, "dropped_blocks": 3, "inference_ms": NUMBERS,
        "latency_ms": NUMBERS, "outbox_depth": 4, "reconnects": 2, "microphone": Microphone(state="ok"),
        "outbox_dropped": 5, "outbox_problem": "no space", "ignored_commands": 6,
        "broker": BrokerLink(problem="denied", last_problem="denied", last_problem_ts=ENDS, certificate_ends=ENDS,
                             own_certificate_ends=ENDS),
        "bandwidth_hz": 8_000, "room_utterances": 21, "loudest_minute_db": 31,
    }  # fmt: skip
    return Health(**{**told, **fields})


def state(microphone: str = "ok", model: str = "default-1", at_s: float | None = None) -> bytes:
    ts = rfc3339(time.time() if at_s is None else at_s)
    return msgspec.json.encode(State(
        ts=ts, emotion="happy", confidence=0.7, since=ts, scores={"happy": 0.7}, speech_ratio=0.5, snr_db=20.0,
        level_dbfs=-30.0, clipped_ratio=0.0, microphone=microphone, model=model, seq=1,
    ))  # fmt: skip


def hear(sensors: Sensors, device: str = "kitchen", *, retained: bool = False, **said: bytes) -> None:
    for kind, payload in said.items():
        sensors.hear(device, kind, payload, retained=retained)


def all_of(device: str, sensors: Sensors) -> None:
    hear(sensors, device, status=b"online", listening=b"ON", state=state(), health=msgspec.json.encode(health()))


def exposed(sensors: Sensors, accept: str = "application/openmetrics-text; version=1.0.0") -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics(sensors, lambda: CERTAIN))
    encode, _ = choose_encoder(accept)
    return encode(registry).decode()


Samples = dict[str, dict[tuple[str, ...], float]]


def samples(text: str) -> Samples:
    """Return values by name and by what labels say, as Prometheus' own client reads them, strictly."""
    found: Samples = {}
    for family in openmetrics(text):
        for each in family.samples:
            found.setdefault(each.name, {})[tuple(each.labels.values())] = each.value
    return found


def test_every_figure_of_health_is_a_metric():
    sensors = Sensors()
    all_of("kitchen", sensors)
    assert set(sensors.each()["kitchen"].figures) == set(FIGURES)
    told = samples(exposed(sensors))
    assert {figure.name for figure in FIGURES.values()} <= set(told)
    assert told["roomtone_uptime_seconds"] == {("kitchen",): 61.5}
    assert told["roomtone_resident_memory_bytes"] == {("kitchen",): 61_900_000}
    assert told["roomtone_inference_seconds"] == {("kitchen", "50"): 0.0007, ("kitchen", "99"): 0.0331,
                                                  ("kitchen", "100"): 0.05}  # fmt: skip
    assert told["roomtone_outbox_dropped_events_total"] == {("kitchen",): 5}
    assert told["roomtone_outbox_problem"] == told["roomtone_broker_problem"] == {("kitchen",): 1}
    assert told["roomtone_broker_certificate_expiry_timestamp_seconds"] == {("kitchen",): 1_803_902_400}
    assert told["roomtone_certificate_expiry_timestamp_seconds"] == {("kitchen",): 1_803_902_400}
    assert told["roomtone_recorder_certificate_expiry_timestamp_seconds"] == {("broker",): 1_900_000_000}


def test_nothing_of_what_was_heard_is_one():
    sensors = Sensors()
    all_of("kitchen", sensors)
    text = exposed(sensors)
    for word in ("happy", "speech_ratio", "level", "snr", "confidence", "arousal", "valence"):
        assert word not in text


def test_promtool_finds_nothing_wrong_with_their_names():
    promtool = require_program("promtool", "prometheus")
    sensors = Sensors()
    all_of("kitchen", sensors)
    checked = subprocess.run([promtool, "check", "metrics"], input=exposed(sensors, "text/plain"), text=True,
                             capture_output=True)  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_microphone_is_in_one_state_at_a_time():
    sensors = Sensors()
    for reason in ("starting", "ok", "ended"):
        hear(sensors, state=state(reason))
    assert samples(exposed(sensors))["roomtone_microphone_state"] == {
        ("kitchen", "ok"): 0, ("kitchen", "starting"): 0, ("kitchen", "ended"): 1,
    }  # fmt: skip
    hear(sensors, health=msgspec.json.encode(health(microphone=Microphone(state="ok"))))
    assert samples(exposed(sensors))["roomtone_microphone_state"][("kitchen", "ok")] == 1


def test_when_a_sensor_said_something_last_and_by_how_much_its_clock_is_off():
    sensors = Sensors()
    now_s = time.time()
    hear(sensors, retained=True, state=state(at_s=now_s - 500), status=b"online")
    [sensor] = sensors.each().values()
    assert sensor.last_s == pytest.approx(now_s - 500, abs=0.01)
    assert sensor.ahead_s is None  # it may have been said long ago
    hear(sensors, state=state(at_s=now_s + 3_600))
    [sensor] = sensors.each().values()
    assert sensor.last_s == pytest.approx(time.time(), abs=60)
    assert sensor.ahead_s == pytest.approx(3_600, abs=60)
    before = sensor.last_s
    hear(sensors, status=b"offline", listening=b"")  # the one is said by the broker, the other by whoever clears it
    assert sensors.each()["kitchen"].last_s == before
    hear(sensors, retained=True, state=state(at_s=now_s + 7_200))
    assert sensors.each()["kitchen"].last_s <= time.time()


def test_a_sensor_that_is_taken_off_the_broker_is_gone_and_what_comes_of_that_last_does_not_bring_it_back():
    sensors = Sensors()
    all_of("kitchen", sensors)
    all_of("attic", sensors)
    for kind in ("health", "status", "state", "listening", "state", "timeline"):
        hear(sensors, **{kind: b""})
    hear(sensors, timeline=b'{"schema":1}')
    assert list(sensors.each()) == ["attic"]
    assert "kitchen" not in exposed(sensors)


def test_one_that_was_taken_off_it_while_the_recorder_was_away_is_gone_too(monkeypatch):
    monkeypatch.setattr(sensors_module, "_GONE_S", 0.05)
    sensors = Sensors()
    all_of("kitchen", sensors)
    all_of("attic", sensors)
    sensors.connected()
    hear(sensors, "attic", retained=True, status=b"offline")
    assert len(sensors.each()) == 2
    wait_until(lambda: list(sensors.each()) == ["attic"])


def test_of_too_many_the_first_are_kept(monkeypatch):
    monkeypatch.setattr(sensors_module, "MOST_DEVICES", 2)
    sensors = Sensors()
    for device in ("attic", "cellar", "kitchen"):
        all_of(device, sensors)
    assert list(sensors.each()) == ["attic", "cellar"]
    assert samples(exposed(sensors))["roomtone_recorder_ignored_messages_total"] == {(): 4}


HOSTILE = [
    b"", b"{", b"null", b"\xff", b'{"x":' + b"[" * 5_000, b"online\n", b"[]", b"7",
    msgspec.json.encode(health()).replace(b"61.5", b"1" + b"0" * 400),
    msgspec.json.encode(health()).replace(b'"outbox_depth":4', b'"outbox_depth":1' + b"0" * 400),
    msgspec.json.encode(health(uptime_s=1e300)),
    msgspec.json.encode(health(ts="9999-99-99T99:99:99Z")),
    msgspec.json.encode(health(version='a"} 1\n# EOF\nup{x="\\' + "x" * 1_000)),
    msgspec.json.encode(health(version="\u2028\u202e\x00\x1b[2J")),
    msgspec.json.encode(health(microphone=Microphone(state='x",y="\n'))),
    state(microphone="a" * 40, model='b"\n# EOF\n'), state(model="\x00" * 500), state().replace(b"Z", b""),
]  # fmt: skip


@pytest.mark.parametrize("payload", HOSTILE)
def test_nothing_that_is_said_spoils_the_others_metrics(payload):
    sensors = Sensors()
    all_of("attic", sensors)
    for kind in ("status", "listening", "state", "health", "event", "timeline"):
        hear(sensors, "kitchen", **{kind: payload})
    text = exposed(sensors)
    told = samples(text)
    assert told["roomtone_online"][("attic",)] == 1
    assert told["roomtone_outbox_events"][("attic",)] == 4
    assert list(plain(exposed(sensors, "text/plain")))
    assert max(map(len, text.splitlines())) < 700
    assert not {device for device, *_ in told["roomtone_microphone_state"]} - {"attic", "kitchen"}


@given(st.binary() | st.builds(lambda text: msgspec.json.encode(health(version=text)), st.text()),
       st.sampled_from(["status", "listening", "state", "health"]))  # fmt: skip
def test_nor_does_anything_else(payload, kind):
    sensors = Sensors()
    hear(sensors, **{kind: payload})
    samples(exposed(sensors))


def test_one_microphone_has_only_so_many_states():
    sensors = Sensors()
    for number in range(100):
        hear(sensors, state=state(f"fault-{number}"))
    told = samples(exposed(sensors))["roomtone_microphone_state"]
    assert len(told) <= 17
    assert told[("kitchen", "other")] == 1


# --- asked over HTTP, of a recorder -----------------------------------------------------------------------------------


@dataclass
class Metered:
    """A recorder, and where its metrics are."""

    recorder: Recording
    place: str

    def ask(self, path: str = "/metrics") -> str:
        with urllib.request.urlopen(f"http://{self.place}{path}", timeout=60) as answer:
            return answer.read().decode()

    def told(self) -> Samples:
        request = urllib.request.Request(f"http://{self.place}/metrics",
                                         headers={"Accept": "application/openmetrics-text; version=1.0.0"})  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            return samples(answer.read().decode())


@contextmanager
def metered(tmp_path: Path, broker: Broker) -> Iterator[Metered]:
    place = f"{HOST}:{free_port()}"
    with recording(tmp_path, broker.port, str(tmp_path / "history.sqlite"), history={"metrics": place}) as recorder:
        yield Metered(recorder, place)


def test_a_recorder_tells_of_sensors_that_come_go_and_are_forgotten(tmp_path, broker):
    with metered(tmp_path, broker) as it:
        rooms = [Room.begin(name, broker.port, tmp_path) for name in ("attic", "kitchen")]
        for room in rooms:
            room.link.retain("status", b"online")
            room.link.retain("listening", b"ON")
            room.link.retain("health", health())
            room.change(time.time(), "happy", 0.7)
            room.state(time.time())
        names = {("attic",), ("kitchen",)}
        wait_until(lambda: set(it.told().get("roomtone_outbox_events", ())) == names, it.ask)
        wait_until(lambda: it.told()["roomtone_recorder_kept_events_total"] == {(): 2}, it.ask)
        wait_until(lambda: it.told()["roomtone_recorder_waiting_events"] == {(): 0}, it.ask)
        rooms[0].link.stop()
        wait_until(lambda: it.told()["roomtone_online"] == {("attic",): 0, ("kitchen",): 1}, it.ask)

        broker.kill()
        wait_until(lambda: it.told()["roomtone_recorder_connected"] == {(): 0}, it.ask)
        broker.start()
        wait_until(lambda: it.told()["roomtone_recorder_connected"] == {(): 1}, it.ask)

        config = tmp_path / "forget.yaml"
        config.write_text(f"edge: {{mqtt: {{host: {HOST}, port: {broker.port}}}}}")
        # By force: a broker that was killed may have kept an older word of it than its last.
        wait_until(lambda: main(["--config", str(config), "forget", "attic", "--force"]) == 0)
        wait_until(lambda: "attic" not in it.ask(), it.ask)
        assert "kitchen" in it.ask()
        rooms[1].link.stop()
        assert it.recorder.stop() == 0


def test_a_caller_who_says_nothing_holds_nobody_up(tmp_path, broker):
    with metered(tmp_path, broker) as it:
        host, port = it.place.split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(5)]
        silent[0].sendall(b"GET /metr")
        assert "roomtone_recorder_connected 1.0" in it.ask()
        many = [socket.create_connection((host, int(port))) for _ in range(30)]  # more than are let in
        for each in silent + many:
            each.close()
        wait_until(lambda: _answers(it))
        for path in ("/", "/metrics/x", "/../metrics"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                it.ask(path)
        assert "Traceback" not in it.recorder.log


def _answers(it: Metered) -> bool:
    try:
        return "roomtone_recorder_connected" in it.ask()
    except OSError:
        return False


def test_an_address_that_is_taken_is_said_and_nothing_is_begun(tmp_path, capsys):
    store = tmp_path / "history.sqlite"
    with closing(socket.create_server((HOST, 0))) as taken:
        place = f"{HOST}:{taken.getsockname()[1]}"
        assert main(["history", "record", "--store", str(store), "--metrics", place]) == 69
    said = capsys.readouterr().err
    assert said == (f"roomtone: metrics: cannot listen on {place} (Address already in use): name another address, or "
                    "end the program that has it\n")  # fmt: skip
    assert not store.exists()


@pytest.mark.parametrize("place", ["192.0.2.1:9464", "nobody.invalid:9464"])
def test_so_is_one_that_is_not_this_machine_s(place, tmp_path, capsys):
    assert main(["history", "record", "--store", str(tmp_path / "history.sqlite"), "--metrics", place]) == 69
    said = capsys.readouterr().err
    assert said.startswith(f"roomtone: metrics: cannot listen on {place} (")
    assert said.count("\n") == 1


@pytest.mark.parametrize("place", ["9464", ":9464", "localhost", "localhost:0", "localhost:65536", "::1:9464", "a b:1"])
def test_an_address_that_makes_no_sense_is_refused(place, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["history", "record", "--metrics", place])
    assert ended.value.code == 64
    assert "expected" in capsys.readouterr().err


def test_without_prometheus_client_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    store = str(tmp_path / "history.sqlite")
    assert main(["history", "record", "--store", store, "--metrics", f"{HOST}:9464"]) == 69
    assert "pip install prometheus-client` does it" in capsys.readouterr().err
