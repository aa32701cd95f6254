"""What an upgrade keeps beside the sensors: the parts of roomtone that were added, a recorder that runs; and whom it
lets in. In a folder that stands for the machine, as test_install_cut_short.py makes it."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edge.model import signatures
from tests.deploy.test_install_cut_short import NEW, OLD, OLDEST, Computer
from tests.support.bundles import seal
from tests.support.sounds import ROOT

RECORDER = "roomtone-history"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Computer:
    """OLD runs, OLDEST ran before."""
    return Computer.upgraded(tmp_path_factory.mktemp("computers") / "installed")


@pytest.fixture
def computer(installed: Computer, tmp_path: Path) -> Computer:
    return installed.copy(tmp_path / "computer")


# --- parts that were added ------------------------------------------------------------------------------------------


def add(computer: Computer, *packages: str) -> None:
    """What `pip install` does in the environment that runs."""
    for package in packages:
        (computer.home / "current/lib/python3.11/site-packages" / f"{package}-1.dist-info").mkdir()


def packages(computer: Computer, version: str) -> set[str]:
    found = (computer.home / version / "lib/python3.11/site-packages").glob("*.dist-info")
    return {path.name.removesuffix("-1.dist-info") for path in found}


def bring(computer: Computer, version: str, *names: str) -> None:
    """Put wheels into a bundle."""
    for name in names:
        (computer.folder / version / "wheels" / f"{name}-1-py3-none-any.whl").touch()
    seal(computer.folder / version, None)


def test_the_installer_knows_every_part_that_a_sensor_or_a_recorder_can_have():
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    script = (ROOT / "deploy/install.sh").read_text()
    known = dict(pair.split(":") for pair in re.search(r"^extras=\((.*)\)$", script, re.M)[1].split())
    first = {name: re.match("[a-zA-Z0-9-]+", wanted[0])[0].replace("-", "_") for name, wanted in optional.items()}
    assert known == {name: package for name, package in first.items() if not name.startswith(("train", "dev"))}


def test_an_upgrade_from_a_bundle_keeps_what_was_added_and_adds_nothing_else(computer):
    add(computer, "psycopg", "prometheus_client", "somebodys")
    bring(computer, NEW, "psycopg", "prometheus_client", "pyarrow")
    done = computer.install(NEW)
    assert (done.returncode, "with [postgres,metrics] as before" in done.stdout) == (0, True), done.stderr
    assert packages(computer, NEW) == {"psycopg", "prometheus_client"}
    assert packages(computer, OLD) == {"psycopg", "prometheus_client", "somebodys"}
    computer.assert_settled(NEW, OLD)


def test_without_any_it_says_nothing_of_them(computer):
    assert "as before" not in computer.install(NEW).stdout
    assert packages(computer, NEW) == set()


def test_a_bundle_without_what_was_added_is_refused_before_anything_is_touched(computer):
    add(computer, "pyarrow", "psycopg")
    bring(computer, NEW, "psycopg", "prometheus_client")
    done = computer.install(NEW)
    assert (done.returncode, done.stderr) == (
        69, "roomtone: this bundle does not bring pyarrow, which is installed here: make one with "
            "`make bundle EXTRAS=parquet`\n")  # fmt: skip
    computer.assert_settled(OLD, OLDEST)


@pytest.mark.parametrize("step", ["environment", "ready", "on-trial", "second-1"])
def test_cut_short_and_run_again_they_are_there(computer, step):
    add(computer, "psycopg")
    bring(computer, NEW, "psycopg")
    computer.install(NEW, stop_at=step)
    assert computer.install(NEW).returncode == 0
    assert packages(computer, NEW) == {"psycopg"}


def test_a_version_that_ran_before_gets_what_was_added_since(computer):
    bring(computer, NEW, "psycopg")
    computer.install(NEW)
    computer.install(NEW, "--rollback")
    add(computer, "psycopg")  # to OLD, which runs again
    assert computer.install(NEW).returncode == 0
    assert packages(computer, NEW) == {"psycopg"}
    computer.assert_settled(NEW, OLD)


# --- the recorder of a history --------------------------------------------------------------------------------------


@pytest.fixture
def recording(computer: Computer) -> Computer:
    """A recorder runs beside the sensor."""
    shutil.copy(ROOT / "deploy/roomtone-history.service", computer.folder / "root/etc/systemd/system")
    computer.systemctl("daemon-reload")
    computer.systemctl("enable", "--quiet", RECORDER)
    computer.systemctl("restart", RECORDER)
    return computer


def recorder(computer: Computer) -> str:
    return (computer.state / f"running-{RECORDER}").read_text().partition(" with ")[0]


def test_an_upgrade_and_a_rollback_restart_the_recorder(recording):
    assert recorder(recording) == OLD
    done = recording.install(NEW)
    assert f"starting roomtone {RECORDER}: waiting until ready" in done.stdout
    assert (recording.running, recorder(recording)) == (NEW, NEW)
    assert recording.install(NEW, "--rollback").returncode == 0
    assert (recording.running, recorder(recording)) == (OLD, OLD)


@pytest.mark.parametrize("step", ["", "disabled", "units-gone", "links-gone"])
@pytest.mark.parametrize("keep", [(), ("--keep-data",)], ids=["all", "but data"])
def test_uninstalling_takes_the_recorder_along_but_not_what_it_kept(recording, keep, step):
    root = recording.folder / "root"
    store = root / "var/lib/private/roomtone-history/history.sqlite"
    store.parent.mkdir(parents=True)
    store.touch()
    (root / "var/lib/roomtone-history").symlink_to("private/roomtone-history")
    settings = root / "etc/roomtone/history.yaml"
    settings.touch()
    if step:
        recording.install(OLD, "--uninstall", *keep, stop_at=step)
    done = recording.install(OLD, "--uninstall", *keep)
    assert done.returncode == 0, done.stderr
    assert f"the history stays, in {root}/var/lib/roomtone-history, until: sudo rm -r " in done.stdout
    assert recording.enabled == set()
    assert not (recording.state / f"running-{RECORDER}").exists()
    assert not list((root / "etc/systemd/system").rglob("roomtone*"))
    assert (store.exists(), settings.exists()) == (True, bool(keep))


@pytest.mark.parametrize("step", ["", "on-trial", "restart", "second-1", "failed", "back-restart"])
def test_a_version_with_which_the_recorder_does_not_run_is_taken_back(recording, step):
    recording.crashes(NEW, RECORDER)
    if step:
        recording.install(NEW, stop_at=step)
    done = recording.install(NEW)
    assert done.returncode == 70
    assert f"still on {OLD}: {NEW} did not report ready: {RECORDER}: systemd calls it exit-code" in done.stderr
    assert (recording.running, recorder(recording), recording.link("previous")) == (OLD, OLD, OLDEST)
    assert not (recording.home / ".trial").exists()


def test_and_so_it_is_by_the_machines_start(recording):
    recording.crashes(NEW, RECORDER)
    recording.install(NEW, stop_at="enable")
    assert (recording.home / ".trial").read_text() == f"{NEW} {OLD} - install roomtone {RECORDER}\n"
    recording.restart()
    assert (recording.running, recorder(recording), recording.link("previous")) == (OLD, OLD, OLDEST)


def test_a_recorder_that_was_down_before_is_started_and_holds_no_upgrade_up(recording):
    (recording.state / f"running-{RECORDER}").write_text("failed\n")
    recording.crashes(NEW, RECORDER)
    assert recording.install(NEW).returncode == 0
    assert recording.running == NEW


def test_a_recorder_that_is_not_enabled_is_left_alone(recording):
    recording.systemctl("disable", "--now", "--quiet", RECORDER)
    assert RECORDER not in recording.install(NEW).stdout
    recording.assert_settled(NEW, OLD)


def test_another_room_does_not_restart_it(recording):
    recording.install(OLD)
    before = (recording.state / f"running-{RECORDER}").stat().st_mtime_ns
    done = recording.run(recording.home / "current/install.sh", "--instance", "kitchen")
    assert done.returncode == 0, done.stderr
    assert (recording.state / f"running-{RECORDER}").stat().st_mtime_ns == before


# --- real time ------------------------------------------------------------------------------------------------------


def test_a_version_that_does_not_keep_real_time_is_taken_back(computer):
    (computer.state / f"status-{NEW}").write_text("happy; broker 127.0.0.1:1883: connected; 7 s behind real time\n")
    (computer.state / f"status-{OLD}").write_text("happy; broker 127.0.0.1:1883: connected\n")
    done = computer.install(NEW)
    assert done.returncode == 70
    assert f"still on {OLD}: {NEW} did not report ready: it does not keep up: 7 s behind real time" in done.stderr
    computer.assert_settled(OLD, OLDEST)


# --- signatures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return signatures.keygen(tmp_path / "mine")


@pytest.fixture
def trusting(computer: Computer, keys: tuple[Path, Path]) -> Computer:
    return trusting_as(computer, OLD, keys[1])


def trusting_as(computer: Computer, version: str, key: Path) -> Computer:
    """Have an installed version verify, with the real code, and the first room trust a key."""
    site = computer.home / version / "lib/python3.11/site-packages/edge/updates"
    site.mkdir(parents=True)
    shutil.copy(ROOT / "edge/updates/bundle.py", site)
    python = computer.home / version / "bin/python"  # without -I, which would keep what is tested out
    python.write_text(f'#!/bin/sh\nshift\ncd {ROOT} && exec {sys.executable} -B "$@"\n')
    trust(computer, key)
    return computer


def trust(computer: Computer, *keys: Path, room: str = "config") -> None:
    text = f"edge: {{model_store: {{trusted_keys: {[str(key) for key in keys]}}}}}\n"
    (computer.folder / f"root/etc/roomtone/{room}.yaml").write_text(text)


def tar(computer: Computer, version: str) -> Path:
    packed = computer.folder / f"{version}.tar"
    subprocess.run(["tar", "-cf", packed, "-C", computer.folder, version], check=True)
    return packed


def install_tar(computer: Computer, version: str) -> subprocess.CompletedProcess[str]:
    return computer.run(computer.home / "current/install.sh", "--bundle", str(tar(computer, version)))


def tamper(computer: Computer) -> None:
    """Have the bundle's own installer say that it was run."""
    (computer.folder / NEW / "deploy/install.sh").write_text(f"#!/bin/bash\ntouch {computer.state}/tampered\n")


def test_a_bundle_of_a_trusted_key_is_installed_packed_or_unpacked(trusting, keys, tmp_path):
    seal(trusting.folder / NEW, keys[0])
    unpacked = trusting.copy(tmp_path / "unpacked")
    done = install_tar(trusting, NEW)
    assert (done.returncode, f"roomtone: {NEW}: signed by {keys[1]}\n" in done.stdout) == (0, True), done.stderr
    trusting.assert_settled(NEW, OLD)
    assert unpacked.install(NEW).returncode == 0
    unpacked.assert_settled(NEW, OLD)


@pytest.mark.parametrize("how", [install_tar, Computer.install], ids=["packed", "unpacked"])
def test_one_that_nobody_or_somebody_else_signed_is_refused_and_nothing_is_touched(trusting, tmp_path, how):
    seal(trusting.folder / NEW, None)
    done = how(trusting, NEW)
    assert done.returncode == 65
    assert f"roomtone: bundle {NEW}: not signed, and {trusting.folder}/root/etc/roomtone/config.yaml" in done.stderr
    seal(trusting.folder / NEW, signatures.keygen(tmp_path / "other")[0])
    done = how(trusting, NEW)
    assert (done.returncode, "signed by none of the trusted keys" in done.stderr) == (65, True)
    trusting.assert_settled(OLD, OLDEST)


@pytest.mark.parametrize("resealed", [False, True], ids=["changed", "changed and listed anew"])
def test_of_one_that_was_changed_nothing_runs_when_it_is_installed_packed(trusting, keys, resealed):
    seal(trusting.folder / NEW, keys[0])
    signature = (trusting.folder / NEW / "SHA256SUMS.sig").read_bytes()
    tamper(trusting)
    if resealed:
        seal(trusting.folder / NEW, None)
        (trusting.folder / NEW / "SHA256SUMS.sig").write_bytes(signature)
    done = install_tar(trusting, NEW)
    says = "signed by none of the trusted keys" if resealed else "deploy/install.sh was changed since it was made"
    assert (done.returncode, says in done.stderr) == (65, True), done.stderr
    assert not (trusting.state / "tampered").exists()
    trusting.assert_settled(OLD, OLDEST)


def test_every_room_is_asked_whom_it_trusts(trusting, keys, tmp_path):
    seal(trusting.folder / NEW, keys[0])
    trusting.run(trusting.home / "current/install.sh", "--instance", "kitchen")
    trust(trusting, signatures.keygen(tmp_path / "other")[1], room="kitchen")
    done = install_tar(trusting, NEW)
    assert (done.returncode, "kitchen.yaml: signed by none of the trusted keys" in done.stderr) == (65, True)


def test_where_no_key_is_trusted_one_that_nobody_signed_is_installed_but_not_a_changed_one(trusting):
    trust(trusting)
    seal(trusting.folder / NEW, None)
    tamper(trusting)
    assert install_tar(trusting, NEW).returncode == 65
    assert not (trusting.state / "tampered").exists()
    shutil.copy(ROOT / "deploy/install.sh", trusting.folder / NEW / "deploy")
    assert install_tar(trusting, NEW).returncode == 0
    trusting.assert_settled(NEW, OLD)


def test_a_version_that_cannot_verify_any_more_lets_nothing_in(trusting, keys):
    seal(trusting.folder / NEW, keys[0])
    (trusting.home / OLD / "bin/python").write_text("#!/bin/sh\nexit 127\n")  # as after an upgrade of Debian itself
    done = install_tar(trusting, NEW)
    assert (done.returncode, f"{OLD} cannot verify the bundle, for its Python is gone" in done.stderr) == (69, True)
    trusting.assert_settled(OLD, OLDEST)


@pytest.mark.parametrize(
    ("make", "status", "says"),
    [
        (lambda path: None, 66, "there is no such file"),
        (lambda path: path.write_text("sound"), 65, "no bundle, or half of one"),
        (lambda path: subprocess.run(["tar", "-cf", path, "-C", ROOT, "deploy/locks"], check=True), 65, "no bundle"),
    ],
    ids=["none", "no archive", "another archive"],
)
def test_what_is_no_bundle_is_said_so(computer, tmp_path, make, status, says):
    make(tmp_path / "bundle.tar")
    done = computer.run(computer.home / "current/install.sh", "--bundle", str(tmp_path / "bundle.tar"))
    assert (done.returncode, f"{tmp_path}/bundle.tar: {says}" in done.stderr) == (status, True), done.stderr
    computer.assert_settled(OLD, OLDEST)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        ("echo armhf", "this is a 32-bit system (armhf), and roomtone needs a 64-bit one: install Raspberry Pi OS"),
        ("echo armel", "this is a 32-bit system (armel), and "),
        ("echo riscv64", "roomtone is for amd64 and arm64, and this is riscv64"),
        ("exit 127", "there is no dpkg here: this installs on Debian"),
    ],
    ids=["armhf", "armel", "riscv64", "no Debian"],
)  # fmt: skip
@pytest.mark.parametrize("words", [(), ("--instance", "kitchen"), ("--bundle", ROOT / "README.md")])
def test_a_machine_for_which_there_is_nothing_is_refused_before_anything_is_touched(tmp_path, machine, says, words):
    computer = Computer.make(tmp_path / "computer")
    (computer.folder / "bin/dpkg").write_text(f"#!/bin/sh\n{machine}\n")
    before = sorted(computer.folder.rglob("*"))
    done = computer.install(NEW, *words)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"roomtone: {says}")
    assert done.stderr.count("\n") == 1
    assert sorted(computer.folder.rglob("*")) == before
