"""Two brokers by house.sh: what one shares makes the other, a sensor goes from one to the other, certificates anew."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from edge.config import Mqtt, Tls
from edge.delivery.brokers import places
from edge.delivery.link import Link
from tests.deploy.test_house_broker import SCRIPT, house_sh
from tests.support.broker import free_port
from tests.support.pair import HOSTS
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.system import require_program


class Pair:
    """A broker with a sensor `attic`, and the second one that it shares that with."""

    def __init__(self, folder: Path) -> None:
        require_program("mosquitto", "mosquitto")
        require_program("stunnel4", "stunnel4")
        self.port = free_port()
        self.folders = folder / "first" / "roomtone", folder / "second" / "roomtone"
        for each in self.folders:
            each.mkdir(parents=True)
        self.run(0, "setup", "--name", HOSTS[0])
        self.run(0, "sensor", "attic")
        self.share()

    def run(self, which: int, *arguments: str, status: int = 0, given: bytes = b"", **environment: str) -> str:
        """Run house.sh on one of both; return what it says."""
        ports = {"ROOMTONE_BROKER_PORT": str(self.port), "ROOMTONE_INNER_PORT": str(free_port())}
        done = subprocess.run(
            [SCRIPT, *arguments], input=given, capture_output=True, timeout=PATIENCE_S,
            env={**os.environ, "ROOMTONE_BROKER": str(self.folders[which]), **ports, **environment},
        )  # fmt: skip
        assert done.returncode == status, done.stderr.decode()
        return (done.stdout + done.stderr).decode(errors="replace")

    def shared(self) -> bytes:
        environment = {**os.environ, "ROOMTONE_BROKER": str(self.folders[0])}
        return subprocess.run([SCRIPT, "share", HOSTS[1]], env=environment, capture_output=True, check=True).stdout

    def share(self) -> None:
        self.run(1, "setup", "--standby-of", HOSTS[0], given=self.shared())

    @contextmanager
    def running(self, which: int) -> Iterator[None]:
        """Run one's mosquitto on its files, at its address."""
        text = (self.folders[which] / "mosquitto.conf").read_text()
        conf = self.folders[which].parent / "mosquitto.conf"
        listener = f"listener {self.port}"
        conf.write_text("user root\nlog_dest none\n" + text.replace(f"{listener}\n", f"{listener} {HOSTS[which]}\n"))
        process = subprocess.Popen([require_program("mosquitto", "mosquitto"), "-c", conf])
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def settings(self, name: str = "attic") -> Mqtt:
        given = self.folders[0] / "given" / name
        tls = Tls(ca_file=str(given / "ca.pem"), cert_file=str(given / "cert.pem"), key_file=str(given / "key.pem"))
        return Mqtt(host=HOSTS, port=self.port, username=name, password_file=str(given / "password"), tls=tls)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("pair"))


def comes_to(link: Link, host: str) -> None:
    wait_until(lambda: (link.condition().address or "").startswith(host), lambda: link.words)


def test_a_sensor_goes_over_and_back_with_one_account_and_certificate(made, monkeypatch):
    monkeypatch.setattr(places, "RETURN_AFTER_S", 0.25)
    with made.running(1), ExitStack() as first:
        first.enter_context(made.running(0))
        link = Link(made.settings(), "attic")
        link.start(first={"listening/set": lambda word, came: None})
        comes_to(link, HOSTS[0])
        first.close()
        comes_to(link, HOSTS[1])
        assert link.problem is None
        with made.running(0):
            comes_to(link, HOSTS[0])
            link.stop()


@pytest.mark.slow
def test_an_account_that_comes_or_goes_is_there_with_the_next_sharing(made):
    said = made.run(0, "sensor", "shed")
    assert f"host: [{HOSTS[0]}, {HOSTS[1]}]" in said
    assert "shed" not in made.run(1, "list")
    made.share()
    assert "sensor shed" in made.run(1, "list")
    made.run(0, "remove", "shed")
    made.share()
    assert "shed" not in made.run(1, "list")
    assert "user shed" not in (made.folders[1] / "acl").read_text()


def test_the_authoritys_key_stays_and_the_second_gives_no_accounts(made):
    there = {path.name for path in made.folders[1].iterdir()}
    assert "ca.key" not in there
    assert not any("ca.key" in name or "given" in name for name in there)
    for command in (["sensor", "cellar"], ["remove", "attic"], ["renew"], ["share", "c.lan"], ["setup"]):
        assert f"this is the second broker of {HOSTS[0]}" in made.run(1, *command, status=69)
    for name in ("server.key", "standby.key"):
        for folder in made.folders:
            assert not (folder / name).exists() or (folder / name).stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("given", [b"", b"not a tar"])
def test_what_was_not_shared_is_refused_and_changes_nothing(made, given):
    before = {path.name: path.read_bytes() for path in made.folders[1].iterdir() if path.is_file()}
    assert "standard input is not what `house.sh share` writes" in made.run(
        1, "setup", "--standby-of", HOSTS[0], given=given, status=66
    )
    assert "not of other.lan" in made.run(1, "setup", "--standby-of", "other.lan", given=made.shared(), status=2)
    made.run(0, "setup", "--standby-of", HOSTS[1], given=b"", status=69)  # it is one of its own
    assert {path.name: path.read_bytes() for path in made.folders[1].iterdir() if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize("step", ["shared", "taken", "acl"])
def test_cut_short_at_any_step_it_is_run_again(made, step):
    made.run(0, "sensor", f"cut-{step}")
    made.run(1, "setup", "--standby-of", HOSTS[0], given=made.shared(), status=-9, ROOMTONE_STOP_AT=step)
    made.share()
    assert f"sensor cut-{step}" in made.run(1, "list")
    assert not (made.folders[1] / ".shared").exists()
    with made.running(1):
        link = Link(made.settings(f"cut-{step}"), f"cut-{step}")
        link.start()
        comes_to(link, HOSTS[1])
        link.stop()


def ends(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificates_are_made_anew_with_the_names_and_keys_that_they_had(made):
    old = {name: ends(made.folders[0] / f"{name}.crt") for name in ("server", "standby")}
    said = made.run(0, "renew")
    assert f"house.sh share {HOSTS[1]}" in said
    for name, before in old.items():
        now = ends(made.folders[0] / f"{name}.crt")
        assert now.serial_number != before.serial_number
        assert now.public_key() == before.public_key()
        names = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for each in (now, before)]
        assert names[0] == names[1]
    made.share()
    assert ends(made.folders[1] / "server.crt").serial_number == ends(made.folders[0] / "standby.crt").serial_number


@pytest.mark.slow
def test_an_accounts_certificate_is_made_anew_and_its_password_stays(made, tmp_path):
    made.run(0, "sensor", "loft")
    made.share()
    given = made.folders[0] / "given" / "loft"
    word, before = (given / "password").read_text(), ends(given / "cert.pem")
    said = made.run(0, "renew", "loft")
    assert re.search(r"for loft, .*its password stays", said)
    assert sorted(path.name for path in given.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    now = ends(given / "cert.pem")
    assert (now.subject, now.public_key() == before.public_key()) == (before.subject, False)
    (given / "password").write_text(word)  # as it is on the sensor
    with made.running(0):
        link = Link(made.settings("loft"), "loft")
        link.start()
        comes_to(link, HOSTS[0])
        assert link.problem is None
        link.stop()
    assert "there is no nobody" in made.run(0, "renew", "nobody", status=69)
    assert house_sh(made.folders[0], "dashboard", "anna").returncode == 0
    assert "has a password and no certificate" in made.run(0, "renew", "anna", status=69)
