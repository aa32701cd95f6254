"""Alerts: by promtool, when each fires; and in a real house, fired by their causes and cleared by what mends them.

The house is minutes long: `make test-monitoring`.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from edge.commands.demo import RECORDING
from edge.history.metrics import FIGURES
from tests.history.test_metrics import all_of, exposed
from tests.history.test_recorder import Recording, fill, small_disk
from tests.support.artifacts import STEP
from tests.support.broker import HOST, Broker, free_port
from tests.support.certificates import Authority
from tests.support.clock import stepping_clock
from tests.support.daemon import Daemon
from tests.support.monitoring import EXAMPLES, RULES, Alertmanager, Prometheus, Webhook, named
from tests.support.patience import wait_until
from tests.support.system import require_program

SCENES = Path(__file__).with_name("alerts.test.yml")


def run(package: str, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([require_program(program, package), *arguments], capture_output=True, text=True)


def alerts() -> list[dict]:
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("prometheus", ("promtool", "check", "rules", RULES)),
        ("prometheus", ("promtool", "check", "config", EXAMPLES / "prometheus.yml")),
        ("prometheus", ("promtool", "test", "rules", SCENES)),
        ("prometheus-alertmanager", ("amtool", "check-config", EXAMPLES / "alertmanager.yml")),
    ],
    ids=lambda words: " ".join(map(str, words[:3])) if isinstance(words, tuple) else "",
)
def test_prometheus_own_tools_find_nothing_wrong(package, words):
    done = run(package, *words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mails_subject_says_what_happened(tmp_path):
    receivers = yaml.safe_load((EXAMPLES / "alertmanager.yml").read_text())["receivers"]
    told = [{"status": status, "labels": {}, "annotations": {"summary": f"{device} is offline"}}
            for device, status in (("kitchen", "firing"), ("attic", "resolved"))]  # fmt: skip
    (tmp_path / "told.json").write_text(json.dumps({"status": "firing", "alerts": told}))
    (tmp_path / "empty.tmpl").write_text("")
    for receiver in receivers:
        [mail] = receiver["email_configs"]
        words = ("template", "render", "--template.glob", tmp_path / "empty.tmpl", "--template.data",
                 tmp_path / "told.json", "--template.text", mail["headers"]["Subject"])  # fmt: skip
        done = run("prometheus-alertmanager", "amtool", *words)
        assert done.stdout.strip() == "kitchen is offline; over: attic is offline", done.stderr


def test_every_alert_is_seen_to_fire_and_not_to():
    scenes = yaml.safe_load(SCENES.read_text())["tests"]
    checks = [check for scene in scenes for check in scene.get("alert_rule_test", ())]
    for alert in alerts():
        assert {bool(check["exp_alerts"]) for check in checks if check["alertname"] == alert["alert"]} == {True, False}


def test_every_metric_that_an_alert_is_of_is_exposed():
    from edge.history.sensors import Sensors

    sensors = Sensors()
    all_of("kitchen", sensors)
    there = set(re.findall(r"^(roomtone_\w+)", exposed(sensors), re.MULTILINE)) | {f.name for f in FIGURES.values()}
    for alert in alerts():
        assert set(re.findall(r"roomtone_\w+", alert["expr"])) <= there, alert["alert"]


def test_the_door_sign_tells_of_every_alert():
    sign = (EXAMPLES / "README.md").read_text()
    for alert in alerts():
        assert f"`{alert['alert']}`" in sign, alert["alert"]


# --- a house ----------------------------------------------------------------------------------------------------------


class Sensor:
    """A real sensor, whose microphone is a program that plays the demo's recording for ever, while it is plugged in."""

    def __init__(self, folder: Path, broker: Broker, tls: dict, *, env: dict[str, str] | None = None) -> None:
        folder.mkdir()
        self.name, self._folder, self._broker, self._tls, self._env = folder.name, folder, broker, tls, env
        self._plug, self._pid = folder / "plugged", folder / "pid"
        self._plug.touch()
        self._daemon: Daemon | None = None

    def start(self, **edge: object) -> None:
        play = f"ffmpeg -nostdin -v error -re -stream_loop -1 -i {RECORDING} -f s16le -ar 16000 -ac 1 -"
        microphone = ["sh", "-c", f"test -e {self._plug} && echo $$ >{self._pid} && exec {play}"]
        settings = {"device": {"id": self.name}, "audio": {"command": microphone}, "health_interval_s": 1,
                    "state_interval_s": 1, **edge}  # fmt: skip
        self._daemon = Daemon(self._folder, self._broker.port, recording=None, mqtt={"tls": self._tls}, edge=settings,
                              env=self._env)  # fmt: skip
        self._daemon.__enter__()
        self._daemon.wait_until_ready()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._daemon is not None:
            self._daemon.process.send_signal(how)
            self._daemon.__exit__(None, None, None)
            self._daemon = None

    def send(self, what: signal.Signals) -> None:
        self._daemon.process.send_signal(what)

    def unplug(self) -> None:
        self._plug.unlink()
        os.kill(int(self._pid.read_text()), signal.SIGKILL)

    def plug_in(self) -> None:
        self._plug.touch()


@pytest.mark.slow
def test_each_alert_fires_when_its_cause_is_made_and_clears_when_it_is_mended(tmp_path):
    require_program("ffmpeg", "ffmpeg")
    offset, wrong_clock = stepping_clock(tmp_path)
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", days=300)
    own, own_key = authority.issue("own", days=300)
    tls = {"ca_file": str(authority.ca_file), "cert_file": str(own), "key_file": str(own_key)}
    place = f"{HOST}:{free_port()}"
    everything = "topic readwrite #\n"
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path / "broker", certificate=certificate, key=key, acl=everything))
        disk = stack.enter_context(small_disk(tmp_path / "disk", 4))
        recorder = Recording(tmp_path, broker.port, str(disk / "history.sqlite"), history={"metrics": place},
                             mqtt={"host": HOST, "port": broker.port, "tls": tls})  # fmt: skip
        recorder.start(first=True)
        stack.callback(lambda: recorder.kill())
        sensors = {name: Sensor(tmp_path / name, broker, tls, env=wrong_clock if name == "cellar" else None)
                   for name in ("attic", "cellar", "kitchen")}  # fmt: skip
        for sensor in sensors.values():
            stack.callback(sensor.end)
            sensor.start()
        webhook = stack.enter_context(Webhook())
        alertmanager = stack.enter_context(Alertmanager(tmp_path / "alertmanager", webhook.url))
        prometheus = stack.enter_context(Prometheus(tmp_path / "prometheus", place, alertmanager.address))

        hears = 'sum(roomtone_microphone_state{roomtone_microphone_state="ok"})'
        wait_until(lambda: prometheus.value(hears) == [3.0], lambda: prometheus.value("roomtone_microphone_state"))
        wait_until(lambda: not prometheus.alerts(), prometheus.alerts, every_s=0.5)  # nothing is wrong
        webhook.told.clear()
        figures: list[tuple[str, str, float, float, float, float]] = []

        def told(alert: tuple[str, str], status: str, since_s: float) -> bool:
            return any(named(each["labels"]) == alert and each["status"] == status and each["at"] > since_s
                       for each in list(webhook.told))  # fmt: skip

        def seen() -> str:
            return f"{prometheus.alerts()}; {[(named(a['labels']), a['status']) for a in webhook.told[-9:]]}"

        def plays(name: str, device: str, cause: Callable[[], object], mend: Callable[[], object]) -> None:
            alert = name, device
            began_s = time.time()
            cause()
            wait_until(lambda: prometheus.alerts().get(alert) == "firing", seen, every_s=0.2)
            fired_s = time.time()
            wait_until(lambda: told(alert, "firing", began_s), seen, every_s=0.2)
            delivered_s, mended_s = time.time(), time.time()
            mend()
            wait_until(lambda: alert not in prometheus.alerts(), seen, every_s=0.2)
            cleared_s = time.time()
            wait_until(lambda: told(alert, "resolved", mended_s), seen, every_s=0.2)
            figures.append((name, device, fired_s - began_s, delivered_s - began_s, cleared_s - mended_s,
                            time.time() - mended_s))  # fmt: skip
            wait_until(lambda: not prometheus.alerts(), seen, every_s=0.5)  # what came along is over, too

        attic, cellar, kitchen = sensors.values()
        plays("RoomtoneDeaf", "kitchen", kitchen.unplug, kitchen.plug_in)
        plays("RoomtoneOffline", "attic", attic.end, attic.start)
        plays("RoomtoneSilent", "cellar", lambda: cellar.send(signal.SIGSTOP), lambda: cellar.send(signal.SIGCONT))
        plays("RoomtoneClockOff", "cellar", lambda: offset.write_text("-3600"), lambda: offset.write_text("0"))

        def restart_with(model: Path | None) -> None:
            attic.end(signal.SIGTERM)
            attic.start(**({"model": str(model)} if model else {}))

        plays("RoomtoneModelDiffers", "attic", lambda: restart_with(STEP), lambda: restart_with(None))
        plays("RoomtoneOutboxGrowing", "kitchen",
              lambda: broker.allow(everything + "topic deny roomtone/kitchen/event\n"),
              lambda: broker.allow(everything))  # fmt: skip

        def renew(days: int) -> None:
            broker.kill()
            authority.issue("server", days=days)
            broker.start()

        plays("RoomtoneCertificateEnds", "broker", lambda: renew(20), lambda: renew(300))
        plays("RoomtoneBrokerGone", "", broker.kill, broker.start)
        plays("RoomtoneNothingKept", "", lambda: fill(disk), (disk / "filler").unlink)
        plays("RoomtoneRecorderGone", "", lambda: recorder.kill(), recorder.start)

        print(f"\n{'alert':<24}{'of':<9}{'fires':>8}{'told':>8}{'clears':>8}{'told':>8}   (s after cause and mending)")
        for name, device, *after_s in figures:
            print(f"{name:<24}{device:<9}" + "".join(f"{each:8.1f}" for each in after_s))
    assert "Traceback" not in recorder.log
