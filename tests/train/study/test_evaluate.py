"""Evaluation: one JSON object about anyone's clips, from a checkpoint and from an artifact."""

import csv
import json
import shutil

import numpy as np
import pytest

from edge.errors import ArtifactError, InputError
from tests.support.artifacts import MOMENTS, UTTERANCE
from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job, write_config
from train.__main__ import main
from train.study import evaluate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from train.fitting.fit import fit

    folder = tmp_path_factory.mktemp("lab")
    config = tiny_config(folder)
    clips = tiny_clips(folder, config)
    return fit(tiny_job("ann", clips, config, epochs=6), clips, config, SPEC, folder=folder / "ann"), config


def write_table(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_the_figures_are_counted_from_the_network_s_answers(run, tmp_path, capsys, reading):
    done, config = run
    clips = done.clips("test") + done.clips("validation")
    write_table(tmp_path / "t.csv", [(clip.path, clip.label) for clip in clips])
    arguments = ["evaluate", str(done.folder), "--index", str(tmp_path / "t.csv"), "--json", "--reading", reading]
    assert main([*arguments, "--config", str(write_config(tmp_path))]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    model = evaluate.open_model(done.folder / "model.keras")
    from train.data.features import Cache, clip_frames

    said = [
        model.labels[int(np.argmax(model.answer(clip_frames(clip, SPEC, Cache(config.cache)), reading)))]
        for clip in clips
    ]
    right = [answer == clip.label for answer, clip in zip(said, clips, strict=True)]
    assert found["n"] == len(clips) == 16
    assert found["accuracy"] == pytest.approx(sum(right) / 16)
    recalls = {
        label: np.mean([hit for hit, clip in zip(right, clips, strict=True) if clip.label == label])
        for label in {clip.label for clip in clips}
    }
    assert {label: value for label, value in found["recall"].items() if value is not None} == pytest.approx(recalls)
    assert found["uar"] == pytest.approx(np.mean(list(recalls.values())))
    assert np.sum(found["confusion"]) == 16
    assert 0 <= found["ece"] <= 1


def test_labels_the_model_lacks_are_counted_and_named(run, tmp_path):
    done, config = run
    first, second, third = done.clips("test")[:3]
    shutil.copy(third.path, tmp_path / "broken.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    write_table(
        tmp_path / "t.csv",
        [(first.path, first.label), (second.path, "boredom"), (third.path, "Schadenfreude"), ("broken.wav", "sad")],
    )
    found = evaluate.evaluate(evaluate.open_model(done.folder), [tmp_path / "t.csv"], config)
    assert found["n"] == 1
    assert found["lacking"] == {
        "Schadenfreude": {"n": 1, "clips": [third.path]},
        "boredom": {"n": 1, "clips": [second.path]},
    }
    assert [line.split(": ")[0] for line in found["unreadable"]] == [str(tmp_path / "broken.wav")]


def test_of_other_labels_only_they_are_named_apart_from_what_cannot_be_read(run, tmp_path):
    done, config = run
    first, second, third = done.clips("test")[:3]
    model = evaluate.open_model(done.folder)
    write_table(tmp_path / "t.csv", [(first.path, "bored"), (second.path, "excited"), (third.path, "bored")])
    with pytest.raises(InputError) as refused:
        evaluate.evaluate(model, [tmp_path / "t.csv"], config)
    assert str(refused.value) == (
        f"{tmp_path}/t.csv: no clip that can be read has a label of the model ({', '.join(model.labels)}): they are "
        "bored (2), excited (1); train.words says which label a word means"
    )
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    write_table(tmp_path / "t.csv", [(first.path, "bored"), ("broken.wav", "sad")])
    with pytest.raises(InputError, match=rf"they are bored \(1\).*; left out: {tmp_path}/broken\.wav: not a readable"):
        evaluate.evaluate(model, [tmp_path / "t.csv"], config)


def test_the_interval_is_over_speakers_where_there_are_enough(run, capsys, tmp_path):
    done, config = run
    clips = done.clips("test")
    with open(tmp_path / "t.csv", "w", newline="") as file:
        rows = [(clip.path, clip.label, f"voice {number % 4}") for number, clip in enumerate(clips)]
        csv.writer(file).writerows([("path", "label", "speaker"), *rows])
    model = evaluate.open_model(done.folder)
    found = evaluate.evaluate(model, [tmp_path / "t.csv"], config)
    assert found["interval_over"] == "speakers"
    assert evaluate.evaluate(model, [done.folder / "split.csv"], config)["interval_over"] == "clips"
    arguments = ["evaluate", str(done.folder), "--index", str(tmp_path / "t.csv"), "--config"]
    assert main([*arguments, str(write_config(tmp_path))]) == 0
    said = capsys.readouterr().out
    low, high = found["accuracy_interval"]
    assert f": 8 clips, accuracy {found['accuracy']:.4f} ({low:.3f} to {high:.3f})\n" in said
    assert "TOO FEW test clips to tell how good it is: with 8 of them an accuracy is up to 35 points off" in said


def test_a_side_of_a_run(run):
    done, config = run
    model = evaluate.open_model(done.folder)
    found = evaluate.evaluate(model, [done.folder / "split.csv"], config, side="test", reading="last")
    assert found["n"] == 8
    assert found["accuracy"] == done.record.metrics["test"]["accuracy"]


def test_clips_that_trained_the_network_are_told(run, tmp_path):
    """Of a run by what trained it, whatever the table says; of an artifact by the table's sides."""
    done, config = run
    nothing = "nothing of a voice that it never heard"
    model, split = evaluate.open_model(done.folder), done.folder / "split.csv"
    trained, tested = (len(done.clips(side)) for side in ("train", "test"))
    clips = trained + tested + len(done.clips("validation"))

    def told(asked, table, **side):
        return evaluate.evaluate(asked, [table], config, **side)["remarks"]

    assert told(model, split) == [
        f"{trained} of these {clips} clips trained it: its figures say {nothing}; --side test"
    ]
    assert told(model, split, side="test") == told(model, split, side="train") == []
    mixed = [(clip.path, clip.label) for side in ("train", "test") for clip in done.clips(side)[:3]]
    write_table(tmp_path / "t.csv", mixed)
    assert told(model, tmp_path / "t.csv") == [f"3 of these 6 clips trained it: its figures say {nothing}"]
    model.trained_on = None
    assert told(model, tmp_path / "t.csv") == told(model, split, side="test") == []
    assert told(model, split) == [
        f"{trained} of these {clips} clips stand on the table's training side: if they trained it, its figures say "
        f"{nothing}; --side test"
    ]


def test_folders_are_judged_as_tables_are(run, tmp_path, capsys):
    """A model's own labels count, whatever the configuration has; other folders' words are said to be lacking."""
    done, config = run
    folder = tmp_path / "mine"
    clips = {clip.label: clip.path for clip in done.clips("test")}
    for label in ("sad", "Happy", "bewildered"):
        (folder / label / "me").mkdir(parents=True)
        shutil.copy(clips.get(label.lower(), clips["fear"]), folder / label / "me" / "x.wav")
    model = evaluate.open_model(done.folder)
    found = evaluate.evaluate(model, [folder / "sad", folder / "Happy"], config)
    assert (found["n"], found["counts"]["sad"], found["counts"]["happy"]) == (2, 1, 1)
    with pytest.raises(InputError, match=r"in no folder named after a label \(first: .*bewildered/me/x.wav\)"):
        evaluate.evaluate(model, [folder], config)
    other = tiny_config(tmp_path, labels=("bewildered", "calm"), words={})
    found = evaluate.evaluate(model, [folder], other)
    assert (found["n"], found["lacking"]["bewildered"]["n"]) == (2, 1)
    with pytest.raises(InputError, match=r"mine: a folder has no sides: --side is for a run's split\.csv"):
        evaluate.evaluate(model, [folder], other, side="test")
    settings = ["--config", str(write_config(tmp_path))]
    shutil.rmtree(folder / "bewildered")
    said = []
    for words in (["--model", str(done.folder)], [str(done.folder)]):
        assert main(["evaluate", *words, "--data", str(folder), *settings]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert ", not calibrated (`convert` does that)\n" in said[0]


@pytest.mark.parametrize("words", [[], ["a", "--model", "b"]])
def test_one_model_is_evaluated(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *words, "--data", "x"])
    assert ended.value.code == 64
    assert "name one model: evaluate MODEL --data DATA..." in capsys.readouterr().err


def test_what_a_calibration_error_is_of_is_said():
    """A run's and its artifact's differ: one is calibrated."""
    said = {
        temperature: evaluate.Answering([], SPEC, None, "a", window_frames=None, temperature=temperature).sureness
        for temperature in (None, 1.0, 1.234567)
    }
    assert list(said.values()) == [
        "not calibrated (`convert` does that)", "not calibrated (temperature 1)", "calibrated (temperature 1.23)"
    ]


def test_what_of_a_clip_the_figures_are_about_is_said(run):
    done, config = run
    found = evaluate.evaluate(evaluate.open_model(done.folder), [done.folder / "split.csv"], config, side="test")
    assert found["figures_of"] == "the last 24 frames of each clip, silence at its ends cut off; the answer at its end"


@pytest.mark.parametrize(
    ("table", "message"),
    [("path,label\n", "no readable sound with a label"), ("file,label\na,b\n", "column path is missing")],
)
def test_tables_that_hold_nothing(run, tmp_path, table, message):
    done, config = run
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        evaluate.evaluate(evaluate.open_model(done.folder), [tmp_path / "t.csv"], config)


def test_what_is_no_model(tmp_path):
    with pytest.raises(InputError, match="no such model"):
        evaluate.open_model(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a finished run"):
        evaluate.open_model(tmp_path)
    with pytest.raises(ArtifactError, match=r"tiny-utterance.tflite: hears utterances against a room's baseline"):
        evaluate.open_model(UTTERANCE)


def test_an_artifact_answers_as_the_sensor_would(run, tmp_path):
    """edge's own model, fed block by block by hand, is the reference."""
    from edge.features.mfcc import mfcc
    from edge.model import artifact
    from edge.sound.recording import load_recording

    done, config = run
    clip = done.clips("test")[0]
    found, model = artifact.load(MOMENTS)
    frames = mfcc(load_recording(clip.path), found.manifest.features)
    model.reset()
    blocks = [model.process(frames[start : start + 4]) for start in range(0, len(frames) - len(frames) % 4, 4)]
    answers = [probs for probs in blocks if probs is not None]
    opened = evaluate.open_model(MOMENTS)
    assert np.allclose(np.exp(opened.answer(frames, "mean")), np.mean(answers, axis=0), atol=1e-6)
    assert np.allclose(np.exp(opened.answer(frames, "last")), answers[-1], atol=1e-6)
    write_table(tmp_path / "t.csv", [(one.path, one.label) for one in done.clips("test")])
    assert evaluate.evaluate(opened, [tmp_path / "t.csv"], config)["n"] == 8
