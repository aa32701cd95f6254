"""`python -m convert RUN [--precision P] [--form F] [--out FILE]`, or without RUN: the set that config.yaml lists."""

import argparse
import sys
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from convert.config import ConvertConfig
from edge.entry import Parser, concluded
from edge.errors import ArtifactError, ConfigError, InputError
from edge.files import output
from edge.model.manifest import FORMS, PRECISIONS
from edge.section import load_section
from train.config import TrainConfig
from train.data.features import Cache
from train.fitting.quiet import hush
from train.fitting.runs import Run, load_run


class Wanted(NamedTuple):
    """An artifact to make."""

    run: Run
    form: str
    precision: str
    out: Path


def main(arguments: list[str] | None = None) -> int:
    """Convert and return the exit status."""
    return concluded(lambda: _converted(arguments), called="error")


def _converted(arguments: list[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out and not options.run:
        parser.error("--out FILE belongs to a RUN (without one: the set of config.yaml)")
    if options.calibration and not options.run:
        parser.error("--calibration FILE belongs to a RUN")
    hush()
    config = load_section(options.config, "convert", ConvertConfig)
    cache = Cache(load_section(options.config, "train", TrainConfig).cache)
    if options.run:
        asked = output(options.out, "--out", folder=False) if options.out else None
        run = load_run(options.run)
        given = _calibration(options.calibration, run) if options.calibration else None
        beside = run.folder.resolve() if run.folder.name in ("", "..") else run.folder
        out = asked or output(f"{beside}.tflite", "--out", folder=False)
        wanted = [Wanted(run, options.form or _form(run), options.precision, out)]
        return _make(wanted, out.with_suffix(""), config, cache, options.name, given)
    into = output(config.out, "convert.out")
    return _make(list(_listed(config, into)), into / "report", config, cache, None)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m convert", description=__doc__)
    parser.add_argument("run", nargs="?", metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="default: int8")
    parser.add_argument(
        "--form", choices=FORMS,
        help="step: as sound comes, for networks with a streaming state; utterance: for those of `train rooms`; "
             "default: window where the network has it",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="the artifact, its report beside it; default: RUN.tflite")
    parser.add_argument("--name", help="what the artifact is called; default: the run's name")
    parser.add_argument(
        "--calibration", metavar="FILE",
        help="report of the run's recipe on unheard voices (convert.unheard); default: the run's own validation side",
    )  # fmt: skip
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    return parser


def _form(run: Run) -> str:
    from convert.verification.reference import forms_of  # brings Keras, which takes seconds

    return forms_of(run)[0]


def _calibration(path: str, run: Run) -> Any:
    """Return the calibration in a report. Raises InputError, or ConfigError where it has none for this run's labels."""
    from convert.verification.calibrate import Calibration  # brings scikit-learn, which takes seconds

    class Report(msgspec.Struct):
        labels: list[str] = []
        calibration: Calibration | None = None

    try:
        report = msgspec.json.decode(Path(path).read_bytes(), type=Report)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: no report of unheard voices: {error}") from error
    if report.calibration is None:
        raise ConfigError(f"{path}: no calibration in it: too few voices, or another report than convert.unheard's")
    if not set(run.record.labels) <= set(report.labels):
        theirs, ours = (", ".join(labels) for labels in (report.labels, run.record.labels))
        raise ConfigError(f"{path}: is of a model that says {theirs}; {run.folder} says {ours}")
    return report.calibration


def _listed(config: ConvertConfig, into: Path) -> Iterator[Wanted]:
    """Yield what the set asks for, `into` a folder. Raises ConfigError where a pattern matches no finished run."""
    if not config.set:
        raise ConfigError("config.yaml: convert.set: empty; list runs there, or name one: make convert RUN=runs/NAME")
    from convert.verification.reference import forms_of  # brings Keras, which takes seconds

    for number, entry in enumerate(config.set):
        folders = []
        for pattern in entry.runs:
            found = sorted(Path(path).parent for path in glob(f"{pattern}/run.json", recursive=True))
            if not found:
                raise ConfigError(
                    f"config.yaml: convert.set[{number}].runs: no finished run matches {pattern}; for a single run, "
                    "name it: make convert RUN=runs/NAME"
                )
            folders += found
        for run in map(load_run, folders):
            for form in entry.forms:
                if form not in forms_of(run):
                    continue
                for precision in entry.precisions:
                    yield Wanted(run, form, precision, into / f"{run.record.name}-{form}-{precision}.tflite")


def _make(
    wanted: list[Wanted], report_to: Path, config: ConvertConfig, cache: Cache, name: str | None,
    calibration: Any = None,
) -> int:  # fmt: skip
    from convert.make import make
    from convert.report import page

    results, errors = [], []
    for run, form, precision, out in wanted:
        try:
            results.append(make(
                run, precision=precision, form=form, out=out, config=config, cache=cache, name=name,
                calibration=calibration,
            ))  # fmt: skip
        except ArtifactError as error:
            errors.append(str(error))
            print(f"error: {error}", file=sys.stderr)
            continue
        print("\n".join(page.lines(results[-1])), flush=True)
    if results:
        page.write(report_to, results, config)
        print(f"report: {report_to}.html")
    return ArtifactError.exit_status if errors or any(result.path is None for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
