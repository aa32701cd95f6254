"""Installed, upgraded, upgraded badly, rolled back and uninstalled in a machine that really boots, in this order.

All the while 200 events wait in the outbox for a broker that is away; at the end, it comes back. That an upgrade is cut
short is tried on machines of their own, which are copies of one: `make test-install` runs them side by side, as they
mostly wait.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.model import signatures
from tests.deploy.machine import CACHE, SUITE, Machine, alone, base, bundle, require_root, variant
from tests.support.artifacts import DEFAULT, packed, parts
from tests.support.broker import free_port
from tests.support.bundles import seal

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]

EVENTS = 200
QUICK_S = 3  # a trial where many are made
SECONDS = [f"second-{second}" for second in range(1, QUICK_S + 1)]
PROVED = ["passed", "previous", "end", "forgetting"]
STEPS = ["on-trial", "switch", "unit", "daemon-reload", "enable", "restart", *SECONDS, *PROVED]
SEED = f"""
from pathlib import Path
from edge.voice.payloads import Event
from edge.delivery.store import Store
from edge.voice.sequence import uuid7
store = Store(Path("/var/lib/roomtone/outbox-hall.sqlite"), max_rows=50_000, max_bytes=20_000_000)
store.append([Event(event_id=uuid7(1.7e9 + n), event_type="happy", ts="2026-11-22T12:00:00Z", previous="quiet",
                    confidence=0.5, previous_duration_ms=80, seq=n + 1, model="m") for n in range({EVENTS})])
store.close()
"""
COUNT = """
import shutil, sqlite3
copy = shutil.copytree("/var/lib/roomtone", "/tmp/copy", dirs_exist_ok=True)
print(sqlite3.connect(copy + "/outbox-hall.sqlite").execute("select count(*) from event").fetchone()[0])
"""
CRASHES = "import os; os._exit(3)\n"
HANGS = "import time; time.sleep(100_000)\n"
HANGS_LATER = "import os, signal, threading; threading.Timer(8, os.kill, [os.getpid(), signal.SIGSTOP]).start()\n"
DIES_LATER = "import os, threading; threading.Timer(8, os._exit, [9]).start()\n"


class Shelf:
    """The machine, and the versions there are."""

    def __init__(self, machine: Machine, packed: Path, folder: Path, key: Path | None = None) -> None:
        self.machine, self._packed, self._folder, self._key = machine, packed, folder, key
        self.first = (packed / "VERSION").read_text().strip()
        self.broker_port = free_port()

    def ship(self, number: str, changes: dict[str, str]) -> None:
        target, scratch = self._folder / f"bundle-{number}", self._folder / f"source-{number}"
        made = variant(self._packed, target, number, changes, scratch, self._key)
        self.machine.copy(made, f"/srv/{number}")

    def install(
        self, name: str, *options: str, check: bool = True, quick: bool = False, stop_at: str = ""
    ) -> subprocess.CompletedProcess[str]:
        began_s = time.monotonic()
        environment = f"ROOMTONE_STOP_AT={stop_at} " + (f"ROOMTONE_PROBATION_S={QUICK_S}" if quick else "")
        command = f"{environment} /srv/{name}/deploy/install.sh {' '.join(options)}"
        done = self.machine.run(command, check=check)
        print(f"{name} {options}: {time.monotonic() - began_s:.0f} s: {done.stdout}{done.stderr}")
        return done

    def stopped_at(self, step: str) -> None:
        """Upgrade to 9.4.0, killed at a step."""
        done = self.install("9.4.0", check=False, quick=True, stop_at=step)
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), f"{done.stdout}{done.stderr}"

    def trial(self) -> str:
        """Return what is on trial, in the installer's words."""
        return self.machine.run("cat /opt/roomtone/.trial", check=False).stdout.strip()

    def assert_running(self, version: str, room: str = "roomtone") -> None:
        assert self.machine.run("readlink /opt/roomtone/current").stdout.strip() == version
        assert self.machine.show("ActiveState", room) == "active"
        executable = self.machine.run(f"tr '\\0' ' ' </proc/{self.machine.show('MainPID', room)}/cmdline").stdout
        assert f"/opt/roomtone/{version}/bin/python" in executable

    def waiting(self) -> int:
        """Return how many events wait, by SQLite's own reading of a copy of the file."""
        return int(self.machine.run("python3 /srv/count.py").stdout)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair of keys, for bundles and for models."""
    folder = tmp_path_factory.mktemp("keys")
    signatures.keygen(folder / "mine")
    return folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Shelf]:
    require_root()
    with Machine(tmp_path_factory.mktemp("machine"), base()) as machine:
        yield stocked(machine, tmp_path_factory.mktemp("versions"), keys)


def stocked(machine: Machine, folder: Path, keys: Path) -> Shelf:
    """Return the shelf of a bare machine, with a configuration and the first version, of which nothing is installed."""
    made = Shelf(machine, bundle(), folder, keys / "mine.key")
    machine.copy(bundle(), "/srv/first")
    seal(machine.folder / "srv/first", keys / "mine.key")
    machine.put("/etc/roomtone/model.pub", (keys / "mine.pub").read_text())
    machine.put(
        "/etc/roomtone/config.yaml",
        f"""
edge:
  device: {{id: hall, name: Hall}}
  mqtt: {{host: 127.0.0.1, port: {made.broker_port}}}
  model_store: {{trusted_keys: [/etc/roomtone/model.pub]}}
""",
    )
    machine.put("/srv/count.py", COUNT)
    return made


def seed(machine: Machine) -> None:
    """Put events of an earlier evening, that nobody took, into the outbox."""
    machine.put("/srv/seed.py", SEED)
    machine.run("systemctl stop roomtone; runuser -u roomtone -- /opt/roomtone/current/bin/python /srv/seed.py; "
                "systemctl start roomtone")  # fmt: skip


def test_it_installs_offline_and_again_without_effect(shelf):
    shelf.install("first")
    shelf.assert_running(shelf.first)
    seed(shelf.machine)
    before = shelf.machine.show("MainPID")
    assert "is installed and running already" in shelf.install("first").stdout
    assert shelf.machine.show("MainPID") == before
    assert shelf.waiting() == EVENTS


def test_an_upgrade_switches_and_keeps_configuration_and_events(shelf):
    config = shelf.machine.run("cat /etc/roomtone/config.yaml").stdout
    shelf.ship("9.0.1", {})
    shelf.install("9.0.1")
    shelf.assert_running("9.0.1+test")
    assert shelf.machine.run("roomtone --version").stdout == "roomtone 9.0.1\n"
    assert shelf.machine.run("cat /etc/roomtone/config.yaml").stdout == config
    assert shelf.machine.run("readlink /opt/roomtone/previous").stdout.strip() == shelf.first
    assert shelf.waiting() == EVENTS


@pytest.mark.parametrize(
    ("number", "change", "says"),
    [
        ("9.1.0", CRASHES, "exited"),
        ("9.2.0", HANGS, "timed out|timeout"),
        ("9.3.0", DIES_LATER, "exited"),
        ("9.3.1", HANGS_LATER, "it hangs: no sign of life|timed out|timeout"),  # on a busy machine, before READY
    ],
    ids=["crashes", "hangs", "crashes later", "hangs later"],
)
def test_a_version_that_crashes_or_hangs_is_taken_back(shelf, number, change, says):
    shelf.ship(number, {"edge/daemon/run.py": change})
    # The unit gives a start 90 s; a hang need not be waited for that long here.
    quicker = "/etc/systemd/system/roomtone.service.d/quicker.conf"
    shelf.machine.put(quicker, "[Service]\nTimeoutStartSec=45\n")
    done = shelf.install(number, check=False)
    shelf.machine.run(f"rm {quicker}; systemctl daemon-reload")
    assert done.returncode == 70
    assert f"still on 9.0.1+test: {number}+test did not report ready" in done.stderr
    assert re.search(says, done.stderr)
    shelf.assert_running("9.0.1+test")
    assert shelf.machine.run("ls /opt/roomtone").stdout.split() == sorted(
        [shelf.first, "9.0.1+test", "current", "previous"]
    )
    assert shelf.waiting() == EVENTS


def test_a_power_cut_in_the_trial_of_a_version_that_crashes_takes_it_back(shelf):
    shelf.install("9.1.0", check=False, stop_at="enable")
    assert shelf.trial() == "9.1.0+test 9.0.1+test - install roomtone"
    shelf.machine.power_cut()
    shelf.machine.wait_for(lambda: not shelf.trial(), "the trial's end")
    shelf.assert_running("9.0.1+test")
    assert shelf.machine.run("readlink /opt/roomtone/previous").stdout.strip() == shelf.first
    assert shelf.waiting() == EVENTS


def test_rollback_returns_to_the_version_before_and_back(shelf):
    shelf.ship("9.4.0", {})
    shelf.install("9.4.0")
    shelf.assert_running("9.4.0+test")
    shelf.install("9.4.0", "--rollback")
    shelf.assert_running("9.0.1+test")
    shelf.install("9.4.0", "--rollback")
    shelf.assert_running("9.4.0+test")
    assert shelf.waiting() == EVENTS


def test_a_damaged_bundle_is_refused_before_anything_is_touched(shelf):
    shelf.machine.run("cp -r /srv/9.4.0 /srv/damaged && echo x >>/srv/damaged/config.yaml")
    done = shelf.install("damaged", check=False)
    assert done.returncode == 65
    assert "the bundle is damaged or incomplete" in done.stderr
    shelf.assert_running("9.4.0+test")


def test_a_bundle_for_another_debian_is_refused_before_anything_is_touched(shelf, keys):
    shelf.machine.run("cp -r /srv/9.4.0 /srv/foreign && echo sarge >/srv/foreign/SUITE")
    seal(shelf.machine.folder / "srv/foreign", keys / "mine.key")
    done = shelf.install("foreign", check=False)
    assert done.returncode == 69
    assert f"this bundle is for sarge, and here is {SUITE}" in done.stderr
    shelf.assert_running("9.4.0+test")


def test_the_events_arrive_when_the_broker_is_back_late_and_each_once(shelf):
    machine = shelf.machine
    port = shelf.broker_port
    machine.put("/srv/broker.conf", f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    machine.run(f"""systemd-run -q --unit=watcher /opt/roomtone/current/bin/python -c '
import time, paho.mqtt.client as p
c = p.Client(p.CallbackAPIVersion.VERSION2, protocol=p.MQTTv5)
f = open("/srv/heard", "a")
c.on_connect = lambda c, *a: c.subscribe("roomtone/hall/event", qos=1)
c.on_message = lambda c, u, m: (f.write(m.payload.decode() + chr(10)), f.flush())
while True:
    try:
        c.connect("127.0.0.1", {port}); c.loop_forever(); break
    except OSError:
        time.sleep(0.01)
'""")
    machine.run("systemd-run -q --unit=broker /usr/sbin/mosquitto -c /srv/broker.conf")
    machine.wait_for(lambda: shelf_lines(machine) >= EVENTS, "all the events")
    time.sleep(2)
    machine.run("systemctl stop watcher")
    heard = [json.loads(line) for line in (machine.folder / "srv" / "heard").read_text().splitlines()]
    assert [event["seq"] for event in heard] == list(range(1, EVENTS + 1))
    assert all(event["late"] for event in heard)


def shelf_lines(machine: Machine) -> int:
    file = machine.folder / "srv" / "heard"
    return len(file.read_text().splitlines()) if file.exists() else 0


PRETENDER = """
import json, os, pathlib, signal, threading
try:
    record = json.loads(pathlib.Path("/var/lib/roomtone/models/models.json").read_text())
except OSError:
    record = dict()
command = pathlib.Path("/proc/self/cmdline").read_bytes().split(bytes(1))
if b"run" in command and (record.get("current") or dict()).get("model_id", "").startswith("NAME-"):
    threading.Timer(6, os.kill, [os.getpid(), signal.SIGNAL]).start()
"""


def model(shelf: Shelf, keys: Path, name: str, created: str) -> str:
    graph, manifest = parts(DEFAULT)
    manifest["provenance"]["created"] = created
    path = keys / f"{name}.tflite"
    path.write_bytes(packed(graph, {**manifest, "name": name}))
    signatures.sign(path, keys / "mine.key")
    (shelf.machine.folder / "srv" / path.name).write_bytes(path.read_bytes())
    return f"/srv/{path.name}"


def test_a_model_is_installed_and_passes_its_trial_while_the_service_runs(shelf, keys):
    done = shelf.machine.run(f"roomtone model install {model(shelf, keys, 'first', '2026-11-01T00:00:00Z')}")
    assert "passed its trial" in done.stdout
    assert "first-" in shelf.machine.run("roomtone check").stdout
    assert shelf.machine.show("NRestarts") == "0"


@pytest.mark.parametrize(("name", "signal"), [("crashing", "SIGKILL"), ("hanging", "SIGSTOP")])
def test_a_model_with_which_the_sensor_crashes_or_hangs_is_taken_back(shelf, keys, name, signal):
    """A verified model that nevertheless ends the process, or stops it: here something else does so in its name."""
    machine = shelf.machine
    path = model(shelf, keys, name, "2026-11-02T00:00:00Z")
    folder = machine.run("readlink -f /opt/roomtone/current/lib/python3*/site-packages").stdout.strip()
    machine.put(f"{folder}/pretender.py", PRETENDER.replace("NAME", name).replace("SIGNAL", signal))
    machine.put(f"{folder}/pretender.pth", "import pretender\n")
    with machine.drop_in("WatchdogSec=8"):
        done = machine.run(f"roomtone model install {path}", check=False)
    machine.run(f"rm {folder}/pretender.*")
    assert done.returncode == 65
    assert "did not stay up for 20 s in 2 starts; the sensor went back to first-" in done.stderr
    assert machine.show("ActiveState") == "active"
    assert "first-" in machine.run("roomtone check").stdout


def test_it_is_uninstalled_but_for_its_data_and_comes_back(shelf):
    shelf.install("9.4.0", "--uninstall", "--keep-data")
    assert shelf.machine.run("ls /etc/roomtone/config.yaml /var/lib/roomtone/models/models.json").returncode == 0
    shelf.install("9.4.0")
    shelf.assert_running("9.4.0+test")
    assert "first-" in shelf.machine.run("roomtone check").stdout


def test_it_is_uninstalled_and_nothing_is_left(shelf):
    shelf.install("9.4.0", "--uninstall")
    left = shelf.machine.run(
        "find / -xdev \\( -path /srv -o -path /proc -o -path /sys -o -path /var/log -o -path /tmp \\) -prune "
        "-o -name '*roomtone*' -print; getent passwd roomtone; getent group roomtone; "
        "systemctl list-unit-files --no-legend 'roomtone*'; grep -al '[/]opt/roomtone/' /proc/[0-9]*/cmdline || true"
    ).stdout
    assert left == ""


class Upgradable(Shelf):
    """A copy of the machine on which 9.0.1 runs, the first version ran before, and 9.4.0 is there but for its trial."""

    def again(self) -> None:
        """Put it back to where it was."""
        self.machine.run(
            "systemctl stop roomtone; rm -rf /opt/roomtone; cp -al /srv/roomtone /opt/; "
            "cp /srv/roomtone.service /etc/systemd/system/; systemctl daemon-reload; systemctl start roomtone"
        )


@pytest.fixture(scope="module")
def upgradable(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Upgradable]:
    require_root()
    folder = tmp_path_factory.mktemp("upgradable")
    with Machine(folder, upgraded(tmp_path_factory.mktemp("versions"), keys)) as machine:
        yield Upgradable(machine, bundle(), folder)
    shutil.rmtree(folder)  # as large as a machine


def upgraded(versions: Path, keys: Path) -> Path:
    """Return the folder of the machine to copy: made once for a bundle, and kept, as that is."""
    packed = bundle()
    folder = CACHE / f"upgraded-{packed.name}"
    with alone("upgraded"):
        if not folder.exists():
            for old in CACHE.glob("upgraded-*"):
                shutil.rmtree(old)
            making = CACHE / f"making-upgraded-{os.getpid()}"
            making.mkdir()
            with Machine(making, base()) as machine:
                made = stocked(machine, versions, keys)
                made.install("first", quick=True)
                seed(machine)
                for number in ("9.0.1", "9.4.0"):
                    made.ship(number, {})
                made.install("9.0.1", quick=True)
                made.stopped_at("boot")
                made.assert_running("9.0.1+test")
                machine.run("cp -a /opt/roomtone /etc/systemd/system/roomtone.service /srv/")
                # The machine's own start gives it 20 s otherwise.
                machine.put("/etc/systemd/system/roomtone-trial.service.d/quick.conf",
                            f"[Service]\nEnvironment=ROOMTONE_PROBATION_S={QUICK_S}\n")  # fmt: skip
            os.rename(making, folder)
    return folder


class CutShort:
    """Never two versions back, never an unproved one for a proved one, and no event lost."""

    def go_on(self, machine: Upgradable) -> None:
        """What comes after the cut."""
        raise NotImplementedError

    def left(self, step: str, first: str) -> tuple[str, str]:
        """Return which version runs then, and which one ran before."""
        return "9.4.0+test", "9.0.1+test"

    @pytest.mark.parametrize("step", STEPS)
    def test_the_installer_cut_short_at_every_step(self, upgradable, step):
        upgradable.again()
        upgradable.stopped_at(step)
        self.go_on(upgradable)
        now, before = self.left(step, upgradable.first)
        print(f"| {step} | {type(self).__name__} | {now} | {before} |")
        upgradable.assert_running(now)
        assert upgradable.machine.run("readlink /opt/roomtone/previous").stdout.strip() == before
        assert upgradable.trial() == ""
        assert upgradable.waiting() == EVENTS


class TestThenRunAgain(CutShort):
    def go_on(self, machine: Upgradable) -> None:
        machine.install("9.4.0", quick=True)


class TestThenAPowerCut(CutShort):
    def go_on(self, machine: Upgradable) -> None:
        machine.machine.power_cut()
        machine.machine.wait_for(lambda: not machine.trial(), "the trial's end")


class TestThenRolledBack(CutShort):
    def go_on(self, machine: Upgradable) -> None:
        machine.install("9.4.0", "--rollback", quick=True)

    def left(self, step: str, first: str) -> tuple[str, str]:
        return ("9.0.1+test", "9.4.0+test") if step in PROVED else ("9.0.1+test", first)
