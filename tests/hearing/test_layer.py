"""The layer in front of the decision: taught, it answers at once where an utterance begins, and then now and then."""

import numpy as np
import pytest

from edge.commands.demo import RECORDING
from edge.hearing.layer import EVERY_BLOCKS
from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.model.utterance import ANSWER_BLOCKS
from edge.sound.blocks import timed_blocks
from edge.sound.recording import read_recording
from tests.support.artifacts import MOMENTS
from tests.support.lessons import teach_anything


@pytest.fixture(scope="module", params=[MOMENTS, DEFAULT_MODEL], ids=["frames", "utterances"])
def heard(request) -> dict[str, list]:
    """What was observed of the bundled recording, untaught and taught."""
    artifact, model = load(request.param)
    found = {}
    for name in ("untaught", "taught"):
        pipeline = Pipeline(model, artifact.manifest)
        if name == "taught":
            teach_anything(artifact, pipeline, 70)
        blocks = timed_blocks(read_recording(RECORDING), started_at=0.0)
        found[name] = [pipeline.process(block) for block in blocks]
    found["every"] = ANSWER_BLOCKS if artifact.manifest.form == "utterance" else EVERY_BLOCKS
    return found


def test_taught_it_answers_at_once_and_then_every_third_block_or_when_the_model_does(heard):
    begins = None
    for number, (before, after) in enumerate(zip(heard["untaught"], heard["taught"], strict=True)):
        assert before.speaking == after.speaking  # who speaks is not what is taught
        if not after.speaking:
            begins = None
            continue
        begins = number if begins is None else begins
        assert (after.probs is not None) == ((number - begins) % heard["every"] == 0)


def test_answers_are_probabilities_and_others_than_the_models(heard):
    pairs = [
        (before.probs, after.probs) for before, after in zip(heard["untaught"], heard["taught"], strict=True)
        if after.probs is not None
    ]  # fmt: skip
    assert len(pairs) > 50
    for _, after in pairs:
        assert after.sum() == pytest.approx(1.0, abs=1e-5)
    assert any(not np.array_equal(before, after) for before, after in pairs)
