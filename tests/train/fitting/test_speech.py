"""The speech gate's training: a stopped one goes on, and it becomes an artifact."""

import msgspec
import numpy as np
import pytest

from edge.errors import ArtifactError, ConfigError
from edge.hearing.gate import SPEECH_LABELS, load_speech_gate
from tests.support.lab import SPEC, start_train, tiny_clips, tiny_config, write_config
from tests.support.tiny_corpus import write_corpus
from train.config import Recipe, Scenes
from train.fitting.job import Job
from train.fitting.speech import require_usable, scenes_of, train_speech
from train.study.protocols import splits


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    config = tiny_config(folder, scenes=Scenes(train=8, test=4))
    clips = tiny_clips(folder, config)
    job = Job(
        name="speech",
        network="speech",
        recipe=Recipe(epochs=3, batch_size=4, learning_rate=3e-3, optimizer="adamw", schedule="cosine", warmup=0.2),
        settings=config.networks.speech,
        split=splits("speech", clips, _with_test(config))[0],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.augmentation.scenes.PER_SHARD", 10)  # so many are made, whoever asks for fewer
        return folder, job, clips, scenes_of(job, clips, [], config, SPEC, lambda *_: None)


def _with_test(config):
    protocols = msgspec.structs.replace(config.protocols, speech_test={"TESS": ["YAF"]})
    return msgspec.structs.replace(config, protocols=protocols)


def test_stopped_and_resumed_it_is_the_same_network(lab):
    folder, job, clips, made = lab

    def stop(done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = train_speech(job, made, clips, [], SPEC, folder=folder / "whole", tell=lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        train_speech(job, made, clips, [], SPEC, folder=folder / "parts", tell=stop)
    parts = train_speech(job, made, clips, [], SPEC, folder=folder / "parts", tell=lambda *_: None)
    assert whole.record.curves == parts.record.curves
    for one, other in zip(whole.model.get_weights(), parts.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.record.labels == list(SPEECH_LABELS)
    assert whole.record.metrics["noise"] == []
    assert {clip.speaker for clip in whole.clips("test")} == {"YAF"}


def test_it_becomes_an_artifact_that_is_a_speech_gate(lab, tmp_path):
    """Converted, verified against Keras on scenes that end anywhere, and loaded as the sensor loads it."""
    from convert.config import ConvertConfig
    from convert.make import make
    from train.data.features import Cache

    folder, job, clips, made = lab
    run = train_speech(job, made, clips, [], SPEC, folder=folder / "whole", tell=lambda *_: None)
    config = ConvertConfig(second_runtime=None)
    out = tmp_path / "speech.tflite"
    result = make(run, precision="int8", form="step", out=out, config=config, cache=Cache(tmp_path))
    assert result.verification.clips == 16
    assert result.verification.devices[0].probs_difference < 0.2
    assert result.path == str(out), result.verification.failures
    gate = load_speech_gate(SPEC, out)
    gate.reset(np.zeros(SPEC.overlap_samples, np.float32))
    assert 0 <= gate.process(np.zeros(SPEC.block_samples, np.float32), np.zeros((4, 40), np.float32)) <= 1
    with pytest.raises(ArtifactError, match="has the step form, not window"):
        make(run, precision="int8", form="window", out=out, config=config, cache=Cache(tmp_path))


@pytest.mark.parametrize(
    "what",
    [
        {"least_steps": 9}, {"contrast": 0.3}, {"precision": "mixed_bfloat16"}, {"choose": "validation"},
        {"pretraining": 5},
    ],
)
def test_what_its_training_does_not_do_is_refused(what):
    require_usable(Recipe(epochs=2, batch_size=8, label_smoothing=0.1, normalization="running"))
    with pytest.raises(ConfigError, match=f"train.recipes.speech.{next(iter(what))}: .* has none"):
        require_usable(Recipe(**what))


def test_the_command_refuses_a_class_of_noise_that_is_not_there(tmp_path):
    corpus = write_corpus(tmp_path)
    noise = tmp_path / "noise" / "rain"
    noise.mkdir(parents=True)
    (noise / "1-rain.wav").write_bytes(next(corpus.glob("*/*.wav")).read_bytes())
    config = write_config(tmp_path, protocols={"speech_test": {"TESS": ["YAF"]}}, recipes={"speech": {}})
    process = start_train(
        "speech", "--data", corpus, "--noise", noise.parent, "--without", "snow", "--config", config,
        "--out", tmp_path / "runs",
    )  # fmt: skip
    _, err = process.communicate()
    assert process.returncode == 66, err
    assert "--without snow: no such folder in" in err
    assert "there are rain" in err
    assert "Traceback" not in err
