"""One training as one page: how it went, how often it is right about each label, and what it takes for what."""

import base64
from pathlib import Path

import jinja2

from edge.model.artifact import write_atomically
from train.fitting import metrics
from train.fitting.runs import Run
from train.pages import pictures

# What a protocol's figures are about.
_TESTED = {
    "random": "Its voices are those of the training side, so this says nothing of a voice that it never heard.",
    "word": "Its words were not trained on, its voices were, so this says nothing of a voice that it never heard.",
    "corpus": "Nothing of the corpus that is tested was trained on.",
}
_VOICES = "None of its voices was trained on."


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
        sides={name: record.metrics[name] for name in ("train", "validation", "test") if name in record.metrics},
        guesses=metrics.guesses(record.metrics["test"]["per_class"]),
        tested=_TESTED.get(record.protocol, _VOICES),
        clips={side: len(run.clips(side)) for side in ("train", "validation", "test")},
        of_curves=pictures.OF_CURVES,
        pictures={name: base64.b64encode(content).decode() for name, content in made.items()},
    )
    write_atomically(run.folder / "report.html", html.encode())
    return run.folder / "report.html"
