"""What a label may be: the same answer in training, conversion and the sensor."""

import msgspec
import pytest
import yaml

from convert.config import ConvertConfig
from convert.make import make
from edge.errors import ArtifactError, ConfigError
from edge.labels import QUIET, UNKNOWN, trouble
from edge.model.artifact import read_artifact
from edge.model.manifest import decode, encode
from tests.support.artifacts import WINDOW
from train.__main__ import main
from train.config import LABELS, TrainConfig
from train.data.features import Cache
from train.fitting import runs

UNFIT = {
    "ours": [QUIET, "happy"],
    "ours, too": ["happy", UNKNOWN],
    "Home Assistant's": ["happy", "unavailable"],
    "a capital": ["Happy", "sad"],
    "an apostrophe": ["it's", "sad"],
    "an underscore": ["pleasant_surprise", "sad"],
    "nothing": ["", "sad"],
    "a blank around it": [" happy", "sad"],
    "a line end": ["happy\n", "sad"],
    "a control character": ["happ\x07y", "sad"],
    "a lone surrogate": ["happy\ud83d", "sad"],
    "a slash": ["happy/sad", "sad"],
    "another script": ["怒り", "sad"],
    "a hyphen first": ["-happy", "sad"],
    "too long": ["a" * 65, "sad"],
    "one label": ["happy"],
    "none": [],
    "one twice": ["happy", "sad", "happy"],
}


@pytest.fixture(params=UNFIT.values(), ids=UNFIT)
def unfit(request) -> list[str]:
    return request.param


@pytest.mark.parametrize("labels", [LABELS, ("fear", "joy"), ("calm", "tense-up", "a" * 32), ("other", "speech")])
def test_labels_that_will_do(labels):
    assert trouble(labels) is None
    assert TrainConfig(labels=labels).labels == labels


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["bored", "very excited"], "'very excited' cannot be a label: expected 1 to 32 of a-z and -, a letter first; "
         "write very-excited; for folders, train.words: {very excited: very-excited}"),
        (["Wütend", "calm-", "mood_2"], "'Wütend' cannot be a label: expected 1 to 32 of a-z and -, a letter first; "
         "write wutend; for folders, train.words: {wütend: wutend, mood_2: mood}"),
        (["Happy", "sad"], "'Happy' cannot be a label: expected 1 to 32 of a-z and -, a letter first; write happy"),
        (["怒り", "sad"], "'怒り' cannot be a label: expected 1 to 32 of a-z and -, a letter first"),
        (["a quiet ", "_quiet"], "'a quiet ' cannot be a label: expected 1 to 32 of a-z and -, a letter first; "
         "write a-quiet; for folders, train.words: {a quiet: a-quiet}"),  # quiet is taken
    ],
)  # fmt: skip
def test_whoever_writes_a_label_otherwise_is_told_how(labels, says):
    with pytest.raises(ValueError, match="labels: ") as refused:
        TrainConfig(labels=labels)
    assert str(refused.value) == f"labels: {says}"


def test_training_refuses_them_before_anything_else(unfit, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"train": {"labels": unfit}}))
    for verb in ("index", "fit --network ann --data", "compare --data"):
        assert main([*verb.split(), str(tmp_path / "nowhere"), "--config", str(config)]) == 78
        (line,) = capsys.readouterr().err.splitlines()
        # Half a character is no text, wherever it stands in the file.
        half = any("\ud800" <= letter <= "\udfff" for letter in "".join(unfit))
        where = f"error: {config}:3: not valid YAML" if half else f"error: {config}: train: labels: "
        assert line.startswith(where)
        assert len(line) < 300
        assert "regex" not in line


def test_conversion_refuses_a_run_that_has_them(unfit, tmp_path):
    record = msgspec.convert(
        {
            "name": "old", "network": "ann", "settings": {}, "recipe": {}, "labels": unfit, "features": {},
            "normalization": {"kind": "global", "mean": [0.0], "std": [1.0], "prior_frames": 1, "horizon_frames": 1},
            "window_frames": 24, "protocol": "random", "fold": "0", "split_seed": 0, "seed": 0, "corpora": [],
            "commit": "", "created": "", "versions": {}, "epochs": 1, "chosen_epoch": 1, "curves": {}, "seconds": 1.0,
            "metrics": {}, "device": "",
        },
        runs.RunRecord,
    )  # fmt: skip
    run = runs.Run(tmp_path / "old", record)
    out, config = tmp_path / "old.tflite", ConvertConfig()
    with pytest.raises(ConfigError, match="old: labels: "):
        make(run, precision="float32", form="window", out=out, config=config, cache=Cache(tmp_path))
    assert not out.exists()


def test_the_sensor_refuses_an_artifact_that_has_them(unfit):
    manifest = read_artifact(WINDOW).manifest
    assert decode(encode(manifest)) == manifest
    data = msgspec.to_builtins(manifest) | {"labels": [label.encode("utf-8", "replace").decode() for label in unfit]}
    with pytest.raises(ArtifactError, match="manifest: labels: "):
        decode(msgspec.json.encode(data))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"Joy": "happy"}, "words: 'Joy': write it as 'joy'"),
        ({" joy": "happy"}, "words: ' joy': write it as 'joy'"),
        ({"bored": "boredom"}, "words: 'bored' leads to 'boredom', which is none of labels"),
        ({"sad": "happy"}, "words: 'sad' leads to 'happy', but is itself one of labels: take one of them out"),
        ({"sad": None}, "words: 'sad' leads to null, but is itself one of labels"),
    ],
)
def test_words_that_lead_nowhere(words, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(labels=("happy", "sad"), words=words)


def test_words_lead_to_labels_or_out():
    config = TrainConfig(labels=("happy", "sad"))
    assert [config.label(word) for word in ("happy", " Joy ", "SADNESS", "boredom")] == ["happy", "happy", "sad", None]
    for word, said in (("anger", "label 'anger' means 'angry', which is neither one of happy, sad"),
                       ("anger", "write anger: LABEL there, or anger: null to leave"), ("", "missing")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            config.label(word)


def test_a_word_that_is_itself_a_label_wins_over_the_usual_list():
    for labels in (("calm", "tense"), ("calm", "neutral"), ("joy", "boredom")):
        config = TrainConfig(labels=labels)
        assert [config.label(f" {label.upper()}") for label in labels] == list(labels)
    assert TrainConfig(labels=("happy", "neutral")).label("calm") == "neutral"
