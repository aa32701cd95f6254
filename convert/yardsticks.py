"""What a recipe is worth to voices and corpora that it has not heard: trained, converted, judged, in one command.

python -m convert.yardsticks --data /data/TESS /data/RAVDESS ... --noise /data/ESC-10 --out train/reports/yardsticks

Each corpus in turn is wholly unseen, and of those that `train.protocols.yardsticks` names some voices are. Each
training becomes an int8 artifact, which answers its fold's test side through `edge/model/graph.py`. `--fast` trains on
a quarter of the clips, to choose by. Stopped or killed, the same command goes on.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import numpy as np

from convert.config import ConvertConfig
from convert.report.yardsticks import Answers, report, table
from edge.entry import Parser, concluded
from edge.errors import ArtifactError, InputError
from edge.features.mfcc import MfccSpec
from edge.files import output, write_atomically
from edge.section import load_section
from train.config import TrainConfig
from train.data.clip import Clip
from train.data.features import Cache
from train.data.measure import measured
from train.fitting import runs
from train.fitting.job import Job
from train.fitting.progress import bar
from train.fitting.quiet import hush
from train.loading import loaded
from train.networks import registry
from train.study import jobs, robustness, yardsticks


def main(arguments: list[str] | None = None) -> int:
    """Train, convert, judge and write the report; return the exit status."""
    return concluded(
        lambda: _measured(arguments),
        called="error",
        interrupted="stopped; the same command goes on from the last whole epoch",
    )


def _measured(arguments: list[str] | None) -> None:
    options = _options(arguments)
    hush()
    out, work = output(options.out, "--out"), output(options.work, "--work")
    before = _cpu_seconds()
    config, spec, clips, _, folds = loaded(options)
    folds = [fold for fold in folds if any(fnmatchcase(fold.fold, pattern) for pattern in options.only)]
    if not folds:
        raise InputError(f"--only {' '.join(options.only)}: no yardstick is called so")
    wanted = yardsticks.jobs_of(
        options.network, options.recipe, folds, clips, config, epochs=options.epochs, fast=options.fast
    )
    beside = _cpu_seconds() - before
    found = jobs.train_all(wanted, clips, [], config, spec, out=work, processes=options.jobs)
    before = _cpu_seconds()
    answers = _answered(wanted, found, clips, config, spec, load_section(options.config, "convert", ConvertConfig))
    paths = sorted({clip.path for one in answers for clip in one.clips})
    loudness = {
        path: one[1].loudest_dbfs for path, one in zip(paths, measured(paths, config.cache), strict=True)
        if not isinstance(one, InputError)
    }  # fmt: skip
    beside += _cpu_seconds() - before
    made = _about(options, wanted, found, clips, beside) | report(
        answers, loudness, load_section(options.config, "convert", ConvertConfig).abstain_precision
    )
    write_atomically(out / "report.json", msgspec.json.format(msgspec.json.encode(made), indent=1))
    write_atomically(out / "report.md", table(made).encode())
    print(table(made))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m convert.yardsticks", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="folders of corpora, or CSVs: path,label,speaker")
    parser.add_argument("--noise", help="folder of noise recordings (ESC-10); default: as the config says")
    parser.add_argument("--out", required=True, help="folder for report.json and report.md")
    parser.add_argument("--work", default="runs/yardsticks", help="folder of trainings; default: runs/yardsticks")
    parser.add_argument("--network", default="causal_cnn", choices=registry.NAMES, help="default: causal_cnn")
    parser.add_argument("--recipe", default="default", help="of train.recipes; default: default")
    parser.add_argument("--fast", action="store_true", help="a quarter of the clips and of the time")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="FOLD",
                        help="these alone, * for any letters: 'unseen:*'")  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="N", help="other than the recipe's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="trainings at a time")
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    return parser.parse_args(arguments, argparse.Namespace(protocol="yardsticks"))


def _answered(
    wanted: Sequence[Job],
    found: Sequence[runs.Run],
    clips: Sequence[Clip],
    config: TrainConfig,
    spec: MfccSpec,
    converting: ConvertConfig,
) -> list[Answers]:
    ungated = converting.ungated
    answers, cache = [], Cache(config.cache)
    with bar("artifacts") as tell:
        for number, (job, run) in enumerate(zip(wanted, found, strict=True), start=1):
            answers.append(_answers(run, [clips[index] for index in job.split.test], ungated, cache, spec))
            tell(number, len(wanted), job.split.fold)
    return answers


def _answers(run: runs.Run, clips: list[Clip], config: ConvertConfig, cache: Cache, spec: MfccSpec) -> Answers:
    from convert.make import make  # these bring Keras
    from train.study.evaluate import open_model

    path = run.folder.with_suffix(".tflite")
    if not path.exists():
        made = make(run, precision="int8", form="step", out=path, config=config, cache=cache)
        if made.path is None:
            raise ArtifactError(f"{run.folder}: {'; '.join(made.verification.failures)}")
    model = open_model(path)
    heard = robustness.utterances(clips, robustness.CLEAN, {}, spec, cache)
    return Answers(
        fold=run.record.fold,
        labels=run.record.labels,
        clips=clips,
        probs=np.exp(np.array([model.answer(frames, "last") for frames in heard])),
        file_bytes=path.stat().st_size,
    )


def _cpu_seconds() -> float:
    """Return the CPU that this process has spent, and those that it started and that have ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def _about(
    options: argparse.Namespace, wanted: Sequence[Job], found: Sequence[runs.Run], clips: Sequence[Clip], beside: float
) -> dict[str, Any]:
    return {
        "protocol": "yardsticks",
        "network": options.network,
        "recipe": options.recipe,
        "fast": options.fast,
        "epochs": {job.split.fold: job.recipe.epochs for job in wanted},
        "clips": len(clips),
        "corpora": runs.corpora_of(clips),
        "core_hours": {
            "trainings": round(sum(run.record.cpu_seconds for run in found) / 3_600, 2),
            "features, conversion and answers of this call": round(beside / 3_600, 2),
        },
        "created": runs.now(),
        "commit": runs.commit(),
        "versions": runs.versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
