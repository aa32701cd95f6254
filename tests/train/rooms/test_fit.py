"""The training of a network of utterances: a stopped one goes on, and it becomes an artifact that the sensor plays."""

import json

import msgspec
import numpy as np
import pytest

from edge.errors import ArtifactError, ConfigError
from edge.features.baseline import Baseline
from edge.features.functionals import names
from edge.model.artifact import load
from tests.support.lab import SPEC, run_train, tiny_config, write_config
from tests.support.tiny_corpus import write_corpus
from train.config import Recipe
from train.data.features import Cache
from train.data.index import scan
from train.fitting.job import Job
from train.fitting.runs import ROOMS
from train.networks import utterance
from train.rooms.fit import train_rooms
from train.rooms.pretrain import pretrain
from train.rooms.utterances import utterances
from train.sizes import Utterance
from train.study.protocols import splits

SETTINGS = Utterance(members=2, units=8)


def silent(*_):
    pass


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    config = tiny_config(folder)
    clips = scan([write_corpus(folder, seconds=0.7)], config).clips
    clips, heard, _ = utterances(clips, SPEC, Cache(config.cache), 2, silent)
    job = Job(
        name="rooms",
        network="utterance",
        recipe=Recipe(
            epochs=8, pretraining=6, batch_size=16, learning_rate=3e-3, optimizer="adamw", label_smoothing=0.1
        ),
        settings=SETTINGS,
        split=splits("speaker", clips, config)[0],
    )
    return folder, config, job, clips, heard


def trained(lab, name: str, tell=silent):
    folder, config, job, clips, heard = lab
    return train_rooms(job, clips, heard, config.labels, SPEC, folder=folder / name, tell=tell)


@pytest.fixture(scope="module")
def whole(lab):
    """A finished training, for all tests that ask for one."""
    return trained(lab, "whole")


def test_stopped_and_resumed_it_is_the_same_network(lab, whole):
    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(lab, "parts", stop)
    parts = trained(lab, "parts")
    assert whole.record.curves == parts.record.curves
    for one, other in zip(whole.model.get_weights(), parts.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_learns_and_says_how_its_inputs_are_made(whole):
    record = whole.record
    assert record.curves["loss"][-1] < record.curves["loss"][0]
    assert record.functionals == names(SPEC)
    assert len(record.baseline.mean) == len(record.functionals)
    assert record.normalization is None
    assert record.metrics["test"]["uar"] > 1.5 / 7  # another speaker of the made-up corpus


def test_a_folder_of_another_training_is_refused(lab, whole):
    _, config, job, clips, heard = lab
    other = Job(**{field: getattr(job, field) for field in job.__struct_fields__} | {"seed": 1})
    with pytest.raises(ConfigError, match="other settings or data"):
        train_rooms(other, clips, heard, config.labels, SPEC, folder=whole.folder, tell=silent)


def voices_of_two_kinds(rows: int) -> np.ndarray:
    """Return float32 (rows, 6): three numbers, and three that are told by them."""
    first = np.random.default_rng(0).normal(size=(rows, 3))
    return np.concatenate([first, first[:, ::-1]], axis=1).astype(np.float32)


def test_before_its_labels_it_learns_what_goes_together():
    """Where three of six numbers tell the others, what is missing can be given back; where none does, it cannot."""
    told = voices_of_two_kinds(400)
    alone = np.random.default_rng(1).normal(size=told.shape).astype(np.float32)
    wrong = {}
    for name, given in {"told": told, "alone": alone}.items():
        model = utterance.build(Utterance(members=2, units=32, dropout_inputs=0.0, dropout=0.0), inputs=6, labels=3)
        ends = [layer for layer in model.layers if layer.name.startswith("logits_")]
        began = [end.get_weights() for end in ends]
        found = pretrain(
            model, lambda given=given: given, epochs=20, batch_size=8, rng=np.random.default_rng(2), tell=silent
        )
        assert len(found) == 20
        assert found[-1] < found[0]
        wrong[name] = found[-1]
        for end, before in zip(ends, began, strict=True):
            np.testing.assert_array_equal(end.get_weights()[0], before[0])
    # Nobody can tell a number that is missing and alone: three in ten are, and each is wrong by its square, 1.
    assert wrong["alone"] > 0.25
    assert wrong["told"] < 0.6 * wrong["alone"]


def test_pretraining_is_what_a_network_begins_with(lab):
    folder, config, job, clips, heard = lab
    told: list[str] = []
    kept = trained(lab, "begun", lambda done, total, note: told.append(note)).record
    assert sum("before its labels" in note for note in told) == 6
    none = msgspec.structs.replace(job, recipe=msgspec.structs.replace(job.recipe, pretraining=0))
    without = train_rooms(none, clips, heard, config.labels, SPEC, folder=folder / "none", tell=silent).record
    assert kept.curves["loss"][0] != without.curves["loss"][0]
    assert len(without.curves["loss"]) == len(kept.curves["loss"]) == 8


def test_the_networks_together_say_the_mean_of_what_they_say():
    model = utterance.build(SETTINGS, inputs=5, labels=3)
    given = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    each = model.predict(given, verbose=0)
    assert each.shape == (20, 2, 3)
    np.testing.assert_allclose(
        utterance.together(model, SETTINGS).predict(given, verbose=0), each.mean(axis=1), atol=1e-5
    )


def test_it_becomes_an_artifact_that_hears_against_a_room(whole, tmp_path):
    """Converted to int8, verified against Keras on the test side's rooms, and asked as the sensor asks."""
    from convert.config import ConvertConfig, Gates
    from convert.make import make

    config = ConvertConfig(second_runtime=None, gates={"any": Gates(agreement=0.9, accuracy_loss=0.1, recall_loss=1)})
    out = tmp_path / "rooms.tflite"
    result = make(whole, precision="int8", form="utterance", out=out, config=config, cache=Cache(tmp_path))
    assert result.path == str(out), result.verification.failures
    assert result.verification.devices[0].probs_difference < 0.1
    artifact, model = load(out)
    with np.load(whole.folder / ROOMS) as file:
        given = file["test"][0]
    expected = whole.model.predict(given[None], verbose=0)[0]
    assert np.argmax(model.answer(given)) == np.argmax(expected)
    assert artifact.manifest.baseline == whole.record.baseline
    assert Baseline(artifact.manifest.baseline).against(np.zeros(len(names(SPEC)), np.float32)).shape == given.shape
    with pytest.raises(ArtifactError, match="has the utterance form, not step"):
        make(whole, precision="int8", form="step", out=out, config=config, cache=Cache(tmp_path))


@pytest.mark.slow
def test_the_commands_from_corpora_to_the_report_of_strangers(tmp_path):
    """Two corpora of made-up voices, a fold per voice and per corpus, every one an int8 artifact judged in rooms."""
    write_corpus(tmp_path)
    (tmp_path / "other").mkdir()
    rows = ["path,label,speaker,corpus"]
    for path in sorted((tmp_path / "TESS").rglob("*.wav")):
        speaker, _, label = path.stem.split("_")
        copy = tmp_path / "other" / f"{path.stem}.wav"
        content = bytearray(path.read_bytes())
        content[-2] ^= 1  # another sound, by a hair
        copy.write_bytes(content)
        rows.append(f"{copy},{label},other {speaker},other")
    table = tmp_path / "other.csv"
    table.write_text("\n".join(rows) + "\n")
    recipe = {"epochs": 3, "batch_size": 32, "optimizer": "adamw", "learning_rate": 3e-3}
    config = write_config(tmp_path, recipes={"rooms": recipe}, places=1)
    done = run_train(
        "rooms", "--protocol", "unheard", "--config", config, "--data", tmp_path / "TESS", table, "--out",
        tmp_path / "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 6
    from convert import strangers

    gates = "{any: {agreement: 0.5, accuracy_loss: 0.5, recall_loss: 1}}"
    config.write_text(f"{config.read_text()}\nconvert: {{second_runtime: null, gates: {gates}}}\n")
    assert strangers.main([str(tmp_path / "runs"), "--out", str(tmp_path / "report"), "--config", str(config)]) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(found["unseen"]) == {"TESS", "other"}
    assert found["voices"]["TESS"]["folds"] == 2
    assert len(found["unseen"]["TESS"]["uar"]) == 9
    assert "| TESS |" in (tmp_path / "report" / "report.md").read_text()
