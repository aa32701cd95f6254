"""One training as one page: how it went, how often it is right about each label, and what it takes for what."""

import base64
from collections.abc import Iterator
from pathlib import Path

import jinja2

from edge.files import write_atomically
from train.data.split import SIDES
from train.data.windows import heard_of
from train.fitting import metrics
from train.fitting.job import too_short
from train.fitting.runs import Run
from train.pages import pictures
from train.study.summary import intervals_of

# What a protocol's figures are about.
_TESTED = {
    "random": "Its voices are those of the training side, so this says nothing of a voice that it never heard.",
    "word": "Its words were not trained on, its voices were, so this says nothing of a voice that it never heard.",
    "corpus": "Nothing of the corpus that is tested was trained on.",
}
_VOICES = "None of its voices was trained on."
_HEARD = ("random", "word")  # whose test voices trained, too
_DIGITS_OF_FEW = 2


def lines(run: Run) -> Iterator[str]:
    """Yield the figures of a training's test side as text, and what they say."""
    record = run.record
    test, by_guessing, found = record.metrics["test"], _guesses(run), intervals_of(run)
    (low, high), (uar_low, uar_high) = found["accuracy_interval"], found["uar_interval"]
    yield (
        f"{run.folder}: test accuracy {test['accuracy']:.4f} ({low:.3f} to {high:.3f}; always "
        f"{by_guessing.commonest or 'the same label'}: "
        f"{by_guessing.accuracy:.4f}), UAR {test['uar']:.4f} ({uar_low:.3f} to {uar_high:.3f}; guessing: "
        f"{by_guessing.uar:.4f}); fold {record.fold}; of "
        f"{heard_of(record.window_frames, trim=record.recipe.trim)}"
    )
    if few := metrics.too_few(test["n"]):
        yield f"  {few}"
    yield f"  {_tested(run)}"
    if short := _too_short(run):
        yield f"  {short}"


def _too_short(run: Run) -> str:
    return too_short(len(run.clips("train")), run.record.recipe)


def _tested(run: Run) -> str:
    """Return what the figures are about, and, where they are of voices that trained, what would test others."""
    said = _TESTED.get(run.record.protocol, _VOICES)
    speakers = {(clip.corpus, clip.speaker) for side in SIDES for clip in run.clips(side)}
    if run.record.protocol in _HEARD and len(speakers) > 1 and all(speaker for _, speaker in speakers):
        said = f"{said.removesuffix('.')}; --protocol kfold tests such voices."
    return said


def _guesses(run: Run) -> metrics.Guesses:
    return metrics.guesses(run.record.metrics["test"]["per_class"])


def _figure(value: float, clips: int, digits: int) -> str:
    """Return a figure of so many clips with no more digits than they can tell."""
    return f"{value:.{digits if clips >= metrics.FEW_CLIPS else _DIGITS_OF_FEW}f}"


def write(run: Run) -> Path:
    """Write report.html into the run's folder and return its path."""
    record = run.record
    made = {
        "loss and accuracy per epoch": pictures.curves({record.network: {"curves": record.curves}}),
        "confusions on the test side": pictures.confusion(
            record.network, record.metrics["test"]["confusion"], record.labels
        ),
    }
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    html = environment.get_template("run_report.html.j2").render(
        run=record,
        sides={name: record.metrics[name] for name in SIDES if name in record.metrics},
        guesses=_guesses(run),
        too_short=_too_short(run),
        tested=_tested(run),
        clips={side: len(run.clips(side)) for side in SIDES},
        intervals=intervals_of(run),
        too_few=metrics.too_few(record.metrics["test"]["n"]),
        figure=_figure,
        of_curves=pictures.OF_CURVES,
        pictures={name: base64.b64encode(content).decode() for name, content in made.items()},
    )
    write_atomically(run.folder / "report.html", html.encode())
    return run.folder / "report.html"
