"""The unit and the scripts as they stand in deploy/: what can be told without a machine to install them on."""

import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import load_edge
from edge.credentials import held, located
from edge.errors import ConfigError
from tests.support.broker import Broker, free_port
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import require_program

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "roomtone.service"
SCRIPTS = [*DEPLOY.glob("*.sh"), *(DEPLOY / "broker").glob("*.sh"), *(DEPLOY / "image").glob("*.sh"),
           *(DEPLOY / "sdcard").glob("*.sh"), *(DEPLOY / "homeassistant").rglob("*.sh")]  # fmt: skip


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([require_program("systemd-analyze", "systemd"), *arguments], capture_output=True, text=True)


def runnable(unit: Path, folder: Path) -> Path:
    """Copy a unit, with a program that exists: `verify` looks for it."""
    copy = folder / unit.name
    copy.write_text(re.sub("^ExecStart=[^ ]+", "ExecStart=/bin/true", unit.read_text(), flags=re.M))
    return copy


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    return runnable(UNIT, tmp_path)


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_systemd_finds_no_fault_in_a_unit(unit, tmp_path):
    done = systemd_analyze("verify", runnable(unit, tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("line", "says"), [("Restrat=always", "Restrat"), ("WatchdogSec=soon", "ignoring: soon")])
def test_and_it_would_find_one(unit, line, says):
    """`verify` passes with status 0 over keys it does not know: only its words tell, and here they do."""
    unit.write_text(unit.read_text().replace("[Service]", f"[Service]\n{line}"))
    assert says in systemd_analyze("verify", unit).stderr


def test_its_exposure_is_at_most_1_5(unit):
    done = systemd_analyze("security", "--offline=true", "--threshold=15", "--no-pager", unit)
    assert done.returncode == 0, done.stdout
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1]) <= 1.5
    open_wide = unit.with_name("open.service")
    open_wide.write_text("[Service]\nExecStart=/bin/true\n")
    assert systemd_analyze("security", "--offline=true", "--threshold=15", "--no-pager", open_wide).returncode != 0


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The unit of every room but the first, as the installer makes it."""
    made = f'units= home={ROOT}; . {DEPLOY}/rooms.sh; template_of deploy'
    path = tmp_path / "roomtone@.service"
    path.write_text(subprocess.run(["bash", "-c", made], check=True, capture_output=True, text=True).stdout)
    return path


def test_a_further_rooms_unit_is_the_firsts_but_for_what_is_its_own(template):
    pairs = zip(UNIT.read_text().splitlines(), template.read_text().splitlines(), strict=True)
    assert [theirs for ours, theirs in pairs if ours != theirs and not ours.startswith("#")] == [
        "Description=roomtone, %i: hears how a room feels, and lets no sound out",
        "ExecStart=/opt/roomtone/current/bin/roomtone --config /etc/roomtone/%i.yaml run",
        "User=roomtone-%i",
        "StateDirectory=roomtone-%i",
        "LoadCredential=mqtt:/etc/roomtone/%i.credentials",
    ]


def test_systemd_finds_no_fault_in_a_further_rooms_unit_and_it_is_no_more_exposed(template, tmp_path):
    (tmp_path / "run").mkdir()
    copy = runnable(template, tmp_path / "run")
    done = systemd_analyze("verify", copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = systemd_analyze("security", "--offline=true", "--threshold=15", "--no-pager", copy)
    assert done.returncode == 0, done.stdout


def test_a_missing_microphone_cannot_exhaust_its_restarts():
    lines = UNIT.read_text().splitlines()
    assert "StartLimitIntervalSec=0" in lines
    assert "Restart=always" in lines
    never = next(line for line in lines if line.startswith("RestartPreventExitStatus=")).partition("=")[2].split()
    assert "69" not in never  # a device or a service that is not there
    assert {"64", "78"} <= set(never)  # words or a configuration that no restart mends
    assert "65" not in never  # a model from which the sensor goes back at its next start


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_stop_at_the_first_error(script):
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0
    assert "set -euo pipefail" in script.read_text()
    assert script.stat().st_mode & 0o111


def test_shellcheck_finds_nothing():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed (a help for whoever changes the scripts, not needed to run them)")
    done = subprocess.run([program, "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_installed_configuration_is_the_sensors_part_of_config_yaml(tmp_path):
    """As install.sh cuts it out."""
    cut = subprocess.run(["sed", "-n", "/^edge:/,$p", ROOT / "config.yaml"], capture_output=True, text=True).stdout
    (tmp_path / "config.yaml").write_text(cut)
    assert list(yaml.safe_load(cut)) == ["edge"]
    assert load_edge(tmp_path / "config.yaml") == load_edge(ROOT / "config.yaml")


def test_the_version_follows_what_is_installed_and_nothing_else(tmp_path):
    for name in ("edge", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def version() -> str:
        done = subprocess.run([tmp_path / "deploy" / "install.sh", "--print-version"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    first = version()
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{8}", first)
    (tmp_path / "notes.txt").write_text("not installed")
    (tmp_path / "edge" / "__pycache__").mkdir()
    (tmp_path / "edge" / "__pycache__" / "run.pyc").write_text("made by Python")
    assert version() == first
    (tmp_path / "edge" / "hearing" / "gate.py").write_text("changed = True\n")
    assert version() != first


@pytest.mark.parametrize(
    "arguments",
    [["--uninstal"], ["install", "now"], ["--instance"], ["--rollback", "--uninstall"], ["--keep-data"],
     ["--rollback", "--instance", "kitchen"], ["--instance", "Kitchen"]],
)  # fmt: skip
def test_a_wrong_word_does_nothing(arguments):
    done = subprocess.run([DEPLOY / "install.sh", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: deploy/install.sh" in done.stderr or "expected a room's name" in done.stderr


def test_a_bare_name_is_a_credential_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert located("password") == "password"
    (tmp_path / "password").touch()  # as in /etc/roomtone/credentials, for whoever is root at a terminal
    assert located("password") == str(tmp_path / "password")
    (tmp_path / "mqtt_password").touch()  # as systemd hands it over
    assert located("password") == str(tmp_path / "mqtt_password")
    assert located("./password") == "./password"
    assert located("/etc/password") == "/etc/password"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert located("password") == "password"


def test_a_secret_that_is_nowhere_is_told_with_the_folder_it_belongs_into(tmp_path, monkeypatch):
    missing = f"edge.mqtt.password_file: {tmp_path}/camera: cannot be read (No such file or directory"
    for folder, said in ((None, missing + ")"), ("/secrets", missing + ", nor is it in /secrets)")):
        if folder is not None:
            monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
        with pytest.raises(ConfigError, match=re.escape(said)):
            held("edge.mqtt.password_file", str(tmp_path / "camera"))


def test_the_broker_of_one_s_own_that_is_described_serves_the_page_and_both_kinds_of_readers(tmp_path):
    """The lines in deploy/README.md, given to mosquitto as they stand but for the ports and the folder."""
    ports = {"1883": free_port(), "8080": free_port()}
    lines = (DEPLOY / "README.md").read_text().partition("/etc/mosquitto/conf.d/roomtone.conf")[2].split("```")[1]
    for was, port in ports.items():
        assert f"listener {was}\n" in lines
        lines = lines.replace(f"listener {was}\n", f"listener {port} 127.0.0.1\n")
    assert "/path/to/roomtone/edge/dashboard" in lines
    config = tmp_path / "roomtone.conf"
    config.write_text(f"user root\n{lines.replace('/path/to/roomtone', str(ROOT))}")
    broker = subprocess.Popen([require_program("mosquitto", "mosquitto"), "-c", str(config)])
    try:
        wait_until(lambda: all(listens(port) for port in ports.values()))
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['8080']}/", timeout=PATIENCE_S) as page:
            assert b"roomtone" in page.read().lower()
        reader = paho.Client(CallbackAPIVersion.VERSION2, transport="websockets", protocol=paho.MQTTv5)
        assert reader.connect("127.0.0.1", ports["8080"]) == 0
        reader.loop_start()
        wait_until(reader.is_connected)
        reader.loop_stop()
    finally:
        broker.kill()
        broker.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_accounts_that_are_described_are_enough_for_a_sensor_and_a_page_and_for_no_more(tmp_path):
    """The access list in deploy/README.md, given to mosquitto as it stands."""
    acl = (DEPLOY / "README.md").read_text().partition("`acl_file`")[2].split("```")[1]
    (tmp_path / "password").write_text("k")
    (tmp_path / "password").chmod(0o600)
    how = {"users": {"kitchen": "k", "page": "p", "other": "o"}, "acl": acl}
    mqtt = {"username": "kitchen", "password_file": str(tmp_path / "password")}
    edge = {"device": {"id": "kitchen"}}
    page = ["-u", "page", "-P", "p"]
    with (
        Broker(tmp_path / "broker", **how) as broker,
        Subscriber(broker.port, "roomtone/#", *page) as watcher,
        Daemon(tmp_path, broker.port, mqtt=mqtt, edge=edge) as daemon,
    ):
        watcher.wait_for(lambda w: w.on("event"))

        def ask(command: str, payload: str, *account: str) -> None:
            to = ["-p", str(broker.port), "-V", "5", "-q", "1", "-t", f"roomtone/kitchen/{command}", "-m", payload]
            subprocess.run([require_program("mosquitto_pub", "mosquitto-clients"), *to, *account], check=False)

        ask("settings/set", '{"sensitivity": 10}', "-u", "other", "-P", "o")
        ask("settings/set", '{"sensitivity": 20}', *page)
        watcher.wait_for(lambda w: w.on("settings")[-1].json["sensitivity"] == 20)
        ask("listening/set", "OFF", *page)
        watcher.wait_for(lambda w: w.on("listening")[-1].payload == "OFF")
        assert {message.json["sensitivity"] for message in watcher.on("settings")} == {50, 20}
        assert "may not" not in daemon.log
