"""`make deploy HOST=...` as the README tells a new owner: over ssh, to a bare Debian, packages from the internet."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import Machine, base, require_root, source
from tests.support.broker import free_port
from tests.support.sounds import ROOT
from tests.support.system import require_program

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    require_root()
    bare = base(include="systemd,systemd-sysv,dbus,openssh-server,sudo")
    with Machine(tmp_path_factory.mktemp("machine"), bare) as running:
        running.run("useradd --create-home --groups sudo pi; install -d -m 0700 -o pi -g pi /home/pi/.ssh")
        running.put("/etc/sudoers.d/pi", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        running.run("hostname Living-Room.lan; echo 127.0.0.1 localhost Living-Room.lan >/etc/hosts")
        trust_our_packages(running)
        yield running


def test_one_command_from_the_workstation_and_the_sensor_runs(machine, tmp_path):
    subprocess.run([require_program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f",
                    tmp_path / "key"], check=True)  # fmt: skip
    machine.put("/home/pi/.ssh/authorized_keys", (tmp_path / "key.pub").read_text())
    machine.run("chown pi /home/pi/.ssh/authorized_keys; mkdir -p /run/sshd")
    port = free_port()
    machine.run(f"systemd-run -q --unit=sshd2 /usr/sbin/sshd -D -p {port} -o ListenAddress=127.0.0.1")
    ssh = (f"ssh -p {port} -i {tmp_path}/key -o StrictHostKeyChecking=no -o LogLevel=ERROR "
           f"-o UserKnownHostsFile={tmp_path}/known")  # fmt: skip
    machine.wait_for(lambda: subprocess.run([*ssh.split(), "pi@127.0.0.1", "true"]).returncode == 0, "ssh")
    began_s = time.monotonic()
    done = subprocess.run(["make", "-s", "deploy", "HOST=pi@127.0.0.1"], cwd=ROOT, env={**os.environ, "SSH": ssh},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip
    print(f"{time.monotonic() - began_s:.0f} s\n{done.stdout}{done.stderr}")
    assert done.returncode == 0, machine.journal()
    assert "is running" in done.stdout
    assert machine.show("ActiveState") == "active"
    assert "id: living-room-lan" in machine.run("cat /etc/roomtone/config.yaml").stdout
    assert "golden replay passed" in machine.run("runuser -u pi -- roomtone check").stdout
    assert machine.run("ls -d /tmp/roomtone-*", check=False).stdout == ""


def test_a_broker_for_the_house_and_the_sensor_connects_as_it_is_told(machine, tmp_path):
    """house.sh on a machine that boots, then what it prints, done by hand."""
    ports = " ".join(f"ROOMTONE_{which}_PORT={free_port()}" for which in ("BROKER", "PAGE", "INNER"))
    machine.copy(source(tmp_path / "checkout"), "/srv/checkout")
    house = f"{ports} /srv/checkout/deploy/broker/house.sh"
    print(machine.run(f"{house} setup --name localhost").stdout)
    told = machine.run(f"{house} sensor living-room").stdout
    machine.run("tar -C /etc/mosquitto/roomtone/given/living-room -c ca.pem cert.pem key.pem password | "
                "tar -x -C /etc/roomtone/credentials")  # fmt: skip
    lines = [line for line in told.splitlines() if not line.startswith(("#", "sudo"))]
    machine.put("/etc/roomtone/config.yaml", "\n".join(lines) + "\n")
    machine.run("systemctl restart roomtone")
    machine.wait_for(lambda: re.search(r"broker localhost:\d+: connected", machine.show("StatusText")), "connected")
    page = machine.run(f"{house} dashboard anna").stdout
    assert re.search(r"^address   https://localhost:\d+/$", page, re.MULTILINE)
    assert machine.run("systemctl is-active mosquitto stunnel@roomtone").stdout == "active\nactive\n"
    machine.run(f"{house} remove living-room; systemctl restart roomtone")
    machine.wait_for(lambda: "refused: Not authorized" in machine.show("StatusText"), "refused once it is removed")


def test_it_is_uninstalled(machine):
    machine.run("/opt/roomtone/current/install.sh --uninstall")
    assert machine.run("roomtone check", check=False).returncode != 0


def trust_our_packages(machine: Machine) -> None:
    """Where this machine reaches its packages through an authority of its own, so must that one."""
    if certificates := os.environ.get("PIP_CERT"):
        target = machine.folder / "etc" / "ssl" / "ours.crt"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(certificates), target)
        machine.put("/etc/pip.conf", "[global]\ncert = /etc/ssl/ours.crt\n")
