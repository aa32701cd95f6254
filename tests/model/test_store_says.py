"""What the store of models says, whole, and that a disk which does not let it costs a line, not the sensor."""

import errno
import logging
import stat
from pathlib import Path

import pytest

from edge.config import load_edge
from edge.errors import ArtifactError
from edge.files import PlaceError
from edge.model import pace, store
from edge.model.artifact import DEFAULT_MODEL
from edge.model.pace import BUSIEST
from edge.model.store import TRIAL_S, TRIAL_STARTS, current_file, store_of
from edge.model.trial import Trial, choose
from edge.sound.blocks import BLOCK_S
from tests.model.test_refusals import refused
from tests.model.test_store import passed
from tests.support.artifacts import DEFAULT, parts
from tests.support.owner import Owner


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner.with_keys(tmp_path)


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gives errors as soon as the folder of models is to be locked."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store.fcntl, "flock", fails)


def why_not(owner: Owner) -> str:
    return f"{owner.store().folder}: cannot be used (edge.state_folder; Input/output error)"


def test_what_an_installation_is_refused_for_and_what_would_permit_it(owner):
    passed(owner, owner.model("first"))
    unsigned, old = owner.model("unsigned", key=None), owner.model("old", created="2026-10-01T00:00:00Z")
    stranger = owner.model("theirs", created="2026-11-02T00:00:00Z", key="stranger")
    for path, said in (
        (unsigned, "not signed: see `roomtone model sign`; edge.model_store.allow_unsigned permits it"),
        (
            old,
            "made 2026-10-01T00:00:00Z, older than what was installed before (2026-11-01T00:00:00.000000+00:00); "
            "edge.model_store.allow_older permits it",
        ),
        (stranger, f"signed by none of the trusted keys ({owner.folder / 'mine.pub'})"),
    ):
        assert refused(lambda: owner.store().install(path)) == f"{path}: {said}"  # noqa: B023


def test_what_is_examined_is_not_installed(owner):
    first = owner.model("first").read_bytes()
    entry = owner.store().examine(first)
    assert entry.model_id.startswith("first-")
    assert not owner.store().folder.exists()
    assert owner.store().take(first) == entry
    with pytest.raises(ArtifactError, match="not signed"):
        owner.store().examine(owner.model("second", key=None).read_bytes())


def test_what_runs_already_is_not_put_on_trial_again(owner):
    path = owner.model("first")
    passed(owner, path)
    before = owner.store().read()
    assert owner.store().install(path) == before.current
    assert owner.store().read() == before


def test_a_model_that_passes_is_said_and_what_was_rejected_is_still_known(owner, caplog):
    caplog.set_level(logging.INFO)
    passed(owner, owner.model("first"))
    entry = owner.store().read().current
    assert caplog.messages[-1] == f"model {entry.model_id} has passed its trial"
    owner.store().install(owner.model("second", created="2026-11-02T00:00:00Z"))
    owner.store().confirm(entry)  # of the one that is no longer current
    owner.store().reject(entry, "too late")
    assert owner.store().read().trial_starts == 0
    assert owner.store().read().current.model_id.startswith("second-")


def test_the_folder_is_for_everybody_to_look_into(owner):
    passed(owner, owner.model("first"))
    assert stat.S_IMODE(owner.store().folder.stat().st_mode) == 0o755


def test_the_record_is_written_to_be_read_by_people(owner):
    passed(owner, owner.model("first"))
    lines = (owner.store().folder / "models.json").read_text().splitlines()
    assert lines[:2] == ["{", ' "current": {']
    assert f'  "model_id": "{owner.store().read().current.model_id}",' in lines


def test_a_damaged_record_is_said(owner, caplog):
    folder = owner.store().folder
    folder.mkdir(parents=True)
    (folder / "models.json").write_text("{")
    assert owner.store().open() is None
    why = "cannot be read (Input data was truncated): no installed model is known"
    assert caplog.messages == [f"{folder / 'models.json'}: {why}"]


def test_a_disk_that_does_not_let_it(owner, caplog, broken_disk):
    path = owner.model("first")
    assert refused(lambda: owner.store().install(path), PlaceError) == why_not(owner)
    assert refused(lambda: owner.store().roll_back(), PlaceError) == why_not(owner)
    assert owner.store().open() is None
    assert caplog.messages == [f"{why_not(owner)}: taking the bundled model"]


def test_a_trial_s_end_that_cannot_be_written_is_said_and_no_more(owner, caplog, request):
    entry = owner.store().install(owner.model("first"))
    request.getfixturevalue("broken_disk")
    owner.store().confirm(entry)
    owner.store().reject(entry, "too slow")
    assert caplog.messages == [why_not(owner)] * 2
    assert owner.store().read().trial_starts == 0


def test_a_model_that_is_started_too_often_is_said_to_have_been(owner, caplog):
    passed(owner, owner.model("first"))
    first = owner.store().read().current
    second = owner.store().install(owner.model("second", created="2026-11-02T00:00:00Z"))
    for _ in range(TRIAL_STARTS):
        assert owner.store().open()[2] == second
    assert owner.store().open()[2] is None
    said = f"did not stay up for {TRIAL_S:.0f} s in {TRIAL_STARTS} starts"
    assert owner.store().read().rejected.reason == said == "did not stay up for 20 s in 2 starts"
    assert caplog.messages == [f"model {second.model_id} is rejected: {said}; going back to {first.model_id}"]


def test_without_a_model_before_it_goes_back_to_the_bundled_one(owner, caplog):
    first = owner.store().install(owner.model("first"))
    owner.store().reject(first, "too slow")
    assert caplog.messages == [f"model {first.model_id} is rejected: too slow; going back to the bundled model"]


def test_only_on_trial_is_a_model_s_pace_looked_at_again(owner, monkeypatch):
    passed(owner, owner.model("first"))
    monkeypatch.setattr(pace, "BUSIEST", 1e-6)
    assert owner.running() == "first"


def test_where_the_installed_model_is(owner, caplog):
    config = owner.config()
    assert current_file(config) is None
    passed(owner, owner.model("first"))
    assert current_file(config) == store_of(config).folder / owner.store().read().current.file
    assert current_file(config).is_file()
    assert caplog.messages == []


def test_where_nothing_may_be_known_of_it_that_is_said(owner, caplog):
    folder = owner.store().folder
    folder.parent.mkdir()
    folder.symlink_to(folder)
    assert current_file(owner.config()) is None
    why = "not readable by this user (Too many levels of symbolic links): taking the bundled model"
    assert caplog.messages == [f"{folder}: {why}"]


def test_without_a_home_there_is_no_store(owner, monkeypatch):
    monkeypatch.setattr(store, "state_folder", lambda configured: None)
    assert store_of(owner.config()) is None
    assert current_file(owner.config()) is None
    assert choose(owner.config(), DEFAULT_MODEL).trial is None


@pytest.fixture
def on_trial(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """A trial that has lasted exactly as long as it has to."""
    owner.store().install(owner.model("first"))
    chosen = choose(owner.config(), DEFAULT_MODEL)
    monkeypatch.setattr("edge.model.trial.time.monotonic", lambda: 1_000.0 + TRIAL_S)
    chosen.trial.started_s = 1_000.0
    return chosen.trial


def test_a_trial_may_lose_half_of_the_sound(owner, on_trial):
    on_trial.turned(dropped_blocks=int(BUSIEST * TRIAL_S / BLOCK_S))
    assert owner.store().read().trial_starts is None


def test_a_trial_that_loses_more_says_how_much_and_is_over(owner, on_trial):
    lost = int(BUSIEST * TRIAL_S / BLOCK_S) + 1
    said = "cannot keep real time: 10 s of 20 s of sound were dropped"
    assert refused(lambda: on_trial.turned(dropped_blocks=lost)) == f"model {on_trial.entry.model_id}: {said}"
    assert owner.store().read().rejected.reason == said
    on_trial.turned(dropped_blocks=10**6)  # it is said once
    assert owner.store().read().current is None


def test_a_model_that_is_named_runs_and_nothing_of_the_store_is_asked(owner):
    passed(owner, owner.model("first"))
    (owner.folder / "config.yaml").write_text(f"edge: {{model: {DEFAULT}, state_folder: {owner.folder}/state}}")
    chosen = choose(load_edge(owner.folder / "config.yaml"), DEFAULT_MODEL)
    assert chosen.artifact.digest != owner.store().read().current.digest
    assert chosen.trial is None


def calibrated(coverage: object) -> dict[str, object]:
    told = parts(DEFAULT)[1]["provenance"]
    return {**told, "created": "2026-11-01T00:00:00Z", "metrics": {"calibration": {"coverage_at_enter": coverage}}}


@pytest.mark.parametrize(
    ("coverage", "moods", "said"),
    [
        (0.0512, {}, "names almost nothing: from 0.6 on, 5.1% of the clips that it was calibrated on get a label, all "
         "others `unknown`"),
        (0, {"low": ["sad"]}, "names nothing: from 0.6 on, 0.0% of the clips that it was calibrated on get a label, "
         "all others a mood or `unknown`"),
        (0.1, {}, ""),
        (0.099, {}, "names almost nothing: from 0.6 on, 9.9% of the clips that it was calibrated on get a label, all "
         "others `unknown`"),
        (None, {}, ""),
        ("much", {}, ""),
    ],
)  # fmt: skip
def test_a_model_that_hardly_names_anything_is_said_to_where_it_is_chosen(owner, caplog, coverage, moods, said):
    told = {**parts(DEFAULT)[1]["decision"], "enter": 0.6}
    path = owner.model("silent", moods=moods, decision=told, provenance=calibrated(coverage))
    for edge, heard in (({"model": str(path)}, said), ({"model": str(path), "decision": {"enter": 0.5}}, "")):
        caplog.clear()
        manifest = choose(owner.config(edge=edge), DEFAULT_MODEL).artifact.manifest
        assert manifest.silence == said
        assert caplog.messages == ([f"model {manifest.model_id} {heard}"] if heard else [])
