"""All networks under a protocol, the baselines beside them: one table that holds everything the report shows."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy.special import softmax

from edge.features.mfcc import MfccSpec
from train.config import TrainConfig
from train.data.clip import Clip
from train.data.features import Cache
from train.data.split import Split
from train.data.windows import windows_of
from train.fitting import metrics, runs
from train.fitting.job import Job, job_of, share_of
from train.networks import registry
from train.study import baselines, robustness
from train.study.folds import seeds_of
from train.study.summary import Tested, summary

FIGURES = ("cross_entropy", "accuracy", "uar", "macro_f1", "auc", "ece")
LEARNED = 0.98


def jobs_of(
    names: Sequence[str], folds: Sequence[Split], recipe: str, config: TrainConfig, *, epochs: int | None = None
) -> list[Job]:
    """Return the trainings of a comparison: networks x folds x seeds, the longest first."""

    def seeds(name: str, fold: Split) -> int:
        if len(folds) == 1:
            return config.compare.seeds.get(name, 1)
        return seeds_of(fold.fold, config.compare.fold_seeds) if fold.protocol == "unheard" else 1

    return [
        job_of(name, recipe, fold, config, seed=seed, epochs=epochs)
        for name in sorted(names, key=registry.NAMES.index)
        for fold in folds
        for seed in range(seeds(name, fold))
    ]


def share_jobs(jobs: Sequence[Job], clips: Sequence[Clip], shares: Sequence[float]) -> list[Job]:
    """Return each network's first training again, on shares of its training side."""
    first: dict[str, Job] = {}
    for job in jobs:
        first.setdefault(job.network, job)
    return [
        msgspec.structs.replace(job, name=f"{job.name}-share{share:g}", split=share_of(job.split, clips, share))
        for job in first.values()
        for share in shares
    ]


def table(
    finished: Sequence[runs.Run],
    clips: Sequence[Clip],
    frames: Sequence[np.ndarray],
    folds: Sequence[Split],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of every network and baseline by name, over folds and seeds (summary.py).

    frames: MFCC of each clip, float32 (n, coefficients), in the order of `clips`.
    """
    by_network: dict[str, list[runs.Run]] = defaultdict(list)
    for run in finished:
        by_network[run.record.network].append(run)
    truth = {fold.fold: np.array([labels.index(clips[index].label) for index in fold.test]) for fold in folds}
    speakers = {fold.fold: np.array([clips[index].speaker for index in fold.test]) for fold in folds}
    rows = {name: _network(members, truth, speakers) for name, members in by_network.items()}
    for name in baselines.NAMES:
        rows[name] = _baseline(name, clips, frames, folds, labels, truth, speakers)
    return rows


def samples(finished: Sequence[runs.Run], fold: Split, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """Return what each network says to one clip per label of a fold's test side.

    A record per clip: its file's name, its true label, and by network the label said with its probability.
    """
    chosen = {clips[index].label: place for place, index in reversed(list(enumerate(fold.test)))}
    found = []
    for label, place in sorted(chosen.items()):
        answers = {}
        for run in finished:
            if run.record.fold == fold.fold and run.record.seed == 0:
                probs = softmax(run.logits("test")[place].astype(np.float64))
                best = int(probs.argmax())
                answers[run.record.network] = [run.record.labels[best], round(float(probs[best]), 4)]
        found.append({"clip": Path(clips[fold.test[place]].path).name, "label": label, "answers": answers})
    return found


def robust(
    finished: Sequence[runs.Run],
    folds: Sequence[Split],
    clips: Sequence[Clip],
    spec: MfccSpec,
    cache: Cache,
    noise: str | None,
    snrs_db: Sequence[float],
    tell: Callable[[int, int, str], None],
) -> dict[str, dict[str, float]]:
    """Return accuracy by network and condition: of all folds' test sides together, of each network's first seed.

    noise: a folder of noise recordings, None for rooms only. tell: told how many conditions are done, of how many, and
    which was the last.
    """
    from train.fitting.fit import logits_of

    noises = robustness.noise_recordings(noise, cache.folder) if noise else {}
    names = robustness.conditions(snrs_db, noise=bool(noise))
    right: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    by_fold = {fold.fold: [clips[index] for index in fold.test] for fold in folds}
    for number, condition in enumerate(names):
        for fold, tested in by_fold.items():
            whole = robustness.degraded(tested, condition, noises, spec, cache)
            trimmed = robustness.utterances(tested, condition, noises, spec, cache)
            for run in finished:
                record = run.record
                if record.fold != fold or record.seed:
                    continue
                heard = trimmed if record.recipe.trim else whole
                step_frames = registry.step_frames(record.network) or 1
                windows = windows_of(heard, record.normalization, record.window_frames, step_frames)
                said = logits_of(run.model, windows).argmax(axis=1)
                truth = np.array([record.labels.index(clip.label) for clip in tested])
                right[record.network][condition].append(said == truth)
        tell(number + 1, len(names), condition)
    return {
        network: {condition: float(np.concatenate(parts).mean()) for condition, parts in found.items()}
        for network, found in right.items()
    }


def scaling(whole: Sequence[runs.Run], parts: Sequence[runs.Run]) -> dict[str, list[dict[str, float]]]:
    """Return per network, by number of training clips: test accuracy and seconds of training."""
    first: dict[str, runs.Run] = {}
    for run in whole:
        first.setdefault(run.record.network, run)
    points: dict[str, list[dict[str, float]]] = defaultdict(list)
    for run in [*parts, *first.values()]:
        figures = run.record.metrics
        points[run.record.network].append(
            {"clips": figures["train"]["n"], "accuracy": figures["test"]["accuracy"], "seconds": run.record.seconds}
        )
    return {network: sorted(found, key=lambda point: point["clips"]) for network, found in points.items()}


def _network(members: Sequence[runs.Run], truth: dict[str, np.ndarray], speakers: dict[str, np.ndarray]) -> dict:
    first = members[0].record
    costs = {key: first.metrics[key] for key in ("parameters", "multiply_adds")}
    reached = [epochs_to(run.record.curves["accuracy"], LEARNED) for run in members]
    tested = [Tested(run.record.fold, run.logits("test"), run.record.metrics["test"]) for run in members]
    sides = [side for side in ("train", "validation", "test") if all(side in run.record.metrics for run in members)]
    return {
        **summary(tested, truth, speakers),
        "seeds": len({run.record.seed for run in members}),
        "epochs": first.epochs,
        "sides": {
            side: {
                name: metrics.mean_and_spread([run.record.metrics[side][name] for run in members]) for name in FIGURES
            }
            for side in sides
        },
        "calibration": [_calibration(run.record.metrics) for run in members if "temperature" in run.record.metrics],
        "costs": {
            **costs,
            "seconds_per_epoch": float(np.mean([run.record.seconds / run.record.epochs for run in members])),
            "epochs_to_98": reached,
            "device": first.device,
        },
        "curves": first.curves,
        "runs": [_run(run.record) for run in members],
    }


def _calibration(figures: dict[str, Any]) -> dict[str, float]:
    return {
        "temperature": figures["temperature"],
        "ece": figures["test"]["ece"],
        "ece_calibrated": figures["test_calibrated"]["ece"],
    }


def _run(record: runs.RunRecord) -> dict[str, Any]:
    named = {"name": record.name, "fold": record.fold, "seed": record.seed, "seconds": record.seconds}
    return named | {name: record.metrics["test"][name] for name in FIGURES}


def _baseline(
    name: str,
    clips: Sequence[Clip],
    frames: Sequence[np.ndarray],
    folds: Sequence[Split],
    labels: Sequence[str],
    truth: dict[str, np.ndarray],
    speakers: dict[str, np.ndarray],
) -> dict[str, Any]:
    found = []
    for fold in folds:
        figures, logits = baselines.measure(name, clips, frames, fold, labels)
        found.append(Tested(fold.fold, logits, figures))
    return {
        **summary(found, truth, speakers),
        "sides": {"test": {name: metrics.mean_and_spread([each.figures[name] for each in found]) for name in FIGURES}},
    }


def epochs_to(curve: Sequence[float], level: float) -> int | None:
    """Return the first epoch (from 1) whose value is at least `level`; None where none is."""
    return next((number for number, value in enumerate(curve, start=1) if value >= level), None)
