"""What becomes of a converter that crashes, hangs or fails is said in one line."""

import numpy as np
import pytest

from convert.graph import child
from convert.graph.worker import Job
from edge.errors import ArtifactError
from tests.support.patience import PATIENCE_S, TRAINING_PATIENCE_S


@pytest.mark.parametrize(
    ("how", "timeout_s", "message"),
    [
        ("crash", PATIENCE_S, r"^conversion: crashed \(SIGSEGV\)$"),
        ("hang", 0.5, r"^conversion: no end within 0 s, stopped$"),
        ("fail", PATIENCE_S, r"^conversion: failed \(converted, alas\)$"),
    ],
)
def test_it_is_reported_in_one_line(how, timeout_s, message):
    with pytest.raises(ArtifactError, match=message):
        child.run_module("tests.convert.graph.misbehaving", [how], what="conversion", timeout_s=timeout_s)


def test_a_run_that_is_not_there_fails_in_one_line(tmp_path):
    run = str(tmp_path / "none")
    job = Job(run=run, form="window", precision="float32", step_frames=4, temperature=1.0, embeds=False)
    with pytest.raises(
        ArtifactError, match=r"^none: conversion to window float32: failed \(.*no such folder"
    ) as caught:
        child.convert(job, [np.zeros((2, 3), np.float32)], timeout_s=TRAINING_PATIENCE_S)
    assert "\n" not in str(caught.value)
