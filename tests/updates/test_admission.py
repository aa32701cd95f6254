"""A model judged in a process of its own: what it says of whatever comes, and what is worth another try."""

import pytest

from edge.model.artifact import read_artifact
from edge.updates import admission
from edge.updates.admission import Asked, judge
from tests.support.artifacts import DEFAULT
from tests.support.owner import Owner

BUNDLED = read_artifact(DEFAULT).digest


@pytest.fixture
def owner(tmp_path) -> Owner:
    return Owner.with_keys(tmp_path)


def asked(owner: Owner, **changes) -> Asked:
    usual = {"folder": str(owner.folder / "models"), "trusted_keys": (str(owner.folder / "mine.pub"),)}
    return Asked(**{**usual, "running": BUNDLED, "install": False, **changes})


def test_it_is_looked_at_and_nothing_is_written_unless_it_is_to_be_installed(owner):
    data = owner.model("first").read_bytes()
    verdict = judge(asked(owner), data)
    assert (verdict.result, verdict.entry.model_id[:6], verdict.reason) == ("offered", "first-", None)
    assert not (owner.folder / "models").exists()
    assert judge(asked(owner, running=verdict.entry.digest, install=True), data).result == "installed"
    assert not (owner.folder / "models").exists()
    assert judge(asked(owner, install=True), data) == admission.Verdict(result="trying", entry=verdict.entry)
    assert (owner.folder / "models" / verdict.entry.file).read_bytes() == data


def test_what_is_no_fault_of_the_model_is_worth_another_try(owner):
    data = owner.model("first").read_bytes()
    (owner.folder / "models").write_text("")  # where the folder should be
    kept = judge(asked(owner, install=True), data)
    assert (kept.result, kept.passing) == ("refused", True)
    assert "models: cannot be used (edge.state_folder; " in kept.reason
    unkeyed = judge(asked(owner, trusted_keys=(str(owner.folder / "none.pub"),)), data)
    assert (unkeyed.result, unkeyed.passing) == ("refused", True)
    assert "none.pub: cannot be read" in unkeyed.reason
    unsigned = judge(asked(owner), owner.model("plain", key=None).read_bytes())
    assert (unsigned.result, unsigned.passing, unsigned.reason) == (
        "refused", False, "not signed: see `roomtone model sign`"
    )  # fmt: skip


def test_a_process_that_ends_or_hangs_is_a_refusal(owner, monkeypatch):
    data = owner.model("first").read_bytes()
    monkeypatch.setattr(admission, "_LONGEST_S", 0.001)
    assert judge(asked(owner), data).reason == "not verified within 0 s"
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setattr(admission.sys, "executable", "/bin/false")
    assert judge(asked(owner), data).reason == "the process that verified it ended with status 1"
    monkeypatch.setattr(admission.sys, "executable", str(owner.folder / "no-python"))
    nobody = judge(asked(owner), data)
    assert (nobody.reason, nobody.passing) == ("no process to verify it (No such file or directory)", True)
