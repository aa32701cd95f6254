"""The report's pictures, as SVG."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from convert.verification.calibrate import Calibration
from convert.verification.verify import Verification
from train.rooms.heard_before import JUDGED, known_rooms
from train.study.robustness import CLEAN

matplotlib.rcParams["svg.hashsalt"] = "roomtone"  # the same picture gives the same bytes
_COLOURS = {"float32": "#777777", "float16": "#56b4e9", "dynamic": "#e69f00", "int8": "#0072b2"}
_MARKERS = {"window": "s", "step": "o", "utterance": "D"}


def size_and_cost(verifications: Sequence[Verification]) -> str:
    """Return accuracy over file size, and over the microseconds that a second of sound takes, side by side; nothing of
    a single artifact, which there is nothing to compare with."""
    if len(verifications) < 2:
        return ""
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
    for panel, label in zip(panels, ("kB", "µs per second of sound"), strict=True):
        panel.set_xscale("log")
        panel.set_xlabel(label)
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("test accuracy (%)")
    for name, colour in _COLOURS.items():
        if any(found.precision == name for found in verifications):
            panels[1].plot([], [], "o", color=colour, label=name)
    for name, marker in _MARKERS.items():
        if any(found.form == name for found in verifications):
            panels[1].plot([], [], marker, color="none", markeredgecolor="black", label=name)
    panels[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
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


def heard(found: dict[str, Any]) -> bytes:
    """Return as PNG what strangers' figures (strangers.py) look like: UAR over what was heard before, and what is lost
    where hearing is harder."""
    figure = Figure(figsize=(10, 4), layout="constrained", dpi=90)
    unseen = found["unseen"]
    harder = [name for name in next(iter(unseen.values())).get("conditions", {}) if name != CLEAN]
    left, *right = figure.subplots(1, 2 if harder else 1, squeeze=False)[0]
    for corpus, one in unseen.items():
        counts = {setting.heard: 100 * one["uar"][str(setting)] for setting in known_rooms()}
        (line,) = left.plot(range(len(counts)), list(counts.values()), "o-", label=corpus)
        if one.get("uar_deviation") is not None:
            at = list(counts).index(JUDGED.heard)
            left.errorbar(at, counts[JUDGED.heard], 100 * one["uar_deviation"], color=line.get_color(), capsize=4)
    left.set_xticks(range(len(counts)), [str(count) for count in counts])
    left.set(xlabel="utterances heard before", ylabel="UAR over its own labels (%)")
    left.legend(fontsize=8)
    left.grid(alpha=0.25)
    for panel in right:
        width = 0.8 / len(unseen)
        for place, (corpus, one) in enumerate(unseen.items()):
            lost = [100 * (one["conditions"][CLEAN] - one["conditions"][name]) for name in harder]
            panel.bar([at + place * width for at in range(len(harder))], lost, width, label=corpus)
        panel.set_xticks([at + 0.4 - width / 2 for at in range(len(harder))], harder)
        panel.set_ylabel("points lost of some clips")
        panel.axhline(0, color="black", linewidth=0.8)
        panel.grid(axis="y", alpha=0.25)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
