"""How a figure grows with something: in tables the power of it, and pictures in one style.

`make growth` runs all that grows: blocks.py, soak.py, daemons.py, laboratory.py and fleet.py.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Panel(NamedTuple):
    """What is drawn side by side with others: lines by their name, each a value for every place of the x axis. most: a
    line that nothing is to be above, with its name."""

    unit: str
    lines: Mapping[str, Sequence[float]]
    most: tuple[str, float] | None = None
    logarithmic: bool = False


def power(few: float, many: float, less: float, more: float) -> str:
    """Return by which power of a number a figure grew that was `less` for few and `more` for many: `n^1.02`."""
    return f"n^{math.log(more / less) / math.log(many / few):.2f}"


def draw(path: Path, across: str, places: Sequence[float], panels: Sequence[Panel], *, doubling: bool = True) -> None:
    """Draw panels side by side. across: what the x axis is; doubling: places that double are equally far apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, drawn = pyplot.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 3.6), layout="constrained", squeeze=False
    )
    for axes, panel in zip(drawn[0], panels, strict=True):
        for name, values in panel.lines.items():
            axes.plot(places, values, marker="o" if doubling else None, label=name)
        if panel.most:
            name, most = panel.most
            axes.axhline(most, linestyle=":", color="gray", label=name)
        if doubling:
            axes.set_xscale("log", base=2)
            axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.minorticks_off()
        axes.set_yscale("log" if panel.logarithmic else "linear")
        if not panel.logarithmic:
            axes.set_ylim(0, 1.2 * max(max(values) for values in panel.lines.values()))  # with room for the legend
        axes.set(xlabel=across, ylabel=panel.unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)
