"""Training: it learns, it is a run, and being stopped changes nothing."""

import os
import signal
import time
from functools import cache

import msgspec
import numpy as np
import pytest

from edge.errors import ConfigError, InputError
from edge.features.normalize import Normalization
from tests.support.lab import SPEC, run_train, start_train, tiny_clips, tiny_config, tiny_job, write_config
from tests.support.tiny_corpus import write_corpus
from train.config import Augmentation, RecipeFor, TrainConfig
from train.data.split import Split
from train.fitting import checkpoint, metrics, runs
from train.fitting.job import job_of, too_short
from train.networks import registry


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    config = tiny_config(folder, augmentation=Augmentation(variants=2))
    return folder, config, tiny_clips(folder, config)


def fitted(lab, job, name: str, report=None) -> runs.Run:
    from train.fitting.fit import fit

    folder, config, clips = lab
    return fit(job, clips, config, SPEC, folder=folder / name, report=report)


@pytest.fixture(scope="module")
def plain(lab):
    """Networks by their name, trained by `plain_job`, each once."""
    return cache(lambda name: fitted(lab, plain_job(lab, name), f"plain-{name}"))


def plain_job(lab, name: str, **recipe):
    return tiny_job(name, lab[2], lab[1], normalization="running", **recipe)


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_network_trains_two_epochs(lab, plain, name):
    _, config, clips = lab
    run = plain(name)
    loss = run.record.curves["loss"]
    assert loss[1] < loss[0]
    assert run.record.epochs == run.record.chosen_epoch == 2
    assert run.record.metrics["parameters"] == run.model.count_params()
    reread = runs.load_run(run.folder)
    assert {side: len(reread.clips(side)) for side in ("train", "validation", "test")} == {
        "train": 68,
        "validation": 8,
        "test": 8,
    }
    assert reread.clips("test") == [clips[index] for index in tiny_job(name, clips, config).split.test]
    assert reread.record.corpora[0].licence == "CC BY-NC-ND 4.0"


@pytest.mark.parametrize("votes", [0.0, 0.5])
def test_cross_entropy_is_measured_beside_whatever_is_minimized(lab, votes):
    """It is that of the labels themselves, as of the validation side; the loss is of smoothed ones."""
    from train.fitting.fit import network_for
    from train.fitting.objective import compiled

    _, config, clips = lab
    job = tiny_job("ann", clips, config, label_smoothing=0.5, votes=votes)
    normalization = Normalization(kind="global", mean=[0.0] * 40, std=[1.0] * 40, prior_frames=1, horizon_frames=1)
    model = network_for(job, job.settings, normalization, SPEC, frames=24, labels=config.labels)
    model.layers[-1].kernel.assign(20.0 * model.layers[-1].kernel)  # sure of something, so that smoothing matters
    windows = np.random.default_rng(0).normal(size=(30, 24, 40)).astype(np.float32)
    said = model.predict(windows, verbose=0)
    truth = np.where(np.arange(30) < 20, said.argmax(axis=1), 0)  # mostly right, which smoothing does not reward
    wanted = metrics.measures(truth, said, config.labels)
    given = np.eye(7, dtype=np.float32)[truth] if votes else truth
    found = compiled(model, job.recipe, steps=1).evaluate(windows, given, return_dict=True, verbose=0)
    assert found["cross_entropy"] == pytest.approx(wanted["cross_entropy"], rel=1e-4)
    assert found["accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["loss"] > found["cross_entropy"] + 0.1


def test_few_steps_settle_the_statistics_of_batchnorm(lab):
    """At a momentum of many steps, a network of few would be used with those that it began with."""
    config = TrainConfig()
    split = Split(protocol="random", fold="0", seed=0, train=list(range(640)), validation=[], test=[640])

    def momentum(network: str, epochs: int) -> float:
        return job_of(network, "default", split, config, epochs=epochs).settings.momentum

    assert [momentum("causal_cnn", epochs) for epochs in (1, 2, 100)] == [0.0, 0.5, 0.95]  # 10 steps an epoch
    assert [momentum("cnn", epochs) for epochs in (2, 100)] == [0.5, 0.9]
    assert not hasattr(job_of("ann", "study", split, config, epochs=1).settings, "momentum")


def test_too_short_a_training_is_said_to_be():
    recipe = TrainConfig().recipe("default", "causal_cnn")[0]
    asked = msgspec.structs.replace(recipe, epochs=6)
    assert too_short(192, asked) == (
        "too short a training: 18 steps (6 epochs of 3), where the recipe wants 1800: leave --epochs out, or ask for "
        "600"
    )
    split = Split(protocol="kfold", fold="0", seed=0, train=list(range(192)), validation=[], test=[192])
    jobs = [job_of("causal_cnn", "default", split, TrainConfig(), epochs=epochs) for epochs in (None, 600, 6)]
    assert [bool(too_short(192, job.recipe)) for job in jobs] == [False, False, True]


def test_of_few_clips_there_are_more_epochs(lab):
    _, config, clips = lab
    recipe = {"epochs": 3, "batch_size": 16, "least_steps": 18, "networks": {}}
    asked = tiny_config(lab[0], recipes={"study": RecipeFor(**recipe)})
    split = tiny_job("ann", clips, config).split  # 68 clips: 5 steps an epoch

    def epochs(count: int, **asked_for: int) -> int:
        part = msgspec.structs.replace(split, train=split.train[:count])
        return job_of("ann", "study", part, asked, **asked_for).recipe.epochs

    assert [epochs(68), epochs(32), epochs(32, epochs=2)] == [4, 9, 2]
    more = tiny_config(lab[0], recipes={"study": RecipeFor(**recipe | {"epochs": 50})})
    assert job_of("ann", "study", split, more).recipe.epochs == 50


def test_a_fold_of_many_speakers_has_a_name_that_a_file_system_takes():
    config = TrainConfig()
    names = ["CREMA-D:" + "+".join(map(str, range(1_001, last))) for last in (1_090, 1_091)]
    folds = [Split(protocol="unheard", fold=fold, seed=0, train=[0], validation=[], test=[1]) for fold in names]
    first, second = (job_of("ann", "study", fold, config).name for fold in folds)
    assert first != second
    assert len(first) < 200
    assert first.startswith("ann-unheard-crema-d-1001-1002")


def test_unrolled_for_training_it_is_the_same_network(lab, plain, monkeypatch):
    from train.fitting import fit as training

    looped = plain("rnn")
    monkeypatch.setattr(training, "UNROLL_FROM_STEPS", 1)
    unrolled = fitted(lab, plain_job(lab, "rnn"), "unrolled")
    np.testing.assert_allclose(unrolled.logits("test"), looped.logits("test"), atol=2e-3)
    assert not any(getattr(layer, "unroll", False) for layer in unrolled.model.layers)


def test_trained_in_16_bits_it_is_a_network_of_32(lab, plain):
    run = fitted(lab, plain_job(lab, "causal_cnn", precision="mixed_bfloat16"), "bfloat16")
    assert {layer.dtype_policy.name for layer in run.model.layers} == {"float32"}
    whole = plain("causal_cnn")
    assert run.record.curves["loss"] != whole.record.curves["loss"]
    np.testing.assert_allclose(run.logits("test"), whole.logits("test"), atol=0.2)


def test_first_weights_depend_on_the_seed_alone(lab):
    import random

    from train.fitting.fit import initialize

    def weights(name, seed):
        random.seed()  # whatever the process did before
        model = registry.module(name).build(getattr(lab[1].networks, name), frames=24, coefficients=40, labels=7)
        initialize(model, seed)
        return np.concatenate([value.ravel() for value in model.get_weights()])

    for name in registry.NAMES:
        assert np.array_equal(weights(name, 0), weights(name, 0))
        assert not np.array_equal(weights(name, 0), weights(name, 1))


def test_the_saved_network_gives_the_saved_logits(lab, plain):
    from train.data.features import Cache, utterance_frames
    from train.data.windows import windows_of

    run = runs.load_run(plain("cnn").folder)
    frames = utterance_frames(run.clips("test"), SPEC, Cache(lab[1].cache))
    windows = windows_of(frames, run.record.normalization, run.record.window_frames)
    assert np.allclose(run.model.predict(windows, verbose=0), run.logits("test"), atol=1e-5)


AT_WORK = {"augment": True, "balance": True, "trim": True, "label_smoothing": 0.1, "schedule": "cosine", "warmup": 0.2,
           "optimizer": "adamw", "weight_decay": 0.01, "clip_norm": 1.0, "epochs": 5}  # fmt: skip


@pytest.mark.parametrize(
    ("network", "recipe"), [("cnn", {"epochs": 5}), ("cnn", AT_WORK), ("causal_cnn", AT_WORK | {"contrast": 0.3})],
    ids=["study", "everything", "contrast"],
)  # fmt: skip
def test_stopped_and_resumed_is_the_same_training(lab, network, recipe):
    folder, config, clips = lab
    job = tiny_job(network, clips, config, **recipe)  # dropout and BatchNorm: the most state
    name = f"resume-{len(recipe)}"

    def stop(epoch, epochs, figures):
        if epoch == 2:
            raise KeyboardInterrupt

    whole = fitted(lab, job, f"{name}-whole")
    with pytest.raises(KeyboardInterrupt):
        fitted(lab, job, f"{name}-cut", report=stop)
    with pytest.raises(InputError, match="not a finished run: its training stopped after 2 epochs; the command that"):
        runs.load_run(folder / f"{name}-cut")
    assert checkpoint.epochs_done(folder / f"{name}-cut") == 2
    told: list[tuple[int, bool]] = []
    again = fitted(lab, job, f"{name}-cut", report=lambda done, of, figures: told.append((done, bool(figures))))
    assert told == [(2, False), (3, True), (4, True), (5, True)]
    assert again.record.curves == whole.record.curves
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_the_chosen_epoch_is_the_best_on_validation(lab):
    _, config, clips = lab
    run = fitted(lab, tiny_job("rnn", clips, config, choose="validation", epochs=6, learning_rate=0.05), "chosen")
    curve = run.record.curves["val_uar"]
    assert curve[run.record.chosen_epoch - 1] == max(curve)
    assert run.record.metrics["validation"]["uar"] == pytest.approx(max(curve), abs=1e-6)


def test_contrast_counts_in_the_loss_alone(lab, plain):
    with_it, without = fitted(lab, plain_job(lab, "causal_cnn", contrast=0.5), "contrast"), plain("causal_cnn")
    assert with_it.record.curves["loss"][0] > without.record.curves["loss"][0] + 0.5
    assert with_it.record.curves["loss"][0] > with_it.record.curves["cross_entropy"][0] + 0.5
    assert without.record.curves["loss"] == pytest.approx(without.record.curves["cross_entropy"], rel=1e-4)
    compared = {"val_cross_entropy", "val_accuracy", "val_uar"}
    assert {name for name in without.record.curves if name.startswith("val_")} == compared
    assert with_it.record.curves.keys() >= without.record.curves.keys()
    assert with_it.model.output_shape == without.model.output_shape
    assert not np.array_equal(with_it.logits("test"), without.logits("test"))
    with pytest.raises(ConfigError, match="contrast: cnn answers once a clip and cannot use it"):
        fitted(lab, plain_job(lab, "cnn", contrast=0.5), "contrast-cnn")


def test_contrast_by_hand():
    """Each sum written out as in the paper, a voice's own clips left out of the numerator."""
    from train.fitting.contrast import TEMPERATURE, loss

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 5)).astype(np.float32)
    labels, voices = [0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 1, 1, 0, 0, 1, 2, 3, 3]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for one, found in enumerate(np.asarray(loss(np.stack([labels, voices], axis=1).astype(np.int32), vectors))):
        others = [other for other in range(9) if other != one]
        below = sum(np.exp(unit[one] @ unit[other] / TEMPERATURE) for other in others)
        drawn = [other for other in others if labels[other] == labels[one] and voices[other] != voices[one]]
        terms = [-np.log(np.exp(unit[one] @ unit[other] / TEMPERATURE) / below) for other in drawn]
        assert found == pytest.approx(np.mean(terms) if terms else 0.0, rel=1e-4)


def test_another_training_s_folder_is_refused(lab, plain):
    taken = plain("ann").folder.name
    with pytest.raises(ConfigError, match="holds a training of other settings"):
        fitted(lab, plain_job(lab, "ann", batch_size=8), taken)


def test_an_epoch_s_curves_are_in_the_tensorboard_log(plain):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = plain("ann")
    log = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    tags = log.Tags()["tensors"]
    assert {"loss", "accuracy", "cross_entropy", "val_cross_entropy", "val_uar"} <= set(tags)
    values = [float(event.tensor_proto.float_val[0]) for event in log.Tensors("loss")]
    assert values == pytest.approx(run.record.curves["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # several processes that each load Keras
def test_killed_at_epoch_30_and_resumed(tmp_path):
    """kill -9, the real thing: the same curves and the same weights as a training that nobody disturbed."""
    corpus, config = write_corpus(tmp_path), write_config(tmp_path)
    options = ("fit", "--network", "gru", "--config", config, "--data", corpus, "--epochs", "60")
    run_train(*options, "--out", tmp_path / "whole")
    process = start_train(*options, "--out", tmp_path / "killed")
    folder = tmp_path / "killed" / "gru-random-0-seed0"
    while checkpoint.epochs_done(folder) < 30:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert 30 <= checkpoint.epochs_done(folder) < 60
    run_train(*options, "--out", tmp_path / "killed")
    whole, again = runs.load_run(tmp_path / "whole" / folder.name), runs.load_run(folder)
    assert again.record.curves == whole.record.curves
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(one, other)
