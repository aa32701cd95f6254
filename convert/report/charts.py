"""The report's pictures, as SVG."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from convert.verification.calibrate import Calibration
from convert.verification.verify import Verification

matplotlib.rcParams["svg.hashsalt"] = "roomtone"  # the same picture gives the same bytes
_COLOURS = {"float32": "#777777", "float16": "#56b4e9", "dynamic": "#e69f00", "int8": "#0072b2"}
_MARKERS = {"window": "s", "step": "o", "utterance": "D"}


def size_and_cost(verifications: Sequence[Verification]) -> str:
    """Return error rates over file size, and over the microseconds that a second of sound takes, side by side."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for found in verifications:
        device = found.devices[0]
        for panel, value in zip(panels, (found.file_bytes / 1000, device.us_per_audio_s), strict=True):
            panel.plot(
                value,
                device.accuracy * 100,
                _MARKERS[found.form],
                color=_COLOURS[found.precision],
                markersize=8,
                alpha=0.85,
            )
            panel.annotate(
                found.network, (value, device.accuracy * 100), xytext=(5, 4), textcoords="offset points", fontsize=8
            )
    for panel, label in zip(panels, ("KB on disk", "µs per second of sound"), strict=True):
        panel.set_xscale("log")
        panel.set_xlabel(label)
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("test accuracy (%)")
    for name, colour in _COLOURS.items():
        panels[0].plot([], [], "o", color=colour, label=name)
    for name, marker in _MARKERS.items():
        panels[0].plot([], [], marker, color="none", markeredgecolor="black", label=name)
    panels[0].legend(fontsize=8)
    return _svg(figure)


def reliability(calibration: Calibration) -> str:
    """Return a reliability diagram: share of right answers over confidence, before and after."""
    figure = Figure(figsize=(4, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for bars, fill, name in ((calibration.before, "none", "before"), (calibration.after, "#0072b2", "after")):
        sizes = [20 + 200 * bar.count / calibration.clips for bar in bars]
        panel.scatter(
            [bar.confidence for bar in bars], [bar.accuracy for bar in bars],
            s=sizes, facecolors=fill, edgecolors="#0072b2", alpha=0.8, label=name,
        )  # fmt: skip
    panel.axvline(calibration.enter, color="#d55e00", linewidth=1, linestyle="--")
    panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
    panel.legend(fontsize=8)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
