"""The README's tables, made from committed reports: nobody types a figure.

python -m train.pages.tables train/reports/random/report.json ...    prints them as Markdown
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.pages.report import STUDY
from train.study.folds import group_of


def study_table(found: dict[str, Any]) -> str:
    """Return the study's Table 1 beside ours, for a report of protocol `random`."""
    rows = []
    for name, row in found["table"].items():
        study, sides = STUDY.get(name), row["sides"]
        loss_side = study["loss_side"] if study else "train"
        rows.append([
            name,
            f"{study['accuracy']:.4f}" if study else "",
            spread(sides["test"]["accuracy"], 4),
            f"{study['loss']:.4f} ({loss_side})" if study else "",
            f"{spread(sides[loss_side]['cross_entropy'], 5)} ({loss_side})" if loss_side in sides else "",
            str(row.get("seeds", "")),
            f"{row['costs']['parameters']:,}" if "costs" in row else "",
        ])  # fmt: skip
    head = ["network", "study: accuracy", "ours", "study: loss", "ours", "seeds", "parameters"]
    return markdown(head, rows)


def speaker_table(found: dict[str, Any]) -> str:
    """Return UAR in percent with 95 % intervals, a column per test side, for a report of protocol `speaker`."""
    sides = list(next(iter(found["table"].values()))["folds"])
    pooled = [name for name in next(iter(found["table"].values()))["corpora"] if name != "TESS"]
    sides = [side for side in sides if side.startswith("TESS")]
    rows = []
    for name, row in found["table"].items():
        cells = [percent(row["folds"][side]) for side in sides]
        rows.append([name, *cells, *(percent(row["corpora"][corpus]) for corpus in pooled)])
    return markdown(["network", *sides, *(f"{corpus}, all actors" for corpus in pooled)], rows)


def unheard_table(found: dict[str, Any]) -> str:
    """Return UAR in percent by who is tested, for a report of protocol `unheard` (convert/unheard.py)."""
    rows = []
    for fold, row in found["folds"].items():
        if group_of(fold) not in found["pooled"]:
            lines = {name: row["uar"][name] for name in ("clean", "keras", "10 dB", "3 m")}
            cells = [spread(value, 1, scale=100) for value in lines.values()]
            rows.append([fold, str(row["clips"]), *cells, *_beside(found, "folds", fold)])
    for corpus in found["pooled"]:
        row = found["corpora"][corpus]
        low, high = row["uar_interval"]
        cells = [f"{100 * row['uar'][name]:.1f}" for name in ("clean", "keras", "10 dB", "3 m")]
        cells[0] += f" ({100 * low:.0f} to {100 * high:.0f})"
        what = f"{corpus}, all {row['speakers']} speakers"
        rows.append([what, str(row["clips"]), *cells, *_beside(found, "corpora", corpus)])
    return markdown(["tested", "clips", "int8", "Keras", "10 dB", "3 m", *found["baselines"]], rows)


def _beside(found: dict[str, Any], part: str, name: str) -> list[str]:
    return [f"{100 * row[part][name]:.1f}" for row in found["baselines"].values()]


def markdown(head: list[str], rows: list[list[str]], *, words: int = 1) -> str:
    """Return a Markdown table: `words` columns to the left, figures to the right."""
    lines = [head, [*["---"] * words, *["---:"] * (len(head) - words)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(value: dict[str, Any], digits: int, *, scale: float = 1.0) -> str:
    """Return mean and, over several trainings, standard deviation."""
    mean, deviation = (f"{scale * value[name]:.{digits}f}" for name in ("mean", "spread"))
    return f"{mean} ± {deviation}" if value["spread"] else mean


def percent(figures: dict[str, Any]) -> str:
    """Return UAR and its interval in percent."""
    uar, (low, high) = figures["uar"], figures["uar_interval"]
    uar = uar["mean"] if isinstance(uar, dict) else uar
    return f"{100 * uar:.1f} ({100 * low:.0f} to {100 * high:.0f})"


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "random": study_table, "speaker": speaker_table, "unheard": unheard_table
}  # fmt: skip

if __name__ == "__main__":
    for path in sys.argv[1:]:
        report = json.loads(Path(path).read_text())
        print(TABLES[report["protocol"]](report))
