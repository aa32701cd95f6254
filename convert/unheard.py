"""What the sensor's model is worth on voices it has not heard: every run of protocol `unheard` as the int8 artifact.

python -m convert.unheard runs/unheard --noise /data/ESC-10 --out train/reports/unheard

Each run becomes an artifact beside it, which answers its fold's test side through `edge/model/graph.py`: clean, in
noise at 10 dB, and from 3 m away in a simulated room. Its temperature and its threshold come from the other folds'
answers. The report's `calibration`, from all folds, is for a model of the same recipe that all voices train (`python -m
convert RUN --calibration`). Stopped, the same command goes on.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy.special import softmax

from convert.config import ConvertConfig
from convert.report.figures import CONDITIONS, Answers, report
from convert.verification.calibrate import Calibration, calibrate
from edge.entry import Parser, concluded
from edge.errors import ArtifactError, InputError
from edge.files import output, write_atomically
from edge.model.artifact import read_artifact
from edge.section import load_section
from train.config import TrainConfig
from train.data.features import Cache
from train.fitting import runs
from train.fitting.progress import bar
from train.fitting.quiet import hush
from train.pages import pictures
from train.study import robustness
from train.study.evaluate import open_model
from train.study.folds import group_of, is_unseen


def main(arguments: list[str] | None = None) -> int:
    """Convert, measure and write the report; return the exit status."""
    return concluded(lambda: _measured(arguments), called="error")


def _measured(arguments: list[str] | None) -> None:
    parser = Parser(prog="python -m convert.unheard", description=__doc__)
    parser.add_argument("folder", help="of the runs: what `python -m train compare --protocol unheard` wrote")
    parser.add_argument("--noise", required=True, help="folder of noise recordings (ESC-10, of which the fifth fold)")
    parser.add_argument("--out", required=True, help="folder for report.json and pictures")
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    options = parser.parse_args(arguments)
    hush()
    out = output(options.out, "--out")
    found = runs.load_runs(options.folder)
    if not (Path(options.folder) / "report.json").exists():
        raise InputError(f"{options.folder}: not finished (no report.json); `python -m train compare` goes on")
    config = load_section(options.config, "convert", ConvertConfig)
    folder = load_section(options.config, "train", TrainConfig).cache
    cache = Cache(folder)
    noises = robustness.noise_recordings(options.noise, folder)
    answers = []
    with bar("artifacts") as tell:
        for number, run in enumerate(found, start=1):
            answers.append(_answers(run, found, config, cache, noises))
            tell(number, len(found), run.record.fold)
    made = report(answers) | {
        "baselines": _baselines(Path(options.folder)),
        "calibration": msgspec.to_builtins(_calibration(None, found, config)),
        "runs": [_run(run) for run in found],
    }
    written(out, made, answers)


def _calibration(run: runs.Run | None, found: Sequence[runs.Run], config: ConvertConfig) -> Calibration | None:
    """Return the calibration on what the recipe said to voices it had not heard: in other folds than this run's, of
    corpora with many voices, first seeds. None where there are none, or the run is to know nothing of a corpus."""
    if run and is_unseen(run.record.fold):
        return None
    folds = {other.record.fold: other for other in found if other.record.seed == 0}
    many = [
        other for fold, other in folds.items()
        if not is_unseen(fold) and sum(group_of(name) == group_of(fold) for name in folds) > 2
        and not (run and run.record.fold == fold)
    ]  # fmt: skip
    if not many:
        return None
    truth = [other.record.labels.index(clip.label) for other in many for clip in other.clips("test")]
    said = np.concatenate([other.logits("test") for other in many])
    return calibrate(np.array(truth), said, abstain_precision=config.abstain_precision)


def _answers(
    run: runs.Run, found: Sequence[runs.Run], config: ConvertConfig, cache: Cache, noises: dict[str, np.ndarray]
) -> Answers:
    from convert.make import make  # these bring Keras
    from convert.verification.reference import logits

    path, record = run.folder.with_suffix(".tflite"), run.record
    if not path.exists():
        calibration = _calibration(run, found, config)
        made = make(run, precision="int8", form="step", out=path, config=config, cache=cache, calibration=calibration)
        if made.path is None:
            raise ArtifactError(f"{run.folder}: {'; '.join(made.verification.failures)}")
    model, manifest = open_model(path), read_artifact(path).manifest
    clips = run.clips("test")
    heard = {name: robustness.utterances(clips, name, noises, record.features, cache) for name in CONDITIONS}
    probs = {
        name: np.exp(np.array([model.answer(frames, "last") for frames in utterances]))
        for name, utterances in heard.items()
    }
    # On whole clips, as the artifact; the run's own logits are of windows.
    keras = logits(run, heard[robustness.CLEAN], form="step", step_frames=manifest.step_frames)
    return Answers(
        fold=record.fold,
        seed=record.seed,
        labels=record.labels,
        enter=manifest.decision.enter,
        file_bytes=path.stat().st_size,
        truth=np.array([record.labels.index(clip.label) for clip in clips]),
        corpora=np.array([clip.corpus for clip in clips]),
        speakers=np.array([clip.speaker for clip in clips]),
        keras=softmax(keras.astype(np.float64), axis=1),
        probs=probs,
    )


def _baselines(folder: Path) -> dict[str, Any]:
    """Return the UAR of the baselines by fold and by corpus, from the comparison's own report."""
    table = json.loads((folder / "report.json").read_text())["table"]
    return {
        name: {
            "folds": {fold: row["uar"]["mean"] for fold, row in table[name]["folds"].items()},
            "corpora": {corpus: row["uar"] for corpus, row in table[name]["corpora"].items()},
        }
        for name in ("linear", "length")
    }


def _run(run: runs.Run) -> dict[str, Any]:
    record = run.record
    told = ("name", "fold", "seed", "seconds", "epochs", "commit")
    return {name: getattr(record, name) for name in told} | {"corpora": msgspec.to_builtins(record.corpora)}


def written(folder: Path, found: dict[str, Any], answers: Sequence[Answers]) -> None:
    """Write report.json and the pictures, and print the figures."""
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(found), indent=1))
    pooled: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for corpus, figures in found["corpora"].items():
        members = [one for one in answers if one.seed == 0 and group_of(one.fold) == corpus]
        pooled[corpus] = (
            np.concatenate([one.truth for one in members]),
            np.concatenate([one.probs[robustness.CLEAN] for one in members]),
        )
        matrix = pictures.confusion(corpus, figures["confusion"], found["labels"])
        write_atomically(folder / f"confusion-{corpus.lower()}.png", matrix)
    write_atomically(folder / "coverage.png", pictures.coverage(pooled))
    print(json.dumps({name: found[name] for name in ("folds", "corpora")}, indent=1))
    print(folder / "report.json")


if __name__ == "__main__":
    sys.exit(main())
