"""The report of what lessons are worth, from ears that are made up and hear labels plainly, or nothing at all."""

import json

import numpy as np
import pytest

from convert.taught import _pairs, curves, main, measure, table
from edge.model.artifact import read_artifact
from tests.support.artifacts import MOMENTS, STEP
from tests.support.tiny_corpus import WORDS, write_corpus
from tests.train.rooms.voices import clips_of
from train.data.clip import Clip
from train.study.taught import Scenario

LABELS = ["angry", "happy", "neutral", "sad", "surprise"]
CLIPS = clips_of("here", voices=3, labels=("angry", "happy", "neutral", "sad"), each=8)
SOME = [Scenario(name="1 voice", lessons=(0, 1, 3, 5)), Scenario(name="only two labels taught", two=True)]


class MadeUpEar:
    """Embeddings in which a label moves one number by `apart`; the model always says *neutral*."""

    def __init__(self, apart: float) -> None:
        rng = np.random.default_rng(0)
        self._rows = rng.normal(size=(len(CLIPS), 8)).astype(np.float32)
        for row, clip in zip(self._rows, CLIPS, strict=True):
            row[LABELS.index(clip.label)] += apart

    def embeddings(self, condition: str) -> np.ndarray:
        return self._rows

    def probs(self, past: np.ndarray, those: np.ndarray, condition: str) -> np.ndarray:
        return np.tile(np.array([0.15, 0.15, 0.4, 0.15, 0.15], np.float32), (len(those), 1))


@pytest.fixture(scope="module")
def found():
    return {"kinds": {"made up": {"here": measure(MadeUpEar(6.0), CLIPS, LABELS, SOME)}}}


def test_untaught_it_is_the_model_and_taught_it_hears_what_embeddings_tell(found):
    rows = found["kinds"]["made up"]["here"]["scenarios"]["1 voice"]
    assert rows["0"]["uar"] == 0.25
    assert rows["0"]["in_use"] == 0
    assert rows["5"]["uar"] > 0.95
    assert rows["5"]["rooms"] == 3
    assert curves(found)["made up"]["here"][5] == rows["5"]["uar"]


def test_embeddings_that_tell_nothing_teach_nothing():
    rows = measure(MadeUpEar(0.0), CLIPS, LABELS, SOME)["scenarios"]["1 voice"]
    assert abs(rows["5"]["uar"] - 0.25) < 0.1


def test_a_label_that_was_not_taught_loses_nothing(found):
    rows = found["kinds"]["made up"]["here"]["scenarios"]["only two labels taught"]
    assert rows["5"]["others"] > -0.02


def test_a_speaker_is_named_where_embeddings_name_one():
    ear = MadeUpEar(0.0)
    voices = {clip.speaker for clip in CLIPS}
    assert measure(ear, CLIPS, LABELS, SOME[:1])["names_the_speaker"]["right"] < 0.55
    for row, clip in zip(ear.embeddings(""), CLIPS, strict=True):
        row[5 + sorted(voices).index(clip.speaker)] += 9
    told = measure(ear, CLIPS, LABELS, SOME[:1])["names_the_speaker"]
    assert told["right"] > 0.9
    assert told["chance"] == pytest.approx(1 / 3)


def test_the_table_says_it_all(found):
    text = table(found)
    row = found["kinds"]["made up"]["here"]["scenarios"]["1 voice"]["3"]
    assert f"| 1 voice | 3 | {100 * row['uar']:.1f} | {100 * (row['uar'] - 0.25):+.1f} |" in text


def test_nobody_is_taught_by_a_model_that_knows_the_voice():
    default = read_artifact(MOMENTS)
    trained = {corpus.name for corpus in default.manifest.provenance.corpora}
    clips = [Clip(path="x", corpus=corpus, speaker="a", label="sad") for corpus in sorted({*trained, "another"})]
    assert _pairs([default, default], clips) == [(default, "another")]


def test_the_command_measures_and_says_what_it_cannot(tmp_path, capsys):
    corpus = write_corpus(tmp_path, words=WORDS[:4])
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"train": {"cache": str(tmp_path / "cache")}}))
    rows = [f"{path},{path.parent.name.split('_')[1]},{path.name[:3]},ours" for path in sorted(corpus.rglob("*.wav"))]
    rows = [row.replace(",ps,", ",surprise,") for row in rows]
    (tmp_path / "ours.csv").write_text("\n".join(["path,label,speaker,corpus", *rows]))
    common = ["--noise", str(corpus), "--out", str(tmp_path / "report"), "--config", str(config)]
    assert main([str(MOMENTS), "--data", str(tmp_path / "ours.csv"), *common]) == 0
    made = json.loads((tmp_path / "report" / "report.json").read_text())
    assert made["kinds"]["causal_cnn"]["ours"]["voices"] == 2
    assert table(made) == (tmp_path / "report" / "report.md").read_text()
    assert (tmp_path / "report" / "lessons.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main([str(MOMENTS), "--data", str(corpus), *common]) == 66
    assert "no corpus in it" in capsys.readouterr().err
    assert main([str(STEP), "--data", str(tmp_path / "ours.csv"), *common]) == 65
    assert "has no embedding" in capsys.readouterr().err
