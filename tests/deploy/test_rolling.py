"""Five machines that really boot, upgraded one after the other by `make deploy` over ssh, while their sensors hear.

In this order. Each hears a recording at the pace of the clock; the broker is away all the while, and at the end it
comes back: no event of any of them is lost. On the first, a recorder runs that needs a part of roomtone that was added.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.model import signatures
from tests.deploy.machine import Machine, base, bundle, require_root, variant
from tests.deploy.test_deploy_several import table
from tests.deploy.test_instances import CAMERA, CONFIG, COUNT
from tests.support.broker import Broker, free_port
from tests.support.patience import MACHINE_PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.system import require_program

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]

NAMES = ["one", "two", "three", "four", "five"][: int(os.environ.get("ROOMTONE_FLEET", "5"))]
RECORDER = "roomtone-history"
CRASHES = "import os; os._exit(3)\n"
CRASHES_WHERE_ASKED = "import os; os.path.exists('/srv/broken') and os._exit(3)\n"
# Twice the time that the sound lasts.
TOO_SLOW = """
import time; import edge.daemon.sensor as sensor
quick = sensor.Sensor.process
sensor.Sensor.process = lambda self, item: (time.sleep(0.16), quick(self, item))[1]
"""


class Fleet:
    """The machines, and what is deployed to them."""

    def __init__(self, packed: Path, folder: Path) -> None:
        self.packed, self.folder = packed, folder
        self.keys = signatures.keygen(folder / "mine")
        self.first = (packed / "VERSION").read_text().strip()
        self.machines: dict[str, Machine] = {}
        self.broker = Broker(folder / "broker", extra="max_queued_messages 0")  # is away until the end
        self.broker_port, self.metrics_port = self.broker.port, free_port()

    def make(self, number: str, changes: dict[str, str], key: Path | None) -> Path:
        """Return the bundle of another version, packed, and signed where there is a key."""
        name, target = f"{number}+test", self.folder / f"{number}.tar"
        variant(self.packed, self.folder / name, number, changes, self.folder / f"source-{number}")
        subprocess.run(["tar", "-cf", target, "-C", self.folder, name], check=True)
        shutil.rmtree(self.folder / name)
        if key is not None:
            subprocess.run([ROOT / "deploy/sign.sh", target, key], check=True)
        return target

    def ship(self, number: str, changes: dict[str, str]) -> Path:
        return self.make(number, changes, self.keys[0])

    def deploy(self, bundle: Path, **words: str) -> subprocess.CompletedProcess[str]:
        began_s = time.monotonic()
        given = {"HOST": " ".join(NAMES), "BUNDLE": str(bundle), **words}
        done = subprocess.run(["make", "-s", "deploy", *(f"{name}={value}" for name, value in given.items())], cwd=ROOT,
                              env={**os.environ, "SSH": f"ssh -F {self.folder}/ssh.conf"}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)  # fmt: skip
        print(f"{bundle.name} {words}: {time.monotonic() - began_s:.0f} s\n{done.stdout}{done.stderr}")
        return done

    def events(self) -> dict[str, list[int]]:
        """Return the numbers of the events that wait, by machine, as a power cut would leave them."""
        count = "systemctl freeze roomtone; python3 /srv/count.py; systemctl thaw roomtone"
        return {name: json.loads(machine.run(count).stdout)[name] for name, machine in self.machines.items()}

    def some_events(self) -> dict[str, list[int]]:
        """Return those that wait, once there are some of every machine."""
        wait_until(lambda: all(self.events().values()), patience_s=MACHINE_PATIENCE_S, every_s=1.0)
        return self.events()

    def assert_run(self, *versions: str) -> None:
        """These run, in the order of the machines, and hear."""
        for (name, machine), version in zip(self.machines.items(), versions, strict=True):
            assert machine.run("readlink /opt/roomtone/current").stdout.strip() == version, name
            assert machine.show("ActiveState") == "active", name
            executable = machine.run(f"tr '\\0' ' ' </proc/{machine.show('MainPID')}/cmdline").stdout
            assert f"/opt/roomtone/{version}/bin/python" in executable, name
            assert "behind real time" not in machine.show("StatusText"), name
            assert machine.run("cat /opt/roomtone/.trial", check=False).stdout == "", name

    def assert_nothing_is_lost(self, before: dict[str, list[int]]) -> None:
        """All that waited then waits now, each once; what came since, soon, stands behind it."""
        wait_until(lambda: all(len(now) > len(before[name]) for name, now in self.events().items()),
                   patience_s=MACHINE_PATIENCE_S, every_s=1.0)  # fmt: skip
        for name, numbers in self.events().items():
            assert numbers[: len(before[name])] == before[name], name
            assert numbers == sorted(set(numbers)), name


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    require_root()
    packed = bundle()
    bare = base(include="systemd,systemd-sysv,dbus,openssh-server,sudo")
    made = Fleet(packed, tmp_path_factory.mktemp("versions"))
    key = made.folder / "key"
    subprocess.run([require_program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key],
                   check=True)  # fmt: skip
    began_s = time.monotonic()
    with Machine(tmp_path_factory.mktemp("first"), bare) as first:
        prepare(first, made)
    print(f"the first machine: {time.monotonic() - began_s:.0f} s")
    hosts = [f"Host *\n User pi\n HostName 127.0.0.1\n IdentityFile {key}\n StrictHostKeyChecking no\n LogLevel ERROR\n"
             f" UserKnownHostsFile {made.folder}/known\n"]  # fmt: skip
    with ExitStack() as stack:
        for number, name in enumerate(NAMES):
            machine = stack.enter_context(Machine(tmp_path_factory.mktemp(name), first.folder))
            made.machines[name] = machine
            port = free_port()
            begin(machine, name, number, made.broker_port, port)
            hosts.append(f"Host {name}\n Port {port}\n")
        # The first value that ssh finds counts.
        (made.folder / "ssh.conf").write_text("".join([*hosts[1:], hosts[0]]))
        for name in NAMES:
            ssh = ["ssh", "-F", made.folder / "ssh.conf", name, "true"]
            wait_until(lambda ssh=ssh: subprocess.run(ssh, capture_output=True).returncode == 0)
        print(f"{len(NAMES)} machines: {time.monotonic() - began_s:.0f} s")
        yield made


def prepare(machine: Machine, fleet: Fleet) -> None:
    """Install the first version, whose sensors trust our key."""
    machine.run("useradd --create-home --groups sudo pi; install -d -m 0700 -o pi -g pi /home/pi/.ssh")
    machine.put("/etc/sudoers.d/pi", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    machine.put("/home/pi/.ssh/authorized_keys", (fleet.folder / "key.pub").read_text())
    machine.run("chown pi /home/pi/.ssh/authorized_keys; systemctl disable ssh")
    machine.copy(fleet.packed, "/srv/first")
    machine.put("/opt/roomtone/camera.py", CAMERA)
    machine.put("/etc/roomtone/model.pub", fleet.keys[1].read_text())
    machine.run("ROOMTONE_PROBATION_S=3 /srv/first/deploy/install.sh && systemctl stop roomtone && "
                "rm -rf /var/lib/roomtone/*")  # fmt: skip


def begin(machine: Machine, name: str, number: int, broker_port: int, port: int) -> None:
    """Have a machine's own sensor hear, and its sshd listen."""
    trusted = "  model_store: {trusted_keys: [/etc/roomtone/model.pub]}\n"
    text = CONFIG.format(room=name, second=8 * number, port=broker_port, more="")
    machine.put("/etc/roomtone/config.yaml", text + trusted)
    machine.put("/srv/count.py", COUNT.replace("FOLDERS", str({"roomtone": name})))
    # In an earlier life, its broker told it that it may listen.
    machine.put(f"/var/lib/roomtone/listening-{name}.json",
                '{"listening": "ON", "ts": "2026-01-31T12:00:00.000Z"}')  # fmt: skip
    machine.run("chown -R roomtone:roomtone /var/lib/roomtone; systemctl restart roomtone; mkdir -p /run/sshd; "
                f"systemd-run -q --unit=sshd2 /usr/sbin/sshd -D -p {port} -o ListenAddress=127.0.0.1")  # fmt: skip


def test_a_recorder_runs_on_the_first_with_a_part_that_was_added_from_the_bundle(fleet):
    machine = fleet.machines["one"]
    shutil.copy(ROOT / "deploy/roomtone-history.service", machine.folder / "etc/systemd/system")
    machine.put("/etc/roomtone/history.yaml", f"edge:\n  mqtt: {{host: 127.0.0.1, port: {fleet.broker_port}}}\n"
                                              f"  history: {{metrics: 127.0.0.1:{fleet.metrics_port}}}\n")  # fmt: skip
    machine.run("mkdir -p /etc/roomtone/history; systemctl daemon-reload; systemctl enable --now roomtone-history")
    machine.wait_for(lambda: "prometheus_client is not installed" in machine.journal(RECORDER), "it is missed")
    machine.run("/opt/roomtone/current/bin/pip install --no-index --find-links /srv/first/wheels prometheus-client")
    machine.run("systemctl restart roomtone-history")
    machine.wait_for(lambda: machine.show("ActiveState", RECORDER) == "active", "the recorder runs")
    assert_recorder_of(fleet, fleet.first)


def assert_recorder_of(fleet: Fleet, version: str) -> None:
    """It runs with that version, and tells its metrics."""
    machine = fleet.machines["one"]
    machine.wait_for(
        lambda: f"/opt/roomtone/{version}/bin/python" in machine.run(
            f"tr '\\0' ' ' </proc/{machine.show('MainPID', RECORDER)}/cmdline").stdout, "its program")  # fmt: skip
    told = machine.wait_for(
        lambda: machine.run("python3 -c 'import urllib.request as u; "
                            f'print(u.urlopen("http://127.0.0.1:{fleet.metrics_port}/metrics").read().decode())\'',
                            check=False).stdout, "its metrics")  # fmt: skip
    assert "roomtone_" in told


def test_all_are_upgraded_one_after_the_other_while_they_hear(fleet):
    before = fleet.some_events()
    done = fleet.deploy(fleet.ship("9.0.1", {}))
    assert done.returncode == 0
    assert table(done) == [[name, fleet.first, "9.0.1+test", "upgraded", "s"] for name in NAMES]
    assert done.stdout.count("signed by /etc/roomtone/model.pub") >= len(NAMES)
    fleet.assert_run(*["9.0.1+test"] * len(NAMES))
    assert_recorder_of(fleet, "9.0.1+test")
    fleet.assert_nothing_is_lost(before)


@pytest.mark.parametrize(
    ("number", "change", "says"), [("9.1.0", CRASHES, "exited"), ("9.1.1", TOO_SLOW, "s behind real time")],
    ids=["crashes", "too slow"],
)  # fmt: skip
def test_a_version_that_fails_stops_at_the_first_and_the_others_notice_nothing(fleet, number, change, says):
    before = fleet.events()
    pids = {name: machine.show("MainPID") for name, machine in fleet.machines.items()}
    done = fleet.deploy(fleet.ship(number, {"edge/daemon/run.py": change}))
    assert done.returncode != 0
    assert re.search(rf"still on 9\.0\.1\+test: {re.escape(number)}\+test did not report ready: .*{says}", done.stderr)
    assert table(done) == [["one", "9.0.1+test", "9.0.1+test", "went back", "s"],
                           *([name, "?", "?", "not tried", "-"] for name in NAMES[1:])]  # fmt: skip
    fleet.assert_run(*["9.0.1+test"] * len(NAMES))
    assert {name: machine.show("MainPID") for name, machine in fleet.machines.items() if name != "one"} == {
        name: pid for name, pid in pids.items() if name != "one"}  # fmt: skip
    assert_recorder_of(fleet, "9.0.1+test")
    fleet.assert_nothing_is_lost(before)


def test_what_nobody_or_another_signed_or_somebody_changed_is_refused_and_nothing_of_it_runs(fleet, tmp_path):
    before = fleet.events()
    pid = fleet.machines["one"].show("MainPID")
    unsigned = fleet.make("9.1.2", {}, None)
    others = shutil.copy(unsigned, unsigned.with_name("others.tar"))
    subprocess.run([ROOT / "deploy/sign.sh", others, signatures.keygen(tmp_path / "other")[0]], check=True)
    changed = shutil.copy(unsigned, unsigned.with_name("changed.tar"))
    subprocess.run([ROOT / "deploy/sign.sh", changed, fleet.keys[0]], check=True)
    install = tmp_path / "9.1.2+test/deploy/install.sh"
    install.parent.mkdir(parents=True)
    install.write_text("#!/bin/sh\ntouch /srv/ran\n")
    install.chmod(0o755)
    # Of two files of one name in an archive, the last one is unpacked.
    subprocess.run(["tar", "-rf", changed, "-C", tmp_path, "9.1.2+test/deploy/install.sh"], check=True)
    for packed, says in ((unsigned, "not signed, and /etc/roomtone/config.yaml has edge.model_store.trusted_keys"),
                         (others, "signed by none of the trusted keys (/etc/roomtone/model.pub)"),
                         (changed, "deploy/install.sh was changed since it was made")):  # fmt: skip
        done = fleet.deploy(packed)
        assert (done.returncode != 0, says in done.stderr) == (True, True)
        assert [row[3] for row in table(done)] == ["refused", *["not tried"] * (len(NAMES) - 1)]
    one = fleet.machines["one"]
    assert one.run("ls -d /srv/ran /tmp/roomtone-* /var/tmp/roomtone-*", check=False).stdout == ""
    assert one.show("MainPID") == pid
    fleet.assert_run(*["9.0.1+test"] * len(NAMES))
    fleet.assert_nothing_is_lost(before)


def test_it_goes_on_where_it_stopped_two_at_once(fleet):
    before = fleet.events()
    stops_at = NAMES[len(NAMES) // 2]
    shipped = fleet.ship("9.2.0", {"edge/daemon/run.py": CRASHES_WHERE_ASKED})
    fleet.machines[stops_at].put("/srv/broken", "")
    done = fleet.deploy(shipped)
    middle = len(NAMES) // 2
    results = [*["upgraded"] * middle, "went back", *["not tried"] * (len(NAMES) - middle - 1)]
    assert [row[3] for row in table(done)] == results
    fleet.assert_run(*["9.2.0+test" if result == "upgraded" else "9.0.1+test" for result in results])
    fleet.machines[stops_at].run("rm /srv/broken")
    done = fleet.deploy(shipped, AT_ONCE="2")
    assert done.returncode == 0
    results = [*["there already"] * middle, *["upgraded"] * (len(NAMES) - middle)]
    assert [row[3] for row in table(done)] == results
    fleet.assert_run(*["9.2.0+test"] * len(NAMES))
    assert_recorder_of(fleet, "9.2.0+test")
    fleet.assert_nothing_is_lost(before)


def test_every_event_of_every_machine_arrives_when_the_broker_is_back_and_each_once(fleet):
    heard: dict[str, list[int]] = {name: [] for name in NAMES}
    before = fleet.some_events()
    watcher = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    watcher.on_connect = lambda client, *_: client.subscribe("roomtone/+/event", qos=1)
    watcher.on_message = lambda _client, _data, message: heard[message.topic.split("/")[1]].append(
        json.loads(message.payload)["seq"])  # fmt: skip

    def watch() -> None:
        while True:  # before any sensor
            try:
                watcher.connect("127.0.0.1", fleet.broker_port)
                return watcher.loop_start()
            except OSError:
                time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    with fleet.broker:
        wait_until(lambda: all(len(heard[name]) >= len(before[name]) for name in NAMES), patience_s=MACHINE_PATIENCE_S)
        watcher.loop_stop()
    print({name: len(numbers) for name, numbers in heard.items()})
    for name, numbers in heard.items():
        assert numbers[: len(before[name])] == before[name], name
        assert numbers == sorted(set(numbers)), name
