"""The installer cut short at every step that it names, and what then comes of it: run again, restarted, rolled back.

In a folder that stands for the machine (ROOMTONE_ROOT). Commands of the same names stand in for what is not there:
systemd (which version runs, with which unit), Debian's packages and accounts, pip, the seconds, and the disk. The whole
of it on a machine that really boots is test_install.py's.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT

SCRIPTS = [ROOT / "deploy" / name for name in ("install.sh", "rooms.sh", "trial.sh")]
OLDEST, OLD, NEW, NEWEST = "1.0.0+test", "2.0.0+test", "3.0.0+test", "4.0.0+test"
PROBATION_S = 2
TRIAL = [f"second-{second}" for second in range(1, PROBATION_S + 1)]
SWITCH = ["switch", "unit", "daemon-reload", "enable", "restart"]
PACKAGES = ["policy", "packages", "group", "configuration"]
BEFORE = ["environment", "ready", "boot"]  # nothing is on trial yet
UNPROVED = ["on-trial", *SWITCH, *TRIAL]
PROVED = ["passed", "previous", "end", "forgetting"]
STEPS = [*BEFORE, *UNPROVED, *PROVED]
TAKING_BACK = ["failed", *(f"back-{step}" for step in SWITCH), "back-end", "back-forgetting"]
UNINSTALLING = ["disabled", "units-gone", "room-gone", "data-gone", "links-gone"]

STAND_INS = {
    # What runs is `running-ROOM`, a version; it crashes where its folder says so, everywhere or in that room. A unit
    # counts from daemon-reload on. The restart of several goes on where one fails.
    "systemctl": """
        units=$ROOMTONE_ROOT/etc/systemd/system
        case "$*" in
          daemon-reload) rm -f "$STATE"/loaded-*
            for unit in "$units"/roomtone*.service; do
              cp "$unit" "$STATE/loaded-$(basename "$unit" .service)" || true
            done ;;
          "restart" | "enable --quiet") exit 1 ;;
          "restart "*)
            version=$(readlink "$ROOMTONE_ROOT/opt/roomtone/current")
            failed=0
            for room in "${@:2}"; do
              unit=${room%%@*}; [ "$unit" = "$room" ] || unit=$unit@
              echo "$version with $(cat "$STATE/loaded-$unit")" >"$STATE/running-$room"
              if [ -e "$STATE/crashes-$version" ] || [ -e "$STATE/crashes-$version-$room" ]; then
                echo failed >"$STATE/running-$room"; failed=1
              fi
            done
            exit $failed ;;
          "enable --quiet "*)
            mkdir -p "$units/multi-user.target.wants"
            for room in "${@:3}"; do ln -sf ../roomtone "$units/multi-user.target.wants/$room.service"; done ;;
          "disable --now --quiet "*) rm "$STATE/running-$4"; rm "$units/multi-user.target.wants/$4.service" || exit 1 ;;
          "is-active --quiet "*) ! grep -qsx failed "$STATE/running-$3" && [ -e "$STATE/running-$3" ] ;;
          *NRestarts*) cat "$STATE/restarts" 2>/dev/null || echo 0
            [ ! -e "$STATE/restarts-again" ] || echo 2 >"$STATE/restarts" ;;
          *Result*) echo exit-code ;;
          *StatusText*) cat "$STATE/status-$(readlink "$ROOMTONE_ROOT/opt/roomtone/current")" 2>/dev/null || true ;;
          *WatchdogTimestampMonotonic*) echo 0 ;;
        esac""",
    "python3": """
        case "$*" in
          "-m venv --without-pip "*) mkdir -p "$4/bin" "$4/lib/python3.11/site-packages"; cp /bin/true "$4/bin/roomtone"
            cp "$(dirname "$0")/pip" "$4/bin/python" ;;
          *monotonic*) echo 0 ;;
        esac""",
    # What is asked for is there then.
    "pip": """
        asked=${*: -2:1}; packages=$(dirname "$0")/../lib/python3.11/site-packages
        for extra in $(sed -n 's/.*\\[\\(.*\\)\\]/\\1/p' <<<"$asked" | tr , ' '); do
          for pair in $EXTRAS; do [ "${pair%:*}" != "$extra" ] || mkdir -p "$packages/${pair#*:}-1.dist-info"; done
        done
        true""",
    "id": '[ -e "$STATE/user-$2" ]',
    "useradd": 'touch "$STATE/user-${@: -1}"',
    "userdel": 'rm "$STATE/user-$1"',
    "groupadd": 'touch "$STATE/group"',
    "groupdel": 'rm "$STATE/group"',
    "getent": '[ -e "$STATE/group" ]',
    "dpkg": '[ "$1" = --configure ] || echo amd64',
    "dpkg-deb": "echo mosquitto",
    "dpkg-query": 'cat "$STATE/packages" 2>/dev/null || exit 1',
    "apt-get": """
        [ -e "$ROOMTONE_ROOT/usr/sbin/policy-rc.d" ] || exit 1
        echo installed >"$STATE/packages"; systemctl enable --quiet mosquitto """,
    "journalctl": "true",
    "sleep": "true",
    "sync": 'echo "$@" >>"$STATE/synced"',
}


@dataclass(frozen=True)
class Computer:
    """A folder that stands for a machine with systemd, and bundles of three versions."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Computer":
        made = cls(folder)
        for path in ("bin", "state", "root/run/systemd/system", "root/etc/systemd/system", "root/usr/local/bin",
                     "root/usr/sbin", "root/var/lib"):  # fmt: skip
            (folder / path).mkdir(parents=True)
        (folder / "root/etc/os-release").write_text("VERSION_CODENAME=bookworm\n")
        for name, text in STAND_INS.items():
            (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
            (folder / "bin" / name).chmod(0o755)
        for version in (OLDEST, OLD, NEW, NEWEST):
            made._bundle(version)
        return made

    @classmethod
    def upgraded(cls, folder: Path) -> "Computer":
        """Return one on which OLD runs, and OLDEST ran before."""
        made = cls.make(folder)
        for version in (OLDEST, OLD):
            done = made.install(version)
            assert done.returncode == 0, done.stderr
        made.assert_settled(OLD, OLDEST)
        return made

    def _bundle(self, version: str) -> None:
        bundle = self.folder / version
        (bundle / "deploy").mkdir(parents=True)
        for name in ("install.sh", "durable.sh", "rooms.sh", "trial.sh", "roomtone.service", "roomtone-trial.service"):
            shutil.copy(ROOT / "deploy" / name, bundle / "deploy" / name)
        with (bundle / "deploy" / "roomtone.service").open("a") as unit:
            unit.write(f"# of {version}\n")
        for name in ("config.yaml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, bundle / name)
        for name in ("wheels/pip-1-py3-none-any.whl", "debs/mosquitto_1_amd64.deb"):
            (bundle / name).parent.mkdir()
            (bundle / name).touch()
        (bundle / "VERSION").write_text(f"{version}\n")
        (bundle / "SUITE").write_text("bookworm\n")
        sums = "find . -type f ! -name SHA256SUMS -print0 | xargs -0 sha256sum >SHA256SUMS"
        subprocess.run(sums, shell=True, cwd=bundle, check=True)

    @property
    def home(self) -> Path:
        return self.folder / "root/opt/roomtone"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def copy(self, folder: Path) -> "Computer":
        """Return this machine once more, as it is now."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Computer(folder)

    def run(
        self, script: Path, *arguments: str, stop_at: str = "", probation_s: int = PROBATION_S, patience_s: int = 60
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "ROOMTONE_ROOT": f"{self.folder}/root",
                       "STATE": str(self.state), "ROOMTONE_STOP_AT": stop_at,
                       "ROOMTONE_PROBATION_S": str(probation_s), "ROOMTONE_PATIENCE_S": str(patience_s),
                       "EXTRAS": "postgres:psycopg metrics:prometheus_client parquet:pyarrow"}  # fmt: skip
        done = subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
        if stop_at:
            assert done.returncode == -signal.SIGKILL, f"{stop_at}: {done.returncode} {done.stdout}{done.stderr}"
        return done

    def install(self, version: str, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run(self.folder / version / "deploy/install.sh", *arguments, **how)

    def restart(self) -> None:
        """What the machine's own start does: what is enabled runs, with what stands on the disk now."""
        for running in self.state.glob("running-*"):
            running.unlink()
        self.systemctl("daemon-reload")
        if rooms := self.enabled - {"roomtone-trial"}:
            self.systemctl("restart", *rooms)
        if "roomtone-trial" in self.enabled:
            unit = (self.folder / "root/etc/systemd/system/roomtone-trial.service").read_text()
            told = dict(re.findall("^(ConditionPathExists|ExecStart)=(.*)$", unit, re.M))
            root = f"{self.folder}/root"
            if Path(root + told["ConditionPathExists"]).exists():
                program, *arguments = told["ExecStart"].split()
                self.run(Path(root + program), *arguments)

    @property
    def enabled(self) -> set[str]:
        return {link.stem for link in (self.folder / "root/etc/systemd/system/multi-user.target.wants").glob("*")}

    def systemctl(self, *arguments: str) -> None:
        self.run(self.folder / "bin/systemctl", *arguments)

    def crashes(self, version: str, room: str = "") -> None:
        """Have that version not start, in that room or anywhere."""
        (self.state / f"crashes-{version}{room and '-'}{room}").touch()

    def link(self, name: str) -> str | None:
        return os.readlink(self.home / name) if (self.home / name).is_symlink() else None

    @property
    def running(self) -> str:
        """Which version runs in the first room."""
        return self.running_in("roomtone")

    def running_in(self, room: str) -> str:
        """Which version runs there, having checked that it runs with its own unit."""
        version, _, unit = (self.state / f"running-{room}").read_text().partition(" with ")
        assert unit.endswith(f"# of {version}\n"), "runs with another version's unit"
        return version

    def assert_settled(self, current: str, previous: str | None, *, rooms: tuple[str, ...] = ("roomtone",)) -> None:
        """That version runs in these rooms and no other, is proved, `previous` is the one to go back to, and nothing
        else is left."""
        assert {path.name.removeprefix("running-") for path in self.state.glob("running-*")} == set(rooms)
        assert self.enabled - {"roomtone-trial"} == set(rooms)
        assert {self.running_in(room) for room in rooms} == {current}
        assert (self.link("current"), self.link("previous")) == (current, previous)
        assert not (self.home / ".trial").exists()
        versions = {path.name for path in self.home.iterdir() if path.is_dir() and not path.is_symlink()}
        assert versions == {current, previous} - {None}
        assert all((self.home / version / ".ready").exists() for version in versions)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Computer:
    """OLD runs, OLDEST ran before."""
    return Computer.upgraded(tmp_path_factory.mktemp("computers") / "upgraded")


@pytest.fixture
def fresh(tmp_path: Path) -> Computer:
    """Nothing is installed."""
    return Computer.make(tmp_path / "computer")


@pytest.fixture
def computer(upgraded: Computer, tmp_path: Path) -> Computer:
    return upgraded.copy(tmp_path / "computer")


def test_the_steps_are_those_that_the_installer_names():
    named = [name for script in SCRIPTS for name in re.findall(r"^ +at (.*)$", script.read_text(), re.M)]
    told = {name.strip('"').replace("${way}", "").replace("$second", "1").replace("$1", "passed") for name in named}
    switched = {"on-trial", *SWITCH, "second-1", *PROVED}
    assert told == {*PACKAGES, *BEFORE, *switched, *UNINSTALLING, "room-enabled", "room-disabled"}


@pytest.mark.parametrize("step", STEPS)
def test_run_again_it_ends_with_the_new_version_proved(computer, step):
    computer.install(NEW, stop_at=step)
    assert computer.running in (OLD, NEW)
    done = computer.install(NEW)
    assert done.returncode == 0, done.stderr
    computer.assert_settled(NEW, OLD)


def test_run_again_after_each_second_of_the_trial_it_still_goes_back_to_what_was_proved(computer):
    for second in range(1, 21):
        computer.install(NEW, stop_at=f"second-{second}", probation_s=20)
        assert computer.link("previous") == OLDEST
    before_it_went_on = computer.copy(computer.folder.with_name("again"))
    computer.install(NEW, "--rollback")
    computer.assert_settled(OLD, OLDEST)
    before_it_went_on.install(NEW)
    before_it_went_on.assert_settled(NEW, OLD)


def test_it_says_what_it_waits_for_while_a_version_is_on_trial(computer):
    said = computer.install(NEW, probation_s=12).stdout.splitlines()
    trial = ["starting roomtone: waiting until ready", "on trial for 12 s, in which nothing may fail", "5 of 12 s",
             "10 of 12 s"]  # fmt: skip
    assert [line.removeprefix("roomtone: ") for line in said[-5:-1]] == trial
    assert f"{NEW} is running" in said[-1]


def test_it_waits_for_another_installation_and_says_so(computer):
    waits = "another installation is at work: waiting for it, for at most {} s"
    with (computer.home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = computer.install(NEW, patience_s=1)
        assert (done.returncode, done.stdout) == (69, f"roomtone: {waits.format(1)}\n")
        assert done.stderr == "roomtone: another installation is still at work: try again when it has ended\n"
        inode = os.fstat(lock.fileno()).st_ino

        def end_when_waited_for() -> None:
            wait_until(lambda: re.search(rf"-> FLOCK .*:{inode} ", Path("/proc/locks").read_text()))
            fcntl.flock(lock, fcntl.LOCK_UN)

        other = threading.Thread(target=end_when_waited_for)
        other.start()
        done = computer.install(NEW)
        other.join()
    assert (done.returncode, waits.format(60) in done.stdout) == (0, True)
    computer.assert_settled(NEW, OLD)


@pytest.mark.parametrize("step", [*UNPROVED, *PROVED])
def test_the_machines_start_goes_on_with_the_trial(computer, step):
    computer.install(NEW, stop_at=step)
    computer.restart()
    assert (computer.running, computer.link("previous")) == (NEW, OLD)
    assert computer.install(NEW).returncode == 0
    computer.assert_settled(NEW, OLD)


@pytest.mark.parametrize("step", [*UNPROVED, *PROVED])
def test_rolled_back_it_is_the_last_version_that_was_proved(computer, step):
    computer.install(NEW, stop_at=step)
    done = computer.install(NEW, "--rollback")
    assert done.returncode == 0, done.stderr
    computer.assert_settled(OLD, OLDEST if step in UNPROVED else NEW)


@pytest.mark.parametrize("step", TAKING_BACK)
@pytest.mark.parametrize("then", ["run again", "restarted", "rolled back"])
def test_on_the_way_back_from_a_version_that_crashes(computer, step, then):
    computer.crashes(NEW)
    computer.install(NEW, stop_at=step)
    match then:
        case "run again":
            done = computer.install(NEW)
            assert (done.returncode, f"still on {OLD}" in done.stderr) == (70, True)
        case "restarted":
            computer.restart()
            computer.install(OLD)
        case "rolled back":
            # Once the trial is over, the version before is that before it.
            computer.install(OLD, "--rollback")
            computer.install(OLD, *["--rollback"] * (step in ("back-end", "back-forgetting")))
    computer.assert_settled(OLD, OLDEST)


@pytest.mark.parametrize("step", ["on-trial", "second-2"])
@pytest.mark.parametrize("crashes", [False, True], ids=["sound", "crashing"])
def test_another_version_installed_after_the_cut_goes_back_to_what_was_proved(computer, step, crashes):
    """And never to the one that was on trial then."""
    computer.install(NEW, stop_at=step)
    if crashes:
        computer.crashes(NEWEST)
    assert computer.install(NEWEST).returncode == (70 if crashes else 0)
    computer.assert_settled(*((OLD, OLDEST) if crashes else (NEWEST, OLD)))


def test_the_machines_start_takes_back_a_version_that_crashes(computer):
    computer.crashes(NEW)
    computer.install(NEW, stop_at="enable")
    computer.restart()
    computer.assert_settled(OLD, OLDEST)


@pytest.mark.parametrize("step", ["boot", "on-trial", "switch", "unit", "restart", "passed", "previous", "end"])
@pytest.mark.parametrize("then", ["run again", "restarted"])
def test_a_rollback_cut_short_is_no_loss_of_a_version(computer, step, then):
    computer.install(OLD, "--rollback", stop_at=step)
    if then == "restarted":
        computer.restart()
        computer.assert_settled(*((OLD, OLDEST) if step == "boot" else (OLDEST, OLD)))
        return
    done = computer.install(OLD, "--rollback")
    assert done.returncode == 0, done.stderr
    computer.assert_settled(*((OLD, OLDEST) if step == "end" else (OLDEST, OLD)))  # that was over: this is another


def test_a_rollback_to_a_version_that_no_longer_starts_stays_where_it_is(computer):
    computer.crashes(OLDEST)
    done = computer.install(OLD, "--rollback")
    assert (done.returncode, f"still on {OLD}" in done.stderr) == (70, True)
    computer.assert_settled(OLD, OLDEST)


def test_a_restart_that_systemd_had_scheduled_for_a_version_that_crashed_is_not_counted_of_the_next(computer):
    """On a busy machine the way back takes as long as systemd waits: then it is systemd's restart that starts it."""
    (computer.state / "restarts").write_text("1\n")
    computer.crashes(NEW)
    done = computer.install(NEW)
    assert (done.returncode, f"still on {OLD}: {NEW} did not report ready" in done.stderr) == (70, True)
    computer.assert_settled(OLD, OLDEST)
    assert computer.install(NEWEST).returncode == 0
    computer.assert_settled(NEWEST, OLD)


def test_a_version_that_systemd_restarts_in_its_trial_is_taken_back(computer):
    (computer.state / "restarts-again").touch()
    done = computer.install(NEW)
    assert (done.returncode, f"{NEW} does not report ready: systemd calls it exit-code" in done.stdout) == (70, True)
    assert computer.link("current") == OLD


def test_the_first_version_of_all_stays_on_trial_until_it_has_passed(fresh):
    fresh.crashes(OLD)
    assert fresh.install(OLD).returncode == 70
    assert fresh.install(OLD).returncode == 70  # and not: is running already
    done = fresh.install(OLD, "--rollback")
    assert (done.returncode, "there is no version before" in done.stderr) == (69, True)
    (fresh.state / f"crashes-{OLD}").unlink()
    fresh.restart()
    fresh.assert_settled(OLD, None)


def test_the_first_version_of_all_is_one_to_go_back_to_once_it_runs(fresh):
    fresh.crashes(OLD)
    fresh.install(OLD)
    (fresh.state / f"crashes-{OLD}").unlink()
    fresh.systemctl("restart", "roomtone")  # somebody mended what was in its way
    fresh.crashes(NEW)
    assert fresh.install(NEW).returncode == 70
    fresh.assert_settled(OLD, None)


@pytest.mark.parametrize("step", [*PACKAGES, *BEFORE, *UNPROVED, "passed", "previous", "end"])
def test_the_first_installation_run_again(fresh, step):
    fresh.install(OLD, stop_at=step)
    done = fresh.install(OLD)
    assert done.returncode == 0, done.stderr
    fresh.assert_settled(OLD, None)
    assert not (fresh.folder / "root/usr/sbin/policy-rc.d").exists()  # other services may start again
    assert "mosquitto" not in fresh.enabled  # which would take the embedded broker's port


def test_somebody_elses_policy_is_left_alone(fresh):
    policy = fresh.folder / "root/usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    assert fresh.install(OLD).returncode == 0
    assert policy.read_text() == "#!/bin/sh\nexit 101\n"


@pytest.mark.parametrize(
    ("step", "keep"),
    [(step, keep) for step in (*UNINSTALLING, "forgetting") for keep in ((), ("--keep-data",))
     if not (keep and step in ("room-gone", "data-gone"))],
)  # fmt: skip
def test_uninstalling_run_again_leaves_nothing(computer, step, keep):
    events = computer.folder / "root/var/lib/roomtone/outbox.sqlite"
    events.parent.mkdir()
    events.touch()
    computer.install(OLD, "--uninstall", *keep, stop_at=step)
    computer.restart()
    done = computer.install(OLD, "--uninstall", *keep)
    assert done.returncode == 0, done.stderr
    left = {path for path in (computer.folder / "root").rglob("*") if "roomtone" in path.name}
    kept = {computer.folder / "root" / name for name in ("etc/roomtone", "var/lib/roomtone")}
    assert left == (kept if keep else set())
    assert events.exists() == bool(keep)
    assert computer.enabled == set()


@pytest.mark.parametrize("step", [*UNINSTALLING, "forgetting"])
def test_installed_again_after_uninstalling_was_cut_short(computer, step):
    computer.install(OLD, "--uninstall", stop_at=step)
    done = computer.install(OLD)
    assert done.returncode == 0, done.stderr
    assert (computer.running, computer.link("current")) == (OLD, OLD)
    assert (computer.home / OLD / "install.sh").exists()


@pytest.mark.parametrize("word", ["--keepdata", "now"])
def test_a_wrong_word_uninstalls_nothing(computer, word):
    assert computer.install(OLD, "--uninstall", word).returncode == 2
    computer.assert_settled(OLD, OLDEST)


def test_what_is_on_trial_is_on_disk_before_anything_is_switched(computer):
    (computer.state / "synced").unlink()
    computer.install(NEW, stop_at="on-trial")
    home = "root/opt/roomtone"
    synced = [line.replace(f"{computer.folder}/", "") for line in (computer.state / "synced").read_text().splitlines()]
    assert synced[-2:] == [f"{home}/.trial.new", home]
    # An environment is called ready only when all of it is there.
    assert synced.index(f"-f {home}/{NEW}") < synced.index(f"{home}/{NEW}/.ready.new")
