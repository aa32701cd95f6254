"""What each verb of `python -m train` does."""

import argparse
import json
from pathlib import Path

from edge.features.functionals import names
from edge.features.mfcc import MfccSpec
from edge.files import output
from edge.section import load_section
from train.config import TrainConfig
from train.data import corpora, index, table
from train.data.clip import counted, reasons
from train.data.features import Cache
from train.data.functionals import with_functionals
from train.fitting.job import job_of
from train.fitting.progress import bar
from train.loading import (
    called,
    epochs,
    job_for,
    loaded,
    networks_of,
    place_of,
    recipe_of,
    resumable,
    settings_of,
    short,
    warn,
)
from train.study import protocols
from train.study.folds import seeds_of

# Keras, scikit-learn and matplotlib take seconds to import: verbs bring them when their data is known to be good.


def run_index(options: argparse.Namespace) -> int:
    """Write index.csv and the report of a corpus."""
    if not (data := [*options.given, *options.data]):
        options.complain("name folders of sound, or CSVs: index DATA...")
    config, spec = settings_of(options)
    out = output(options.out or Path("runs", f"index-{called(data)}"), "--out")
    with bar("listening") as tell:
        found = index.scan(data, config, tell)
    from train.pages import index_report

    out.mkdir(parents=True, exist_ok=True)
    table.write(out / "index.csv", found.clips)
    findings = index_report.examine(found, config.cache)
    page = index_report.write(out, findings, found.clips, spec)
    print(f"{counted(findings.clips, 'clip')}, {findings.hours} hours. {index.counts(found.clips)}")
    for what, which in (("silent", findings.silent), ("clipped", findings.clipped),
                        ("a label with one clip only", findings.single)):  # fmt: skip
        for one in which:
            print(f"{what}: {one}")
    print(f"{out / 'index.csv'}\n{page}")
    warn(found.remarks(config))
    return 0


def run_fit(options: argparse.Namespace) -> int:
    """Train a network on one fold of a protocol, or on all."""
    place_of(options)
    config, spec, clips, _, folds = loaded(options)
    jobs = [job_for(options, split, config, name=options.name) for split in folds]
    folders = [place_of(options, job.name) for job in jobs]
    warn(short(jobs))
    from train.fitting.fit import fit
    from train.pages import run_report

    for job, folder in zip(jobs, folders, strict=True):
        with bar(job.name) as tell, resumable(folder):
            run = fit(job, clips, config, spec, folder=folder, report=epochs(tell))
        print("\n".join(run_report.lines(run)))
        print(run_report.write(run))
    return 0


def run_speech(options: argparse.Namespace) -> int:
    """Train the network that tells speech from other sound."""
    config = load_section(options.config, "train", TrainConfig)
    spec = load_section(options.config, "features", MfccSpec)
    name = options.name or "-".join(["speech", *(f"without-{one}" for one in options.without), f"seed{options.seed}"])
    folder = place_of(options, name)
    found = index.scan(options.data, config, labelled=False)
    warn(reasons(found.left_out))
    clips, folds = found.clips, protocols.splits("speech", found.clips, config)
    job = job_of("speech", "speech", folds[0], config, seed=options.seed, name=name)
    from train.fitting.speech import recordings, require_usable, rooms_in, scenes_of, train_speech

    require_usable(job.recipe)
    noise = recordings(options.noise, options.without, config.cache)
    rooms = rooms_in(options.rooms, config.protocols.speech_test_rooms, config.cache)
    with bar("scenes") as tell:
        made = scenes_of(job, clips, noise, config, spec, tell, rooms=rooms)
    with bar(name) as tell, resumable(folder):
        run = train_speech(job, made, clips, noise, spec, folder=folder, tell=tell)
    test = run.record.metrics["test"]
    print(f"{run.folder}: blocks of unheard speakers: AUC {test['auc']:.4f}, missed {test['missed']:.2%}, "
          f"false {test['false']:.2%}")  # fmt: skip
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Print a model's figures on folders or tables of clips."""
    if bool(options.given) == bool(options.model):
        options.complain("name one model: evaluate MODEL --data DATA...")
    config, _ = settings_of(options)
    from train.fitting import metrics
    from train.study import evaluate

    model = evaluate.open_model(options.given or options.model)
    found = evaluate.evaluate(model, options.data, config, reading=options.reading, side=options.side)
    if options.json:
        print(json.dumps(found))
        return 0
    (low, high), (uar_low, uar_high) = found["accuracy_interval"], found["uar_interval"]
    print(f"{found['model']}: {found['n']} clips, accuracy {found['accuracy']:.4f} ({low:.3f} to {high:.3f})")
    print(f"of {found['figures_of']}")
    print(f"UAR {found['uar']:.4f} ({uar_low:.3f} to {uar_high:.3f}), ECE {found['ece']:.3f}, {found['sureness']}")
    if few := metrics.too_few(found["n"]):
        print(few)
    for label, recall in found["recall"].items():
        print(f"  {label:10} {'-' if recall is None else f'{recall:.3f}'} of {found['counts'][label]}")
    if person := found["listener"]:
        print(f"of {counted(person['clips'], 'clip')} with votes: a single listener UAR {person['uar']:.4f}, "
              f"the model {person['model_uar']:.4f}")  # fmt: skip
    for label, lacking in found["lacking"].items():
        print(f"  {label}: {lacking['n']} clips of a label the model lacks, not counted")
    warn(found["remarks"])
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Train all networks under a protocol and write the report."""
    folder = place_of(options, f"compare-{options.protocol}")
    config, spec, clips, frames, folds = loaded(options)
    recipe = recipe_of(options, config)
    names = networks_of(options, config)
    from train.fitting import metrics, runs
    from train.pages import report
    from train.study import compare, jobs

    wanted = compare.jobs_of(names, folds, recipe, config, epochs=options.epochs)
    shares = compare.share_jobs(wanted, clips, config.compare.shares) if options.scalability else []
    warn(short(wanted))
    with resumable(*(folder / job.name for job in [*wanted, *shares])):
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
    if few := metrics.too_few(sum(len(fold.test) for fold in folds)):
        print(few)
    print(page)
    return 0


def run_rooms(options: argparse.Namespace) -> int:
    """Train the network of utterances on every fold of a protocol."""
    config, spec = settings_of(options)
    folder = output(options.out, "--out")
    config.recipe("rooms", "utterance")  # said before functionals take minutes
    found = index.scan(options.data, config)
    warn(reasons(found.left_out))
    teachers = options.teachers or sorted({clip.corpus for clip in found.clips})
    labels, known, remarks = protocols.learnable(found.clips, config.labels, teachers)
    warn(remarks)
    if options.protocol == "default":  # which judges by voices of its own
        known = [clip for clip in known if clip.corpus in teachers or clip.corpus not in corpora.NEVER_TRAINED]
    protocols.taught_by(teachers, protocols.splits(options.protocol, known, config), known)
    from train.rooms.fit import train_rooms
    from train.rooms.utterances import utterances

    with bar("utterances") as tell:
        clips, heard, unusable = utterances(known, spec, Cache(config.cache), config.places, tell)
    warn(reasons(unusable))
    splits = protocols.taught_by(teachers, protocols.splits(options.protocol, clips, config), clips)
    wanted = [
        job_of("utterance", "rooms", split, config, seed=options.seed + seed)
        for split in splits for seed in range(seeds_of(split.fold, config.compare.fold_seeds))
    ]  # fmt: skip
    for job in wanted:
        with bar(job.name) as tell, resumable(folder / job.name):
            run = train_rooms(job, clips, heard, labels, spec, folder=folder / job.name, tell=tell)
        test = run.record.metrics["test"]
        print(f"{run.folder}: UAR {test['uar']:.4f} in rooms of one voice that are known well (fold {job.split.fold})")
    return 0


def run_strangers(options: argparse.Namespace) -> int:
    """Judge small models on corpora that they were not trained on, heard in rooms, and write the table."""
    config, spec = settings_of(options)
    folder = place_of(options)
    found = index.scan(options.data, config)
    with bar("functionals") as tell:
        clips, functionals, unusable = with_functionals(found.clips, spec, Cache(config.cache), tell)
    warn(reasons(found.left_out + unusable))
    from train.pages import strangers as strangers_report
    from train.rooms import strangers

    contestants = strangers.contestants(names(spec))
    with bar("strangers") as tell:
        measured = strangers.measure(contestants, clips, functionals, never_trained=options.never_trained, tell=tell)
    print(strangers_report.write(folder, measured, clips))
    return 0


def run_tune(options: argparse.Namespace) -> int:
    """Search a network's sizes and learning rate, and print the trials, best first."""
    folder = place_of(options, "tune")
    config, spec, clips, _, (split,) = loaded(options, validated=True)
    job = job_for(options, split, config, name=None)
    warn(short([job]))
    from train.study.tune import tune

    try:
        trials = tune(job, clips, config, spec, folder=folder, trials=options.trials)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on after the trials that are done") from None
    for trial in trials:
        print(json.dumps(trial))
    return 0
