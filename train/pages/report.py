"""A comparison as files: one self-contained HTML page, the JSON behind it, and the pictures."""

import base64
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from edge.files import write_atomically
from train.pages import pictures
from train.study.baselines import NAMES as BASELINES

# Table 1 of the study: accuracy, and the loss it gives with the side it was taken on.
STUDY = {
    "cnn": {"accuracy": 0.9980, "loss": 0.0020, "loss_side": "validation"},
    "lstm": {"accuracy": 0.9893, "loss": 0.0012, "loss_side": "train"},
    "ann": {"accuracy": 0.9976, "loss": 0.0019, "loss_side": "train"},
    "gru": {"accuracy": 0.9929, "loss": 1.1745, "loss_side": "train"},
}
GRU_NOTE = (
    "The study's GRU loss of 1.1745 beside an accuracy of 99 % is softmax applied twice: with probabilities taken for "
    "logits the cross-entropy of 7 classes cannot fall below ln(e + 6) - 1 = 1.1654. Ours is taken on logits."
)


def write(folder: Path, found: dict[str, Any]) -> Path:
    """Write report.html, report.json and the pictures; return the page's path."""
    made = _pictures(found)
    for name, content in made.items():
        write_atomically(folder / f"{name}.png", content)
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(found), indent=1))
    page = _page().render(
        **found,
        trained=[name.upper() for name in found["table"] if name not in BASELINES],
        study=STUDY,
        gru_note=GRU_NOTE,
        baselines=BASELINES,
        of_curves=pictures.OF_CURVES,
        pictures={name: base64.b64encode(content).decode() for name, content in made.items()},
    )
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


def _page() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html.j2")


def _pictures(found: dict[str, Any]) -> dict[str, bytes]:
    rows = found["table"]
    made = {"curves": pictures.curves(rows)} if any("curves" in row for row in rows.values()) else {}
    for name, row in rows.items():
        if name not in BASELINES or name == "linear":
            made[f"confusion-{name}"] = pictures.confusion(name, row["confusion"], found["labels"])
    if found["robustness"]:
        made["robustness"] = pictures.robustness(found["robustness"])
    if found["scalability"]:
        made["scalability"] = pictures.scalability(found["scalability"])
    return made
