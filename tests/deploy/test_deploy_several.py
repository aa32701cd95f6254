"""`make deploy` to several machines: in which order, where it stops, how it goes on, and what it says of each.

Each machine is a folder, as test_install_cut_short.py makes it, in which the real installer runs; a program stands in
for ssh.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.model import signatures
from tests.deploy.test_install_cut_short import NEW, OLD, PROBATION_S, Computer
from tests.deploy.test_install_kept import tar, trusting_as
from tests.support.bundles import seal
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT

HOSTS = ["pi@attic", "pi@bath", "pi@cellar"]
# What a shell there does, in the folder that stands for the machine. One that is `away` does not answer.
SSH = """#!/bin/bash
[ "$1" != -t ] || shift
host=${1#pi@}
[ ! -e "$FLEET/$host/away" ] || { echo "ssh: connect to host $host port 22: No route to host" >&2; exit 255; }
export ROOMTONE_ROOT=$FLEET/$host/root STATE=$FLEET/$host/state PATH=$FLEET/$host/bin:$PATH
echo "$host" >>"$FLEET/asked"
command=${2//"/opt/roomtone"/"$ROOMTONE_ROOT/opt/roomtone"}
exec bash -c "${command//"/etc/systemd"/"$ROOMTONE_ROOT/etc/systemd"}"
"""


@dataclass(frozen=True)
class Fleet:
    """Machines on which OLD runs, and what is deployed to them."""

    folder: Path

    def __getitem__(self, host: str) -> Computer:
        return Computer(self.folder / host.removeprefix("pi@"))

    @property
    def bundle(self) -> Path:
        return tar(self[HOSTS[0]], NEW)

    def deploy(self, *hosts: str, bundle: Path | None = None, **words: str) -> subprocess.CompletedProcess[str]:
        given = {"BUNDLE": str(bundle or self.bundle), **({"HOST": " ".join(hosts)} if hosts else {}), **words}
        environment = {**os.environ, "FLEET": str(self.folder), "SSH": str(self.folder / "ssh"),
                       "ROOMTONE_PROBATION_S": str(PROBATION_S)}  # fmt: skip
        return subprocess.run(["make", "-s", "deploy", *(f"{name}={value}" for name, value in given.items())], cwd=ROOT,
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE_S)  # fmt: skip

    def assert_run(self, *versions: str) -> None:
        assert tuple(self[host].running for host in HOSTS) == versions

    def asked(self) -> list[str]:
        """Return the machines that were spoken to, in the order of their first time."""
        return list(dict.fromkeys((self.folder / "asked").read_text().split()))


def table(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """Return the rows of the table at the end, without its head; seconds as `s`."""
    lines = done.stdout.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("host "))
    assert re.split(" {2,}", lines[head].strip()) == ["host", "version before", "version now", "result", "seconds"]
    rows = [re.split(" {2,}", line.strip()) for line in lines[head + 1 :]]
    return [[*row[:-1], "s" if row[-1].isdigit() else row[-1]] for row in rows]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Computer:
    computer = Computer.make(tmp_path_factory.mktemp("computers") / "installed")
    assert computer.install(OLD).returncode == 0
    (computer.folder / "bin/sudo").write_text('#!/bin/bash\nexec "$@"\n')
    (computer.folder / "bin/sudo").chmod(0o755)
    return computer


@pytest.fixture
def fleet(installed: Computer, tmp_path: Path) -> Fleet:
    for host in HOSTS:
        installed.copy(tmp_path / host.removeprefix("pi@"))
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    return Fleet(tmp_path)


@pytest.mark.parametrize("at_once", ["", "2"])
def test_all_are_upgraded_and_a_table_says_so(fleet, at_once):
    done = fleet.deploy(*HOSTS, **({"AT_ONCE": at_once} if at_once else {}))
    assert done.returncode == 0, done.stderr
    assert f"deploy: {NEW} to 3 machines, {at_once or 1} at once\n" in done.stdout
    assert table(done) == [[host, OLD, NEW, "upgraded", "s"] for host in HOSTS]
    fleet.assert_run(NEW, NEW, NEW)


def test_one_after_the_other_each_when_the_one_before_has_passed(fleet):
    done = fleet.deploy(*HOSTS)
    said = [line for line in done.stdout.splitlines() if re.match("deploy: pi@|roomtone: on trial|.* is running", line)]
    assert [line.split(" ")[1] for line in said] == [
        word for host in HOSTS for word in (host, "on", NEW)]  # fmt: skip
    assert fleet.asked() == ["attic", "bath", "cellar"]


def test_it_ends_at_the_first_that_goes_back_and_the_others_are_not_spoken_to(fleet):
    fleet["pi@bath"].crashes(NEW)
    done = fleet.deploy(*HOSTS)
    assert done.returncode == 2  # make's own
    assert f"still on {OLD}: {NEW} did not report ready" in done.stderr
    assert "deploy: stopped; call it again when that is mended" in done.stderr
    assert table(done) == [["pi@attic", OLD, NEW, "upgraded", "s"], ["pi@bath", OLD, OLD, "went back", "s"],
                           ["pi@cellar", "?", "?", "not tried", "-"]]  # fmt: skip
    fleet.assert_run(NEW, OLD, OLD)
    assert fleet.asked() == ["attic", "bath"]


def test_called_again_it_passes_over_what_runs_this_version_already(fleet):
    fleet["pi@bath"].crashes(NEW)
    fleet.deploy(*HOSTS)
    (fleet["pi@bath"].state / f"crashes-{NEW}").unlink()
    before = (fleet["pi@attic"].state / "running-roomtone").stat().st_mtime_ns
    done = fleet.deploy(*HOSTS)
    assert done.returncode == 0, done.stderr
    assert table(done) == [["pi@attic", NEW, NEW, "there already", "s"], ["pi@bath", OLD, NEW, "upgraded", "s"],
                           ["pi@cellar", OLD, NEW, "upgraded", "s"]]  # fmt: skip
    assert (fleet["pi@attic"].state / "running-roomtone").stat().st_mtime_ns == before


@pytest.mark.parametrize("state", ["on trial", "down"])
def test_what_was_cut_short_or_is_down_is_not_there_already(fleet, state):
    attic = fleet["pi@attic"]
    if state == "on trial":
        attic.install(NEW, stop_at="restart")
    else:
        attic.install(NEW)
        (attic.state / "running-roomtone").write_text("failed\n")
    done = fleet.deploy(*HOSTS[:2])
    assert done.returncode == 0, done.stderr
    assert table(done)[0] == ["pi@attic", f"{NEW}({state})", NEW, "upgraded", "s"]
    fleet.assert_run(NEW, NEW, OLD)


def test_two_at_once_stop_at_the_first_that_goes_back(fleet):
    for host in HOSTS[:2]:
        fleet[host].crashes(NEW)
    done = fleet.deploy(*HOSTS, AT_ONCE="2")
    assert done.returncode == 2
    assert [row[3] for row in table(done)] == ["went back", "went back", "not tried"]
    assert re.search(rf"^pi@bath: roomtone: .*{re.escape(NEW)}", done.stdout, re.M)  # who says what
    fleet.assert_run(OLD, OLD, OLD)


def test_a_machine_that_does_not_answer_is_named_and_ends_it(fleet):
    (fleet["pi@bath"].folder / "away").touch()
    done = fleet.deploy(*HOSTS)
    assert (done.returncode, "No route to host" in done.stderr) == (2, True)
    unknown = [["?", "?", "unreachable"], ["?", "?", "not tried"]]
    assert [row[1:4] for row in table(done)] == [[OLD, NEW, "upgraded"], *unknown]


def test_a_bundle_that_a_machine_does_not_trust_is_refused_there_and_nothing_of_it_runs(fleet, tmp_path):
    private, public = signatures.keygen(tmp_path / "mine")
    bath = trusting_as(fleet["pi@bath"], OLD, public)
    bundle = fleet["pi@attic"].folder / NEW
    signed = bundle / "SHA256SUMS.sig"
    for key, says in ((None, "not signed"), (signatures.keygen(tmp_path / "other")[0], "signed by none of the")):
        seal(bundle, key)
        done = fleet.deploy("pi@bath", "pi@cellar")
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
        assert [row[1:4] for row in table(done)] == [[OLD, OLD, "refused"], ["?", "?", "not tried"]]
    seal(bundle, private)
    mine = signed.read_bytes()
    (bundle / "deploy/install.sh").write_text(f"#!/bin/bash\ntouch {bath.state}/tampered\n")
    seal(bundle, None)
    signed.write_bytes(mine)
    assert fleet.deploy("pi@bath", "pi@cellar").returncode == 2
    assert not (bath.state / "tampered").exists()
    fleet.assert_run(OLD, OLD, OLD)


def test_hosts_can_stand_in_a_file_and_each_counts_once(fleet, tmp_path):
    (tmp_path / "hosts").write_text("# the house\npi@attic\n\n  pi@bath   # beside the stairs\npi@attic")
    done = fleet.deploy(HOSTS=str(tmp_path / "hosts"))
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in table(done)] == ["pi@attic", "pi@bath"]
    fleet.assert_run(NEW, NEW, OLD)


def test_a_single_machine_is_installed_as_ever_without_a_table(fleet):
    done = fleet.deploy("pi@bath")
    assert (done.returncode, "version before" in done.stdout) == (0, False), done.stderr
    assert f"roomtone: {NEW} is running (before: {OLD})" in done.stdout
    fleet.assert_run(OLD, NEW, OLD)


def test_nothing_is_left_on_the_way(fleet):
    def copies() -> set[Path]:
        return {*Path("/tmp").glob("roomtone-??????"), *Path("/var/tmp").glob("roomtone-??????")}

    before = copies()
    fleet.deploy(*HOSTS[:2])
    assert copies() <= before


def test_the_last_commit_is_told_by_the_version_that_its_installer_has(fleet, tmp_path):
    """Both have it already, so that nothing is installed here."""
    source = tmp_path / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    done = subprocess.run([source / "deploy/install.sh", "--print-version"], check=True, capture_output=True, text=True)
    version = done.stdout.strip()
    for host in HOSTS:
        (fleet[host].home / "current").unlink()
        (fleet[host].home / "current").symlink_to(version)
    done = fleet.deploy(*HOSTS, BUNDLE="")
    assert done.returncode == 0, done.stderr
    assert table(done) == [[host, version, version, "there already", "s"] for host in HOSTS]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "usage: deploy/rolling.sh"),
        (["pi@attic", "-oProxyCommand=true"], 2, "usage: deploy/rolling.sh"),
        (["--at-once", "none", "pi@attic", "pi@bath"], 2, "at once none: expected a number"),
        (["--hosts", "/nowhere", "pi@attic"], 66, "hosts /nowhere: there is no such file"),
        (["--bundle", "/nowhere", "pi@attic", "pi@bath"], 66, "bundle /nowhere: there is no such file"),
        (["--bundle", "README.md", "pi@attic", "pi@bath"], 65, "README.md: no bundle"),
    ],
)
def test_wrong_words_reach_no_machine(fleet, words, status, says):
    done = subprocess.run([ROOT / "deploy/rolling.sh", *words], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "FLEET": str(fleet.folder), "SSH": str(fleet.folder / "ssh")})  # fmt: skip
    assert (done.returncode, says in done.stderr, done.stdout) == (status, True, "")
    assert not (fleet.folder / "asked").exists()
