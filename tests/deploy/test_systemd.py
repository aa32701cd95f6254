"""The unit in a machine that really boots: installed from the bundle, then everything that may happen to it."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import Machine, base, bundle, require_root
from tests.support.broker import free_port

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]

PROBE = """
import json, os, socket
told = {}
def tell(name, action):
    try:
        told[name] = str(action() or "ok")
    except OSError as error:
        told[name] = error.__class__.__name__
def connect(address):
    socket.create_connection(address, 3).close()
tell("home", lambda: os.listdir("/home"))
tell("home file", lambda: open("/home/secret").read())
tell("credentials on disk", lambda: os.listdir("/etc/roomtone/credentials"))
tell("shadow", lambda: open("/etc/shadow").read(1))
for folder in ("/", "/etc", "/usr", "/opt/roomtone", "/var", "/var/lib", "/var/log", "/run", "/srv", "/etc/roomtone"):
    tell("write " + folder, lambda: open(folder + "/probe", "w"))
tell("write state", lambda: open(os.environ["STATE_DIRECTORY"] + "/probe", "w").write("1") and None)
tell("public", lambda: connect(PUBLIC))
tell("loopback", lambda: connect(("127.0.0.1", 1883)))
tell("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tell("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 1))
tell("root", lambda: os.setuid(0))
tell("mount", lambda: os.system("mount -t tmpfs none /tmp 2>/dev/null") and "refused")
told["others"] = [pid for pid in os.listdir("/proc") if pid.isdigit() and os.stat("/proc/" + pid).st_uid != os.getuid()]
print("PROBE " + json.dumps(told), flush=True)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with roomtone installed and its service running, on a broker of its own, without a microphone."""
    require_root()
    packed = bundle()
    with Machine(tmp_path_factory.mktemp("machine"), base()) as running:
        running.copy(packed, "/srv/bundle")
        running.put("/home/secret", "nobody's business", 0o644)
        running.put("/etc/roomtone/credentials/password", "a secret word\n", 0o600)
        running.run("ROOMTONE_PROBATION_S=3 /srv/bundle/deploy/install.sh")
        yield running


def main_pid(machine: Machine) -> int:
    return int(machine.show("MainPID"))


def restarted(machine: Machine, before: int) -> int:
    """Wait until the service is up again as another process."""
    return machine.wait_for(
        lambda: (pid := main_pid(machine)) not in (0, before) and machine.show("ActiveState") == "active" and pid,
        "the service is up again",
    )


def test_it_reports_ready_and_says_in_words_that_there_is_no_microphone(machine):
    assert machine.show("Type") == "notify"
    assert machine.show("ActiveState") == "active"
    words = machine.wait_for(lambda: machine.show("StatusText"), "status in words")
    assert "no such microphone" in words
    assert "broker 127.0.0.1:1883: connected" in words


def test_its_exposure_is_at_most_1_5_as_it_runs(machine):
    assert machine.run("systemd-analyze security --no-pager --threshold=15 roomtone", check=False).returncode == 0


def test_it_runs_as_a_user_of_its_own_without_privileges(machine):
    status = machine.run(f"cat /proc/{main_pid(machine)}/status").stdout
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(told["Uid"].split()[0]) not in (0, 65534)
    groups = {machine.run(f"getent group {group}").stdout.split(":")[0] for group in told["Groups"].split()}
    assert groups == {"audio", "roomtone"}
    assert {told[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")


def public_address() -> tuple[str, int]:
    """Return an address outside that answers: else a refusal would prove nothing."""
    sources = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True)
    host = urllib.parse.urlsplit(sources.stdout.split()[0]).hostname
    with socket.create_connection((host, 80), 5) as outside:
        return outside.getpeername()[:2]


def test_its_sandbox_holds(machine):
    """A probe runs where the sensor runs: same namespaces, filters, user and control group."""
    public = public_address()
    outside_of_it = f"import socket; socket.create_connection({public}, 5)"
    assert machine.run(f'python3 -c "{outside_of_it}"').returncode == 0  # another process of the machine gets through
    machine.put("/srv/probe.py", f"PUBLIC = {public}\n{PROBE}")
    with machine.drop_in("ExecStartPost=/usr/bin/python3 /srv/probe.py"):
        said = machine.wait_for(lambda: [line for line in machine.journal().splitlines() if line.startswith("PROBE ")],
                                "the probe's answer")  # fmt: skip
    told = json.loads(said[-1].removeprefix("PROBE "))
    print(told)
    assert told.pop("home") in ("PermissionError", "FileNotFoundError")
    assert told.pop("home file") in ("PermissionError", "FileNotFoundError")
    assert told.pop("shadow") == told.pop("credentials on disk") == "PermissionError"
    written = {name: answer for name, answer in told.items() if name.startswith("write ")}
    assert written.pop("write state") == "ok"
    assert {answer for answer in written.values()} <= {"OSError", "PermissionError"}, written
    assert told["public"] in ("TimeoutError", "PermissionError")
    assert told["loopback"] == "ok"
    assert told["raw socket"] == "PermissionError"
    assert told["packet socket"] == "OSError"
    assert told["root"] == "PermissionError"
    assert told["mount"] == "refused"
    assert told["others"] == []


def test_credentials_are_read_and_nobody_else_reads_them(machine):
    """A broker that wants the password, which only the credential holds."""
    port = free_port()
    machine.put("/srv/passwords", "vm:a secret word\n")
    machine.run("mosquitto_passwd -U /srv/passwords && chmod 644 /srv/passwords")
    machine.put("/srv/broker.conf",
                f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file /srv/passwords\n")  # fmt: skip
    machine.run("systemd-run -q --unit=broker /usr/sbin/mosquitto -c /srv/broker.conf")
    config = machine.run("cat /etc/roomtone/config.yaml").stdout
    machine.put("/etc/roomtone/config.yaml",
                f"edge: {{mqtt: {{host: 127.0.0.1, port: {port}, username: vm, password_file: password}}}}\n")
    try:
        machine.run("systemctl restart roomtone")
        machine.wait_for(lambda: f"broker 127.0.0.1:{port}: connected" in machine.show("StatusText"), "connected")
        machine.put("/etc/roomtone/credentials/password", "another word\n", 0o600)
        machine.run("systemctl restart roomtone")
        machine.wait_for(lambda: "refused: Not authorized" in machine.show("StatusText"), "refused with the reason")
        assert not [word for word in ("another word", "a secret word") if word in machine.journal()]
        credential = "/run/credentials/roomtone.service/mqtt_password"
        assert machine.run(f"test -f {credential} && ! runuser -u nobody -- cat {credential}")
        said = machine.run("runuser -u nobody -- roomtone check", check=False).stderr
        assert "edge.mqtt.password_file: password: cannot be read (Permission denied: try with sudo)" in said
    finally:
        machine.put("/etc/roomtone/config.yaml", config)
        machine.put("/etc/roomtone/credentials/password", "a secret word\n", 0o600)
        machine.run("systemctl restart roomtone; systemctl stop broker")


def test_kill_9_is_recovered_from_and_state_is_kept(machine):
    machine.run("echo kept >/var/lib/roomtone/kept")
    for _ in range(3):
        before = main_pid(machine)
        started_s = time.monotonic()
        os.kill(host_pid(machine, before), signal.SIGKILL)
        restarted(machine, before)
        print(f"up again after {time.monotonic() - started_s:.1f} s")
    assert machine.run("cat /var/lib/roomtone/kept; stat -c '%U %a' /var/lib/roomtone").stdout == "kept\nroomtone 700\n"
    assert int(machine.show("NRestarts")) >= 3


def test_a_sensor_that_hangs_is_killed_by_the_watchdog_and_restarted(machine):
    with machine.drop_in("WatchdogSec=6"):
        time.sleep(10)
        before = main_pid(machine)
        assert machine.show("NRestarts") == "0", "the watchdog bit a healthy sensor"
        os.kill(host_pid(machine, before), signal.SIGSTOP)
        restarted(machine, before)
        assert "Watchdog timeout" in machine.journal()


def test_twenty_crashes_in_a_row_do_not_exhaust_it(machine):
    with machine.drop_in("RestartSec=100ms"):
        for _ in range(20):
            before = main_pid(machine)
            os.kill(host_pid(machine, before), signal.SIGKILL)
            restarted(machine, before)
    assert machine.show("ActiveState") == "active"


def test_a_wrong_configuration_fails_for_people_to_see_and_is_mended_by_a_restart(machine):
    config = machine.run("cat /etc/roomtone/config.yaml").stdout
    machine.put("/etc/roomtone/config.yaml", "edge: {mqtt: {prot: 1}}\n")
    machine.run("systemctl restart roomtone", check=False)
    machine.wait_for(lambda: machine.show("ActiveState") == "failed", "failed")
    assert "roomtone: /etc/roomtone/config.yaml: edge.mqtt.prot: unknown key" in machine.journal()
    machine.put("/etc/roomtone/config.yaml", config)
    machine.run("systemctl restart roomtone")
    assert machine.show("ActiveState") == "active"


def host_pid(machine: Machine, pid: int) -> int:
    """Return the number under which we see a process of the machine."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue  # gone meanwhile
        numbers = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
        if len(numbers) > 1 and int(numbers[-1]) == pid and machine.owns(int(numbers[0])):
            return int(numbers[0])
    raise AssertionError(f"process {pid} is not there\n{subprocess.run(['ps', 'ax'], capture_output=True).stdout}")
