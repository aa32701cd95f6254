"""The house's broker, set up and given accounts by a house.sh that is killed at each of its steps, and run again.

What counts is what a real mosquitto then makes of the files: who is let in, and who is not.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.broker import free_port
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.system import require_program

SCRIPT = ROOT / "deploy" / "broker" / "house.sh"
ADDING = ["begun", "key", "certificate", "given", "password", "account", "acl", "reload", "end"]
REMOVING = ["begun", "password-gone", "account-gone", "acl", "reload", "end"]
RENEWING = ["key", "certificate"]
SETTING_UP = ["key", "authority", "certificate", "acl"]
STANDING_BY = ["shared", "taken"]  # of a second broker: tests/deploy/test_house_pair.py


@dataclass(frozen=True)
class House:
    folder: Path
    port: int

    def run(self, *arguments: str, stop_at: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ROOMTONE_BROKER": str(self.folder), "ROOMTONE_BROKER_PORT": str(self.port),
                       "ROOMTONE_INNER_PORT": str(free_port()), "ROOMTONE_STOP_AT": stop_at}  # fmt: skip
        done = subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
        if stop_at:
            assert done.returncode == -signal.SIGKILL, f"{stop_at}: {done.returncode} {done.stderr}"
        return done

    def copy(self, folder: Path) -> "House":
        """Return this house once more, as it is now: its files name their folder."""
        shutil.copytree(self.folder, folder / "roomtone")
        for name in ("mosquitto.conf", "stunnel.conf"):
            path = folder / "roomtone" / name
            path.write_text(path.read_text().replace(str(self.folder), str(folder / "roomtone")))
        return House(folder / "roomtone", self.port)

    @contextmanager
    def broker(self) -> Iterator[None]:
        """Run mosquitto on these files, as after the machine's start."""
        log = self.folder.parent / "log"
        (self.folder.parent / "mosquitto.conf").write_text(
            f"user root\nlog_dest file {log}\ninclude_dir {self.folder.parent}/conf.d\n"
        )
        (self.folder.parent / "conf.d").mkdir(exist_ok=True)
        shutil.copy(self.folder / "mosquitto.conf", self.folder.parent / "conf.d")
        program = require_program("mosquitto", "mosquitto")
        process = subprocess.Popen([program, "-c", self.folder.parent / "mosquitto.conf"])
        try:
            wait_until(lambda: process.poll() is not None or (log.exists() and " running" in log.read_text()))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
            log.unlink(missing_ok=True)

    def lets_in(self, name: str, given: Path | None = None) -> bool:
        """Whether a sensor, with what it was given, publishes its state, by mosquitto's own client."""
        given = given or self.folder / "given" / name
        done = subprocess.run(
            [require_program("mosquitto_pub", "mosquitto-clients"), "-h", "localhost", "-p", str(self.port), "-V", "5",
             "-q", "1", "--cafile", given / "ca.pem", "--cert", given / "cert.pem", "--key", given / "key.pem",
             "-u", name, "-P", (given / "password").read_text().strip(), "-t", f"roomtone/{name}/state", "-m", "{}"],
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.returncode == 0 and not done.stderr

    @property
    def names(self) -> list[str]:
        return [line.split()[1] for line in self.run("list").stdout.splitlines()]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with a sensor `attic`."""
    require_program("openssl", "openssl")
    house = House(tmp_path_factory.mktemp("house") / "roomtone", free_port())
    for command in ("setup", "sensor attic"):
        done = house.run(*command.split())
        assert done.returncode == 0, done.stderr
    return house


@pytest.fixture
def house(settled: House, tmp_path: Path) -> House:
    return settled.copy(tmp_path)


def test_the_steps_are_those_that_it_names():
    named = re.findall(r"^ +at (.*)$", SCRIPT.read_text(), re.M)
    assert set(named) == {*ADDING, *REMOVING, *SETTING_UP, *STANDING_BY}


@pytest.mark.parametrize("step", ADDING)
def test_adding_a_sensor_run_again(house, step):
    house.run("sensor", "shed", stop_at=step)
    with house.broker():
        assert house.lets_in("attic")  # whatever else happened
    done = house.run("sensor", "shed")
    if step == "end":  # it is there, and only what to do with it was not said any more
        assert (done.returncode, done.stderr) == (69, "house.sh: shed exists already: house.sh remove shed\n")
    else:
        assert done.returncode == 0, done.stderr
        assert "password_file" in done.stdout
    assert house.names == ["attic", "shed"]
    passwords = (house.folder / "sensors.passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in passwords] == ["attic", "shed"]
    assert not (house.folder / ".unfinished").exists()
    with house.broker():
        assert house.lets_in("shed")


@pytest.mark.parametrize("step", ADDING[:-1])
def test_an_account_that_was_being_added_is_nobodys_after_any_other_command(house, step):
    house.run("sensor", "shed", stop_at=step)
    assert "shed was cut short" in house.run("list").stderr
    done = house.run("dashboard", "anna")
    assert (done.returncode, "shed was being added or removed" in done.stderr) == (0, True)
    assert house.names == ["attic", "anna"]
    assert {path.name for path in (house.folder / "given").iterdir()} == {"attic"}
    for file in ("sensors.passwords", "acl"):
        assert "shed" not in (house.folder / file).read_text()
    with house.broker():
        assert house.lets_in("attic")


@pytest.mark.parametrize("step", REMOVING)
def test_removing_a_sensor_run_again(house, step):
    assert house.run("sensor", "shed").returncode == 0
    kept = shutil.copytree(house.folder / "given" / "shed", house.folder.parent / "kept")
    house.run("remove", "shed", stop_at=step)
    with house.broker():
        assert house.lets_in("shed", kept) == (step == "begun")  # from the first step on, the machine's start ends it
        assert house.lets_in("attic")
    done = house.run("remove", "shed")
    assert done.returncode == (69 if step == "end" else 0)
    assert house.names == ["attic"]
    with house.broker():
        assert not house.lets_in("shed", kept)
        assert house.lets_in("attic")
    assert not (house.folder / "given" / "shed").exists()


@pytest.mark.parametrize("step", SETTING_UP)
def test_setting_up_run_again(tmp_path, step):
    house = House(tmp_path / "roomtone", free_port())
    house.run("setup", stop_at=step)
    assert house.run("sensor", "attic").returncode == 69  # there is no broker yet
    for command in ("setup", "sensor attic"):
        done = house.run(*command.split())
        assert done.returncode == 0, done.stderr
    with house.broker():
        assert house.lets_in("attic")


@pytest.mark.parametrize("step", ["certificate", "acl"])
def test_a_house_that_is_set_up_anew_starts_wherever_that_is_cut_short(house, step):
    house.run("setup", "--name", "broker.lan", stop_at=step)
    with house.broker():
        assert house.lets_in("attic")
    assert house.run("setup", "--name", "broker.lan").returncode == 0
    with house.broker():
        assert house.lets_in("attic")


def test_no_password_is_left_in_the_clear_outside_what_is_given(house):
    for step in ADDING:
        house.run("sensor", "shed", stop_at=step) if step != "end" else house.run("sensor", "shed")
    assert not list(house.folder.glob(".entry*"))


@pytest.mark.parametrize("step", RENEWING)
def test_renewing_a_sensor_s_certificate_run_again(house, step, tmp_path):
    """What the sensor has goes on to be good; what it is to have instead is made by the next run."""
    had = shutil.copytree(house.folder / "given" / "attic", tmp_path / "had")
    house.run("renew", "attic", stop_at=step)
    with house.broker():
        assert house.lets_in("attic", had)
    assert house.run("renew", "attic").returncode == 0
    given = house.folder / "given" / "attic"
    assert (given / "cert.pem").read_bytes() != (had / "cert.pem").read_bytes()
    shutil.copy(had / "password", given)
    with house.broker():
        assert house.lets_in("attic")
        assert house.lets_in("attic", had)


@pytest.mark.parametrize("step", ["certificate", "acl"])  # its key stays
def test_renewing_the_brokers_own_certificate_run_again(house, step):
    before = (house.folder / "server.crt").read_bytes()
    house.run("renew", stop_at=step)
    with house.broker():
        assert house.lets_in("attic")
    assert house.run("renew").returncode == 0
    assert (house.folder / "server.crt").read_bytes() != before
    with house.broker():
        assert house.lets_in("attic")
