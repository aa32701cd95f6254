"""What the network of utterances is worth to strangers: each run of `train rooms --protocol unheard`, in rooms.

python -m convert.strangers runs/rooms --out train/reports/rooms

Each run becomes an artifact beside it, which answers its fold's test side in rooms, through the sensor's own baseline
and graph. Temperature and threshold of a corpus that nobody trained on come from the other such corpora. The report's
`calibration`, from all of them, is for a model that all voices train (`python -m convert RUN --calibration`). Stopped,
the same command goes on.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from scipy.special import softmax

from convert.config import ConvertConfig
from convert.verification.calibrate import Calibration, calibrate, grouped, threshold
from edge.entry import concluded
from edge.errors import ArtifactError
from edge.features.baseline import Baseline
from edge.files import output
from edge.hearing.affect import COORDINATES
from edge.model.artifact import load, write_atomically
from edge.section import load_section
from train.config import TrainConfig
from train.data.features import Cache
from train.fitting import metrics, runs
from train.fitting.progress import bar
from train.fitting.quiet import hush
from train.pages.tables import markdown
from train.rooms.heard_before import JUDGED, SETTINGS, Setting, judged, judged_rooms
from train.rooms.lessons import against
from train.rooms.utterances import utterances
from train.study.folds import group_of, is_unseen

_CALIBRATED = tuple(setting for setting in SETTINGS if setting.voices == 1 and setting.moods == "neutral")


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What one artifact said to its fold's test side: by setting, probabilities (n, labels) and truth (n,)."""

    fold: str
    corpus: str
    seed: int
    labels: list[str]
    file_bytes: int
    probs: dict[Setting, np.ndarray]
    truth: dict[Setting, np.ndarray]

    @property
    def had(self) -> np.ndarray:
        """Which labels the corpus has: bool (labels,)."""
        return np.isin(np.arange(len(self.labels)), self.truth[JUDGED])


def main(arguments: list[str] | None = None) -> int:
    """Convert, measure and write the report; return the exit status."""
    return concluded(lambda: _measured(arguments), called="error")


def _measured(arguments: list[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m convert.strangers", description=__doc__)
    parser.add_argument("folder", help="of the runs: what `python -m train rooms --protocol unheard --out` wrote")
    parser.add_argument("--out", required=True, help="folder for report.json and report.md")
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    options = parser.parse_args(arguments)
    hush()
    out = output(options.out, "--out")
    found = runs.load_runs(options.folder)
    config = load_section(options.config, "convert", ConvertConfig)
    cache = Cache(load_section(options.config, "train", TrainConfig).cache)
    answers = []
    with bar("artifacts") as tell:
        for number, run in enumerate(found, start=1):
            answers.append(_answers(run, config, cache))
            tell(number, len(found), run.record.fold)
    made = report(answers, config)
    write_atomically(out / "report.json", msgspec.json.format(msgspec.json.encode(made), indent=1))
    write_atomically(out / "report.md", table(made).encode())
    print(table(made))


def _answers(run: runs.Run, config: ConvertConfig, cache: Cache) -> Answers:
    from convert.make import make  # brings Keras

    path, record = run.folder.with_suffix(".tflite"), run.record
    if not path.exists():
        made = make(run, precision="int8", form="utterance", out=path, config=config, cache=cache)
        if made.path is None:
            raise ArtifactError(f"{run.folder}: {'; '.join(made.verification.failures)}")
    artifact, model = load(path)
    clips, heard, _ = utterances(run.clips("test"), record.features, cache, 1, lambda done, total, note: None)
    labels = np.array([record.labels.index(clip.label) for clip in clips])
    baseline, probs, truth = Baseline(artifact.manifest.baseline), {}, {}
    for setting in SETTINGS if is_unseen(record.fold) else (JUDGED,):
        among = judged_rooms(clips, range(len(clips)), setting)
        given = np.concatenate([against(room, heard, baseline) for room in among])
        probs[setting] = np.array([model.answer(one).copy() for one in given])
        truth[setting] = labels[judged(among)]
    return Answers(
        fold=record.fold, corpus=clips[0].corpus, seed=record.seed, labels=record.labels,
        file_bytes=path.stat().st_size, probs=probs, truth=truth,
    )  # fmt: skip


def report(answers: Sequence[Answers], config: ConvertConfig) -> dict[str, Any]:
    """Return the figures of corpora that nobody trained on, and of voices whose corpus was."""
    unseen = [one for one in answers if is_unseen(one.fold)]
    voices: dict[str, list[Answers]] = defaultdict(list)
    for one in answers:
        if not is_unseen(one.fold):
            voices[group_of(one.fold) or one.fold].append(one)
    return {
        "labels": answers[0].labels,
        "unseen": {one.corpus: _unseen(one, [o for o in unseen if o.corpus != one.corpus], config)
                   for one in unseen},
        "voices": {corpus: _voices(members) for corpus, members in voices.items()},
        "calibration": msgspec.to_builtins(_calibration(unseen, config)),
        "file_bytes": max(one.file_bytes for one in answers),
    }  # fmt: skip


def _calibration(answers: Sequence[Answers], config: ConvertConfig) -> Calibration:
    """Return temperature and thresholds, those of moods too, from what was said to corpora that nobody trained on."""
    truth, logits = _known(answers)
    found = calibrate(truth, logits, abstain_precision=config.abstain_precision)
    probs, labels = softmax(logits / found.temperature, axis=1), answers[0].labels
    enter = [threshold(*grouped(truth, probs, groups), config.mood_precision) if groups else None
             for groups in (_moods(labels, config), _arousals(labels))]  # fmt: skip
    mood, arousal = (None if one is None else one[0] for one in enter)
    return msgspec.structs.replace(found, mood_enter=mood, arousal_enter=arousal)


def _moods(labels: list[str], config: ConvertConfig) -> list[list[int]]:
    return [[labels.index(label) for label in members] for members in config.moods_of(labels).values()]


def _arousals(labels: list[str]) -> list[list[int]]:
    """Return the labels that are excited, and those that are calm; none where not all have a place in core affect."""
    if any(label not in COORDINATES for label in labels):
        return []
    excited = [COORDINATES[label][1] > 0 for label in labels]
    return [[number for number, one in enumerate(excited) if one is which] for which in (True, False)]


def _unseen(one: Answers, others: Sequence[Answers], config: ConvertConfig) -> dict[str, Any]:
    calibration = _calibration(others, config)
    sure = softmax(_logits(one.probs[JUDGED]) / calibration.temperature, axis=1)
    truth, said = one.truth[JUDGED], sure.max(axis=1) >= calibration.enter
    found = {
        "clips": len(truth),
        "uar": {str(setting): _uar(one.truth[setting], probs, one.had) for setting, probs in one.probs.items()},
        "uar_over_all_labels": _uar(truth, one.probs[JUDGED], np.ones(len(one.labels), bool)),
        "ece": metrics.ece(truth, sure),
        "said": float(said.mean()),
        "right_where_said": _right(truth[said], sure[said]),
    }
    if (moods := _moods(one.labels, config)) and calibration.mood_enter is not None:
        truth, sure = grouped(truth, sure, moods)
        said |= sure.max(axis=1) >= calibration.mood_enter  # a label that is said has its mood
        found |= {"mood_said": float(said.mean()), "mood_right_where_said": _right(truth[said], sure[said])}
    return found


def _right(truth: np.ndarray, probs: np.ndarray) -> float | None:
    return float((probs.argmax(axis=1) == truth).mean()) if len(truth) else None


def _voices(members: Sequence[Answers]) -> dict[str, Any]:
    truth = np.concatenate([one.truth[JUDGED] for one in members])
    probs = np.concatenate([one.probs[JUDGED] for one in members])
    had = np.isin(np.arange(len(members[0].labels)), truth)
    said = np.where(had, probs, -1.0).argmax(axis=1)
    recall = {members[0].labels[label]: float((said[truth == label] == label).mean()) for label in np.unique(truth)}
    return {"folds": len(members), "uar": _uar(truth, probs, had), "recall": recall}


def _known(answers: Sequence[Answers]) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and logits in rooms of one voice, however well they are known."""
    pairs = [(one.truth[setting], one.probs[setting]) for one in answers for setting in _CALIBRATED]
    truth, probs = zip(*pairs, strict=True)
    return np.concatenate(truth), _logits(np.concatenate(probs))


def _logits(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probs.astype(np.float64), 1e-9))


def _uar(truth: np.ndarray, probs: np.ndarray, had: np.ndarray) -> float:
    return metrics.uar(truth, np.where(had, probs, -1.0).argmax(axis=1))


def table(found: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    corpora = list(found["unseen"])
    rows = [
        [setting, *(f"{100 * found['unseen'][corpus]['uar'][setting]:.1f}" for corpus in corpora)]
        for setting in next(iter(found["unseen"].values()))["uar"]
    ]
    rows += [
        [name, *("-" if (value := found["unseen"][corpus].get(key)) is None else f"{scale * value:.{digits}f}"
                 for corpus in corpora)]
        for name, key, scale, digits in (
            ("the same, over all labels of the model", "uar_over_all_labels", 100, 1),
            ("ECE, calibrated on the others", "ece", 1, 3),
            ("a label is said, in %", "said", 100, 1),
            ("right where a label is said, in %", "right_where_said", 100, 1),
            ("a mood is said, in %", "mood_said", 100, 1),
            ("right where a mood is said, in %", "mood_right_where_said", 100, 1),
        )
    ]  # fmt: skip
    voices = [
        [corpus, str(one["folds"]), f"{100 * one['uar']:.1f}",
         " ".join(f"{label} {100 * value:.0f}" for label, value in one["recall"].items())]
        for corpus, one in found["voices"].items()
    ]  # fmt: skip
    parts = [
        "# What the network of utterances is worth to strangers\n",
        "Corpora that nobody trained on, UAR in % over their own labels, by what was heard in the room before:\n",
        markdown(["room: voices, moods, utterances", *corpora], rows),
    ]
    if voices:
        parts += [
            "Voices that nobody trained on, others of their corpus were (one voice, *neutral*, 20 heard before):\n",
            markdown(["corpus", "folds", "UAR", "recall"], voices),
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
