"""What each verb of `python -m train` does."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.errors import InputError
from edge.features.mfcc import MfccSpec
from edge.section import load_section
from train.config import TrainConfig
from train.data import index
from train.data.augment import sounds_in
from train.data.features import Cache, usable
from train.data.index import Clip
from train.data.split import Split
from train.fitting.job import Job, job_of
from train.fitting.progress import Tell, bar
from train.study import protocols

# Keras, scikit-learn and matplotlib take seconds to import: verbs bring them when their data is known to be good.


def run_index(options: argparse.Namespace) -> int:
    """Write index.csv and the report of a corpus."""
    config, spec = _settings(options)
    found = index.scan(options.data, config)
    from train.study import index_report

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    index.write(out / "index.csv", found.clips)
    with bar("examining") as tell:
        findings = index_report.examine(found, tell)
    page = index_report.write(out, findings, found.clips, spec)
    print(f"{findings.clips} clips, {findings.hours} hours. {index.counts(found.clips)}")
    for what in ("unreadable", "silent", "clipped", "single"):
        for name in getattr(findings, what):
            print(f"{what}: {name}")
    for paths in findings.duplicates:
        print(f"duplicates: {' = '.join(paths)}")
    print(f"{out / 'index.csv'}\n{page}")
    return 0


def run_fit(options: argparse.Namespace) -> int:
    """Train a network on one fold of a protocol, or on all."""
    config, spec, clips, _, folds = _loaded(options)
    if options.fold is not None:
        folds = [_fold(folds, options)]
    if options.name and len(folds) > 1:
        raise InputError(f"--name: protocol {options.protocol} has {len(folds)} folds here; give a --fold too")
    jobs = [_job(options, split, config, name=options.name) for split in folds]
    from train.fitting.fit import fit

    for job in jobs:
        with bar(job.name) as tell:
            run = fit(job, clips, config, spec, folder=Path(options.out) / job.name, report=_epochs(tell))
        test = run.record.metrics["test"]
        print(f"{run.folder}: test accuracy {test['accuracy']:.4f}, UAR {test['uar']:.4f} (fold {job.split.fold}, "
              f"windows of {run.record.window_frames} frames)")  # fmt: skip
    return 0


def run_speech(options: argparse.Namespace) -> int:
    """Train the network that tells speech from other sound."""
    config = load_section(options.config, "train", TrainConfig)
    spec = load_section(options.config, "features", MfccSpec)
    found = index.scan(options.data, config, labelled=False)
    _warn(found.left_out)
    clips, folds = found.clips, protocols.splits("speech", found.clips, config)
    name = options.name or "-".join(["speech", *(f"without-{one}" for one in options.without), f"seed{options.seed}"])
    job = job_of("speech", "speech", folds[0], config, seed=options.seed, name=name)
    from train.fitting.speech import recordings, require_usable, rooms_in, scenes_of, train_speech

    require_usable(job.recipe)
    noise = recordings(options.noise, options.without)
    rooms = rooms_in(options.rooms, config.protocols.speech_test_rooms)
    with bar("scenes") as tell:
        made = scenes_of(job, clips, noise, config, spec, tell, rooms=rooms)
    with bar(name) as tell:
        run = train_speech(job, made, clips, noise, spec, folder=Path(options.out) / name, tell=tell)
    test = run.record.metrics["test"]
    print(f"{run.folder}: blocks of unheard speakers: AUC {test['auc']:.4f}, missed {test['missed']:.2%}, "
          f"false {test['false']:.2%}")  # fmt: skip
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Print a model's figures on a table of clips."""
    config, _ = _settings(options)
    from train.study import evaluate

    model = evaluate.open_model(options.model)
    found = evaluate.evaluate(model, options.index, config, reading=options.reading, side=options.side)
    if options.json:
        print(json.dumps(found))
        return 0
    low, high = found["uar_interval"]
    print(f"{found['model']}: {found['n']} clips, accuracy {found['accuracy']:.4f}")
    print(f"UAR {found['uar']:.4f} ({low:.3f} to {high:.3f}), ECE {found['ece']:.3f}")
    for label, recall in found["recall"].items():
        print(f"  {label:10} {'-' if recall is None else f'{recall:.3f}'} of {found['counts'][label]}")
    for label, lacking in found["lacking"].items():
        print(f"  {label}: {lacking['n']} clips of a label the model lacks, not counted")
    _warn(found["unreadable"])
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Train all networks under a protocol and write the report."""
    config, spec, clips, frames, folds = _loaded(options)
    recipe = _recipe(options, config)
    names = options.networks or config.compare.networks
    for name in names:
        config.recipe(recipe, name)
    from train.fitting import runs
    from train.study import compare, jobs, report

    folder = Path(options.out) / (options.name or f"compare-{options.protocol}")
    wanted = compare.jobs_of(names, folds, recipe, config, epochs=options.epochs)
    shares = compare.share_jobs(wanted, clips, config.compare.shares) if options.scalability else []
    trained = jobs.train_all(
        [*wanted, *shares], clips, frames, config, spec,
        out=folder, processes=options.jobs, scheduler=options.scheduler,
    )  # fmt: skip
    whole, parts = trained[: len(wanted)], trained[len(wanted) :]
    robustness = {}
    if options.robustness:
        noise, cache = config.augmentation.noise, Cache(config.cache)
        with bar("robustness") as tell:
            robustness = compare.robust(whole, folds, clips, spec, cache, noise, config.compare.snr_db, tell)
    found = {
        "protocol": options.protocol,
        "recipe": recipe,
        "epochs": wanted[0].recipe.epochs,
        "labels": config.labels,
        "clips": len(clips),
        "corpora": runs.corpora_of(clips),
        "created": runs.now(),
        "commit": runs.commit(),
        "versions": runs.versions(),
        "device": whole[0].record.device,
        "training_seconds": sum(run.record.seconds for run in whole),
        "table": compare.table(whole, clips, frames, folds, config.labels),
        "samples": compare.samples(whole, folds[0], clips),
        "robustness": robustness,
        "scalability": compare.scaling(whole, parts) if parts else {},
    }
    page = report.write(folder, found)
    for name, row in found["table"].items():
        test = row["sides"]["test"]
        print(f"{name:9} accuracy {test['accuracy']['mean']:.4f}  UAR {test['uar']['mean']:.4f}  "
              f"cross-entropy {test['cross_entropy']['mean']:.4f}")  # fmt: skip
    print(page)
    return 0


def run_tune(options: argparse.Namespace) -> int:
    """Search a network's sizes and learning rate, and print the trials, best first."""
    config, spec, clips, _, folds = _loaded(options)
    split = _fold(folds, options)
    job = _job(options, split, config, name=None)
    if not split.validation:
        raise InputError(f"{split.where}: has no validation side to judge trials by")
    from train.fitting.tune import tune

    for trial in tune(job, clips, config, spec, folder=Path(options.out) / "tune", trials=options.trials):
        print(json.dumps(trial))
    return 0


def _settings(options: argparse.Namespace) -> tuple[TrainConfig, MfccSpec]:
    config = load_section(options.config, "train", TrainConfig)
    if getattr(options, "noise", None):
        augmentation = msgspec.structs.replace(config.augmentation, noise=options.noise)
        config = msgspec.structs.replace(config, augmentation=augmentation)
    return config, load_section(options.config, "features", MfccSpec)


def _loaded(
    options: argparse.Namespace,
) -> tuple[TrainConfig, MfccSpec, list[Clip], list[np.ndarray], list[Split]]:
    """Return settings, readable clips with their frames, and the protocol's folds."""
    config, spec = _settings(options)
    _recipe(options, config)
    found = index.scan(options.data, config)
    # What is lacking is said before features take minutes.
    if config.augmentation.noise is not None:
        sounds_in(config.augmentation.noise)
    protocols.splits(options.protocol, found.clips, config)
    with bar("features") as tell:
        clips, frames, unusable = usable(found.clips, spec, Cache(config.cache), tell)
    _warn(found.left_out + unusable)
    return config, spec, clips, frames, protocols.splits(options.protocol, clips, config)


def _recipe(options: argparse.Namespace, config: TrainConfig) -> str:
    name = options.recipe or (options.protocol if options.protocol in config.recipes else "study")
    config.recipe(name, getattr(options, "network", None) or config.compare.networks[0])
    return name


def _job(options: argparse.Namespace, split: Split, config: TrainConfig, *, name: str | None) -> Job:
    recipe = _recipe(options, config)
    return job_of(options.network, recipe, split, config, seed=options.seed, epochs=options.epochs, name=name)


def _fold(folds: Sequence[Split], options: argparse.Namespace) -> Split:
    if options.fold not in range(len(folds)):
        raise InputError(f"protocol {options.protocol}: no fold {options.fold} (there are {len(folds)})")
    return folds[options.fold]


def _epochs(tell: Tell):
    def report(epoch: int, epochs: int, figures: dict[str, float]) -> None:
        tell(epoch, epochs, " ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    return report


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)
