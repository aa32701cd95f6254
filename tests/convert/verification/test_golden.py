"""The choice of a golden sound: the first on which both runtimes agree, and no more are looked at than that takes."""

import sys

import pytest

from convert.verification import golden
from edge.model.artifact import read_artifact
from edge.model.golden import GoldenSound
from tests.support.artifacts import WINDOW
from tests.support.patience import TRAINING_PATIENCE_S
from tests.support.runtimes import python_of


@pytest.fixture
def looked_at(monkeypatch) -> list[range]:
    """Which candidates were played to a runtime, call by call; of three, the first at first."""
    assert golden.PORTIONS[-1] == len(golden.candidates())
    monkeypatch.setattr(golden, "PORTIONS", (1, 3))
    asked, real = [], golden._observed_by
    monkeypatch.setattr(golden, "_observed_by", lambda *given: asked.append(given[3]) or real(*given))
    return asked


def chosen() -> GoldenSound:
    artifact, pythons = read_artifact(WINDOW), [sys.executable, python_of("tflite-runtime")]
    return golden.with_golden(artifact.graph, artifact.manifest, pythons, timeout_s=TRAINING_PATIENCE_S).golden.sound


def test_where_the_runtimes_agree_on_the_first_no_more_are_looked_at(looked_at):
    assert chosen() == golden.candidates()[0]
    assert looked_at == 2 * [range(1)]


def test_where_they_agree_on_none_with_room_to_spare_it_is_the_best_of_all(looked_at, monkeypatch):
    monkeypatch.setattr(golden, "ROOM", -1.0)
    in_parts = chosen()
    assert looked_at == 2 * [range(1)] + 2 * [range(1, 3)]
    monkeypatch.setattr(golden, "PORTIONS", (3,))
    assert in_parts == chosen()
    assert in_parts in golden.candidates()[:3]
