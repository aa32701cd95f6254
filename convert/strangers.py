"""What the network of utterances is worth to strangers: each run of `train rooms --protocol yardsticks`.

python -m convert.strangers runs/rooms --noise /data/ESC-10 --out train/reports/strangers

Each run becomes an artifact beside it, which answers its fold's test side in rooms, through the sensor's own baseline
and graph. Temperature and threshold of a corpus that nobody trained on come from the other such corpora. The report's
`calibration`, from all of them, is for a model that all voices train (`python -m convert RUN --calibration`). Stopped,
the same command goes on.
"""

import sys
from collections.abc import Sequence

import msgspec
import numpy as np

from convert.config import ConvertConfig
from convert.report import charts
from convert.report.strangers import Answers, report, uar_over
from convert.report.strangers_table import table
from edge.entry import Parser, concluded
from edge.errors import ArtifactError
from edge.features.baseline import Prior
from edge.features.functionals import names
from edge.files import output, write_atomically
from edge.model.artifact import Model, load
from edge.section import load_section
from train.config import TrainConfig
from train.data.clip import Clip
from train.data.features import Cache
from train.fitting import runs
from train.fitting.progress import bar
from train.fitting.quiet import hush
from train.rooms.heard_before import JUDGED, SETTINGS, judged, judged_rooms
from train.rooms.lessons import against
from train.rooms.utterances import utterances
from train.study import conditions
from train.study.folds import is_unseen
from train.study.robustness import noise_recordings

_LEVEL = "mfcc_0_mean"  # of the functionals, what tells how loud an utterance is


def main(arguments: list[str] | None = None) -> int:
    """Convert, measure and write the report; return the exit status."""
    return concluded(lambda: _measured(arguments), called="error")


def _measured(arguments: list[str] | None) -> None:
    parser = Parser(prog="python -m convert.strangers", description=__doc__)
    parser.add_argument("folder", help="of the runs: what `python -m train rooms --protocol yardsticks --out` wrote")
    parser.add_argument("--labels", nargs="+", help="judge by clips of these labels alone; default: all of the model's")
    parser.add_argument("--noise", help="folder of noises: some also in noise, at 3 m, in 4 kHz, coded, moved")
    parser.add_argument("--out", required=True, help="folder for report.json, report.md and heard.png")
    parser.add_argument("--config", default="config.yaml", help="default: config.yaml")
    options = parser.parse_args(arguments)
    hush()
    out = output(options.out, "--out")
    found = runs.load_runs(options.folder)
    config = load_section(options.config, "convert", ConvertConfig)
    place = load_section(options.config, "train", TrainConfig).cache
    cache = Cache(place)
    noises = noise_recordings(options.noise, place) if options.noise else None
    answers = []
    with bar("artifacts") as tell:
        for number, run in enumerate(found, start=1):
            answers.append(_answers(run, config, cache, noises, options.labels or run.record.labels))
            tell(number, len(found), run.record.fold)
    made = report(answers, config)
    write_atomically(out / "report.json", msgspec.json.format(msgspec.json.encode(made), indent=1))
    write_atomically(out / "report.md", table(made).encode())
    write_atomically(out / "heard.png", charts.heard(made))
    print(table(made))


def _answers(
    run: runs.Run, config: ConvertConfig, cache: Cache, noises: dict[str, np.ndarray] | None, asked_of: Sequence[str]
) -> Answers:
    from convert.make import make  # brings Keras

    path, record = run.folder.with_suffix(".tflite"), run.record
    if not path.exists():
        made = make(run, precision="int8", form="utterance", out=path, config=config.ungated, cache=cache)
        if made.path is None:
            raise ArtifactError(f"{run.folder}: {'; '.join(made.verification.failures)}")
    artifact, model = load(path)
    tested = [clip for clip in run.clips("test") if clip.label in asked_of]
    clips, heard, _ = utterances(tested, record.features, cache, 1, lambda done, total, note: None)
    labels = np.array([record.labels.index(clip.label) for clip in clips])
    prior, probs, truth = artifact.manifest.baseline, {}, {}
    for setting in SETTINGS if is_unseen(record.fold) else (JUDGED,):
        among = judged_rooms(clips, range(len(clips)), setting)
        given = against(among, heard, prior)
        probs[setting] = _said(model, given)
        truth[setting] = labels[judged(among)]
        if setting == JUDGED:
            asked = judged(among)
    return Answers(
        fold=record.fold, corpus=clips[0].corpus, seed=record.seed, labels=record.labels,
        file_bytes=path.stat().st_size, probs=probs, truth=truth, clips=[clips[index] for index in asked],
        levels=heard.whole(asked)[:, names(record.features).index(_LEVEL)],
        under=_under(run, clips, model, prior, noises, cache) if noises and is_unseen(record.fold) else {},
    )  # fmt: skip


def _said(model: Model, given: np.ndarray) -> np.ndarray:
    """Return the probabilities with which it answers, one after the other: (n, labels)."""
    return np.array([model.answer(one).copy() for one in given])


def _under(
    run: runs.Run, clips: Sequence[Clip], model: Model, prior: Prior, noises: dict[str, np.ndarray], cache: Cache
) -> dict[str, dict[str, float]]:
    few = conditions.some(clips)
    heard = conditions.heard_under(few, noises, run.record.features, cache)
    truth = np.array([run.record.labels.index(clip.label) for clip in few])
    had = np.isin(np.arange(len(run.record.labels)), truth)

    def uar(given: np.ndarray, asked: np.ndarray) -> float:
        return uar_over(truth[asked], _said(model, given), had)

    return conditions.worth(uar, few, heard, prior)


if __name__ == "__main__":
    sys.exit(main())
