"""Installed models: what is refused, what switches, what a crash at any moment leaves, and how the sensor goes back."""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from edge.config import ModelStore
from edge.daemon.run import model_path
from edge.errors import ArtifactError
from edge.model import pace
from edge.model.artifact import DEFAULT_MODEL, read_artifact
from edge.model.record import Rejection
from edge.model.store import TRIAL_STARTS
from edge.model.trial import TRIAL_S, choose
from tests.support.artifacts import DEFAULT, parts
from tests.support.owner import Owner
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.system import killed_at


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner.with_keys(tmp_path)


BUNDLED = read_artifact(DEFAULT).manifest.name


def test_a_good_model_is_installed_and_runs_after_its_trial(owner):
    assert owner.running() == BUNDLED
    done = owner.roomtone("install", owner.model("first"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "first-" in done.stdout
    chosen = choose(owner.config(), DEFAULT_MODEL)
    assert chosen.artifact.manifest.name == "first"
    chosen.trial.turned(dropped_blocks=0)
    assert owner.store().read().trial_starts == 1  # it has not run for long enough
    chosen.trial.started_s -= TRIAL_S
    chosen.trial.turned(dropped_blocks=0)
    assert owner.store().read().trial_starts is None
    assert choose(owner.config(), DEFAULT_MODEL).trial is None
    assert read_artifact(model_path(owner.config())).manifest.name == "first"


def altered_golden() -> dict[str, Any]:
    golden = parts(DEFAULT)[1]["golden"]
    return {**golden, "probs": [row[1:] + row[:1] for row in golden["probs"]]}


REFUSED = {
    "unsigned": ({"key": None}, "not signed"),
    "wrong key": ({"key": "stranger"}, "signed by none of the trusted keys"),
    "older": ({"created": "2026-10-01T00:00:00Z"}, "older than what was installed before"),
    "golden replay": ({"golden": altered_golden()}, "golden replay: probabilities differ by"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_is_not_in_order_is_refused_and_the_old_one_runs_on(owner, case):
    passed(owner, owner.model("first"))
    changes, says = REFUSED[case]
    done = owner.roomtone("install", owner.model("second", **{"created": "2026-11-02T00:00:00Z", **changes}))
    assert done.returncode == 65
    assert "second.tflite: " in done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert owner.running() == "first"


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_truncated_model_is_refused(owner, keep):
    path = owner.model("first")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    assert owner.roomtone("install", path).returncode == 65
    assert owner.running() == BUNDLED


def test_what_is_refused_is_accepted_where_the_configuration_says_so(owner):
    passed(owner, owner.model("first"))
    old = owner.model("old", created="2026-10-01T00:00:00+02:00", key=None)
    for settings, says in (({"allow_unsigned": True}, "older than"), ({"allow_older": True}, "not signed")):
        with pytest.raises(ArtifactError, match=says):
            owner.store(**settings).install(old)
    owner.store(allow_unsigned=True, allow_older=True).install(old)
    chosen = choose(owner.config(allow_unsigned=True), DEFAULT_MODEL)
    assert chosen.artifact.manifest.name == "old"
    # Once the configuration no longer says so, an unsigned model does not run, however it came there.
    assert owner.running() == "first"


def test_an_hour_east_is_not_a_later_moment(owner):
    passed(owner, owner.model("first", created="2026-11-01T12:00:00+01:00"))
    with pytest.raises(ArtifactError, match="older than"):
        owner.store().install(owner.model("second", created="2026-11-01T11:30:00+01:00"))
    owner.store().install(owner.model("same", created="2026-11-01T11:00:00Z"))
    owner.store().install(owner.model("third", created="2026-11-01T11:30:00Z"))


def test_a_model_that_does_not_stay_up_is_given_up_after_two_starts(owner):
    passed(owner, owner.model("first"))
    owner.store().install(owner.model("second", created="2026-11-02T00:00:00Z"))
    script = (
        "import os, signal, sys\nfrom edge.config import load_edge\nfrom edge.model.trial import choose\n"
        "from edge.model.artifact import DEFAULT_MODEL\n"
        "print(choose(load_edge(sys.argv[1]), DEFAULT_MODEL).artifact.manifest.name, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    heard = [
        subprocess.run([sys.executable, "-c", script, owner.folder / "config.yaml"], cwd=ROOT, capture_output=True,
                       text=True).stdout.strip()
        for _ in range(4)
    ]  # fmt: skip
    assert heard == ["second", "second", "first", "first"]
    record = owner.store().read()
    assert record.rejected.entry.model_id.startswith("second-")
    assert "did not stay up" in record.rejected.reason


def test_a_model_under_which_sound_is_dropped_is_given_up(owner):
    passed(owner, owner.model("first"))
    owner.store().install(owner.model("second", created="2026-11-02T00:00:00Z"))
    chosen = choose(owner.config(), DEFAULT_MODEL)
    chosen.trial.started_s -= TRIAL_S
    with pytest.raises(ArtifactError, match=r"cannot keep real time: .* of sound were dropped"):
        chosen.trial.turned(dropped_blocks=200)
    assert owner.running() == "first"


def test_a_model_that_is_too_slow_for_this_machine_is_refused(owner, monkeypatch):
    """Not by a slow model, which no small file is, but by a stricter limit than any model meets."""
    monkeypatch.setattr(pace, "BUSIEST", 1e-6)
    with pytest.raises(ArtifactError, match=r"too slow for this machine: .* s of computing for a second of sound"):
        owner.store().install(owner.model("first"))
    monkeypatch.undo()
    owner.store().install(owner.model("first"))
    monkeypatch.setattr(pace, "BUSIEST", 1e-6)
    assert owner.running() == BUNDLED  # it was fast enough when it was installed, and is not when it starts


DAMAGE = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "altered": lambda file: file.write_bytes(file.read_bytes()[:5_000] + b"x" + file.read_bytes()[5_001:]),
    "another": lambda file: shutil.copy(DEFAULT, file),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_is_damaged_later_does_not_run(owner, case):
    """What a failing SD card leaves, or somebody who can write into the folder but has no key."""
    passed(owner, owner.model("first"))
    passed(owner, owner.model("second", created="2026-11-02T00:00:00Z"))
    record = owner.store().read()
    DAMAGE[case](owner.store().folder / record.current.file)
    assert owner.running() == "first"
    if case == "another":
        file = owner.store().folder / record.current.file
        why = f"{file}: another model than the one that was installed under this name"
        assert owner.store().read().rejected.reason == why
    DAMAGE[case](owner.store().folder / record.previous.file)
    assert owner.running() == BUNDLED


STRANGE = '{"current": {"digest": "../../x", "model_id": "", "created": ""}}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"current": 1}', STRANGE])
def test_a_damaged_record_leaves_the_bundled_model(owner, text):
    passed(owner, owner.model("first"))
    (owner.store().folder / "models.json").write_text(text)
    assert owner.running() == BUNDLED


def test_rollback_and_back_again(owner):
    passed(owner, owner.model("first"))
    passed(owner, owner.model("second", created="2026-11-02T00:00:00Z"))
    for name in ("first", "second", "first"):
        done = owner.roomtone("rollback")
        assert done.returncode == 0, done.stderr
        assert owner.running() == name
    # The newest that passed is remembered: going back is no way to install something older.
    with pytest.raises(ArtifactError, match="older than"):
        owner.store().install(owner.model("third", created="2026-11-01T12:00:00Z"))


def test_going_back_swaps_the_two_models_and_forgets_no_date(owner):
    store = owner.store()
    with pytest.raises(ArtifactError, match=r"^the bundled model is current: there is none before it$"):
        store.roll_back()
    two_models(owner)
    before = store.read()
    assert (store.roll_back(), standing(owner)) == (before.previous, ("first", "second", False))
    assert (store.roll_back(), store.read()) == (before.current, before)
    (store.folder / before.previous.file).write_bytes(b"")
    with pytest.raises(ArtifactError, match=before.previous.file):
        store.roll_back()
    assert store.read() == before


def test_before_the_first_installed_model_was_the_bundled_one(owner):
    passed(owner, owner.model("first"))
    store = owner.store()
    newest = store.read().newest
    assert (store.roll_back(), standing(owner), owner.running()) == (None, ("bundled", "first", False), BUNDLED)
    assert store.read().newest == newest
    with pytest.raises(ArtifactError, match="the bundled model is current"):
        store.roll_back()


def test_what_is_taken_back_on_trial_is_rejected(owner, caplog):
    two_models(owner)
    store = owner.store()
    before = store.read()
    third = store.install(owner.model("third", created="2026-11-03T00:00:00Z"))
    assert store.roll_back() == before.current
    rejected = Rejection(entry=third, reason="taken back before it had passed its trial")
    assert store.read() == msgspec.structs.replace(before, rejected=rejected)
    told = f"model {third.model_id} is rejected: {rejected.reason}; going back to {before.current.model_id}"
    assert caplog.messages[-1] == told


def test_a_folder_that_cannot_be_looked_into_is_said_and_the_bundled_model_runs(owner, caplog):
    folder = owner.store().folder
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(folder)
    assert owner.running() == BUNDLED
    why = "not readable by this user (Too many levels of symbolic links): taking the bundled model"
    assert caplog.messages == [f"{folder}: {why}"]


def test_only_what_is_needed_is_kept(owner):
    for day in range(1, 6):
        passed(owner, owner.model(f"model{day}", created=f"2026-11-0{day}T00:00:00Z"))
    assert len(list(owner.store().folder.iterdir())) == 3
    assert owner.running() == "model5"


def test_where_a_model_is_named_nothing_is_installed(owner):
    owner.folder.joinpath("config.yaml").write_text(f"edge: {{model: {DEFAULT}, state_folder: {owner.folder}/state}}")
    done = owner.roomtone("install", owner.model("first"))
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1)
    assert "edge.model: the sensor runs" in done.stderr


INSTALL = """
import sys
import edge.commands.model
from edge.commands.cli import main
print("begins", flush=True)
sys.exit(main(["--config", sys.argv[1], "model", "install", sys.argv[2]]))
"""


def worked_s(process: psutil.Process) -> float:
    """Return what a process has computed: on a busy core that tells better than a clock how far it is."""
    return sum(process.cpu_times()[:2])


def test_kill_9_at_20_random_moments(owner):
    """Afterwards a verified model runs, the one before or the new one, and the next installation succeeds."""

    def install(model: Path) -> subprocess.Popen[str]:
        child = subprocess.Popen([sys.executable, "-c", INSTALL, owner.folder / "config.yaml", model], cwd=ROOT,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        assert child.stdout.readline() == "begins\n"  # Python's own start is over
        return child

    before = "first"
    child = install(owner.model(before))
    process = psutil.Process(child.pid)
    began_s = worked_s(process)
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)  # it ended, and is not yet forgotten
    whole_s = worked_s(process) - began_s
    assert child.wait() == 0
    chance = random.Random(8)
    killed = switched = 0
    for number in range(20):
        confirm(owner)
        model = owner.model(f"next{number}", created=f"2026-11-02T{number:02}:00:00Z")
        child = install(model)
        process = psutil.Process(child.pid)
        moment_s = worked_s(process) + chance.uniform(0, 1.2) * whole_s
        wait_until(
            lambda: process.status() == psutil.STATUS_ZOMBIE or worked_s(process) >= moment_s,  # noqa: B023
            every_s=0.001,
        )
        child.kill()
        killed += child.wait() == -signal.SIGKILL
        running = owner.running()
        assert running in (before, model.stem)
        switched += running == model.stem
        before = running
    print(f"killed {killed} of 20 before their end, {switched} had switched")
    assert killed >= 5
    assert owner.roomtone("install", owner.model("final", created="2026-11-26T00:00:00Z")).returncode == 0
    assert owner.running() == "final"


def standing(owner: Owner) -> tuple[str, str, bool]:
    """Return the names of the current and the previous model, and whether the current one is on trial."""
    record = owner.store().read()
    current, previous = (
        "bundled" if entry is None else entry.model_id.partition("-")[0] for entry in (record.current, record.previous)
    )
    return current, previous, record.trial_starts is not None


def two_models(owner: Owner) -> None:
    passed(owner, owner.model("first"))
    passed(owner, owner.model("second", created="2026-11-02T00:00:00Z"))


def every_kill(owner: Owner, call: str, *arguments: str | Path) -> Iterator[tuple[str, str, bool]]:
    """Run a command, killed by strace as it enters the n-th such system call, for every n there is; yield what is left.

    Each time from the same start; the last time it is not killed.
    """
    shutil.copytree(owner.folder / "state", owner.folder / "kept")
    number = 0
    while True:
        number += 1
        shutil.rmtree(owner.folder / "state")
        shutil.copytree(owner.folder / "kept", owner.folder / "state")
        done = owner.roomtone(*arguments, prefix=killed_at(call, number))
        yield standing(owner)
        if done.returncode == 0:
            break
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    assert number > 1


BEFORE, ON_TRIAL, TAKEN_BACK = ("second", "first", False), ("third", "second", True), ("second", "first", False)


@pytest.mark.parametrize("call", ["fsync", "rename", "unlink"])
def test_an_installation_killed_at_every_call_that_matters(owner, call):
    """What is on trial is never the model before, and what was before the model before is that again."""
    two_models(owner)
    (owner.store().folder / ".models.json.cut").touch()  # as an earlier kill leaves it, to be tidied up
    third = owner.model("third", created="2026-11-03T00:00:00Z")
    left = []
    for stands in every_kill(owner, call, "install", third):
        left.append(stands)
        assert owner.running() == stands[0]
        if stands == ON_TRIAL:
            assert owner.store().roll_back().model_id.startswith("second-")
            assert (standing(owner), owner.running()) == (TAKEN_BACK, "second")
    print(f"{call}: {len(left)} runs: {left}")
    assert left[-1] == ON_TRIAL
    assert set(left) <= {BEFORE, ON_TRIAL}


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_the_first_installation_of_all_killed_at_every_call_that_matters(owner, call):
    (owner.folder / "state").mkdir()
    first = owner.model("first")
    before, on_trial = ("bundled", "bundled", False), ("first", "bundled", True)
    left = []
    for stands in every_kill(owner, call, "install", first):
        left.append(stands)
        assert owner.running() == (BUNDLED if stands == before else "first")
        owner.store().install(first)
        assert (standing(owner), owner.running()) == (on_trial, "first")
    print(f"{call}: {len(left)} runs: {left}")
    assert left[-1] == on_trial
    assert set(left) == {before, on_trial}


def test_a_rollback_killed_at_every_call_that_matters(owner):
    two_models(owner)
    for call in ("fsync", "rename"):
        shutil.rmtree(owner.folder / "kept", ignore_errors=True)
        left = list(every_kill(owner, call, "rollback"))
        print(f"{call}: {len(left)} runs: {left}")
        assert left[-1] == ("first", "second", False)
        assert set(left) <= {BEFORE, left[-1]}
        shutil.rmtree(owner.folder / "state")
        shutil.copytree(owner.folder / "kept", owner.folder / "state")


TRIAL_ENDS = """
import sys
from edge.config import load_edge
from edge.model.store import store_of
store = store_of(load_edge(sys.argv[1]))
entry = store.read().current
store.confirm(entry) if sys.argv[2] == "passes" else store.reject(entry, "too slow")
"""


@pytest.mark.parametrize(("verdict", "after"), [("passes", ("third", "second", False)), ("fails", TAKEN_BACK)])
@pytest.mark.parametrize("call", ["fsync", "rename", "unlink"])
def test_a_verdict_killed_at_every_call_that_matters(owner, verdict, after, call):
    two_models(owner)
    owner.store().install(owner.model("third", created="2026-11-03T00:00:00Z"))
    shutil.copytree(owner.folder / "state", owner.folder / "kept")
    left = []
    for number in range(1, 10):
        shutil.rmtree(owner.folder / "state")
        shutil.copytree(owner.folder / "kept", owner.folder / "state")
        done = subprocess.run(
            [*killed_at(call, number), sys.executable, "-c", TRIAL_ENDS, owner.folder / "config.yaml", verdict],
            cwd=ROOT, timeout=PATIENCE_S,
        )  # fmt: skip
        left.append(standing(owner))
        if done.returncode == 0:
            break
    assert left[-1] == after
    assert set(left) <= {ON_TRIAL, after}
    assert owner.running() == after[0]


def test_a_power_cut_in_the_trial_counts_as_a_start_and_the_model_before_stays_the_one_before(owner):
    two_models(owner)
    owner.store().install(owner.model("third", created="2026-11-03T00:00:00Z"))
    seen = [standing(owner)]
    for _ in range(TRIAL_STARTS + 1):  # it starts, and the power is cut before its trial is over
        owner.running()
        seen.append(standing(owner))
    assert seen == [ON_TRIAL] * (1 + TRIAL_STARTS) + [TAKEN_BACK]
    assert "did not stay up" in owner.store().read().rejected.reason
    done = owner.roomtone("rollback")
    assert (done.returncode, standing(owner)) == (0, ("first", "second", False))


def test_what_is_on_trial_never_becomes_the_model_before(owner):
    two_models(owner)
    owner.store().install(owner.model("third", created="2026-11-03T00:00:00Z"))
    owner.store().install(owner.model("fourth", created="2026-11-04T00:00:00Z"))
    assert standing(owner) == ("fourth", "second", True)
    done = owner.roomtone("rollback")
    assert (done.returncode, "second-" in done.stdout) == (0, True)
    assert standing(owner) == TAKEN_BACK
    assert "taken back" in owner.store().read().rejected.reason
    assert owner.running() == "second"


def confirm(owner: Owner) -> None:
    store = owner.store()
    if (current := store.read().current) is not None:
        store.confirm(current)


def passed(owner: Owner, path: Path) -> None:
    """Install a model and let it pass its trial."""
    owner.store().install(path)
    confirm(owner)


def test_the_defaults_trust_nobody():
    assert ModelStore() == ModelStore(trusted_keys=(), allow_unsigned=False, allow_older=False)
