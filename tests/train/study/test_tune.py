"""Tuning: resumable, and judged on validation only."""

import pytest

from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job


def test_trials_go_on_where_they_stopped(tmp_path):
    from train.study.tune import tune

    config = tiny_config(tmp_path)
    clips = tiny_clips(tmp_path, config)
    job = tiny_job("ann", clips, config, epochs=1)
    first = tune(job, clips, config, SPEC, folder=tmp_path / "tune", trials=1)
    assert len(first) == 1
    both = tune(job, clips, config, SPEC, folder=tmp_path / "tune", trials=2)
    assert len(both) == 2
    assert first[0] in both
    assert both[0]["val_uar"] >= both[1]["val_uar"]
    assert 6e-4 <= both[0]["learning_rate"] <= 0.015
    assert both[0]["width"] in (0.5, 0.75, 1.0, 1.5)


def test_trials_train_as_the_recipe_says_contrast_too(tmp_path):
    from train.study.tune import tune

    config = tiny_config(tmp_path)
    job = tiny_job("causal_cnn", tiny_clips(tmp_path, config), config, epochs=1, contrast=0.3)
    assert len(tune(job, tiny_clips(tmp_path, config), config, SPEC, folder=tmp_path / "tune", trials=1)) == 1


def test_the_test_side_is_not_looked_at(tmp_path):
    """The recordings of the test side are gone, and their features with them."""
    from pathlib import Path

    from train.study.tune import tune

    config = tiny_config(tmp_path)
    clips = tiny_clips(tmp_path, config)
    job = tiny_job("ann", clips, config, epochs=1)
    for index in job.split.test:
        Path(clips[index].path).unlink()
    (trial,) = tune(job, clips, config, SPEC, folder=tmp_path / "tune", trials=1)
    assert trial["val_uar"] == pytest.approx(trial["val_uar"])
