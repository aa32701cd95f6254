"""`roomtone classify --plot`: a recording as the sensor heard it, for an owner who chooses thresholds by looking."""

import importlib.util
import itertools
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.config import Decision
from edge.errors import UnavailableError, printable
from edge.files import PlaceError, unwritable
from edge.hearing.decision import settings
from edge.hearing.observation import Observation
from edge.labels import QUIET, UNKNOWN
from edge.model.manifest import DecisionDefaults, Manifest
from edge.sound.blocks import BLOCK_S, Block

if TYPE_CHECKING:  # what a sensor has not
    from matplotlib.figure import Figure

_DPI = 120
_PIECES = 4  # of a block: the waveform's outline
_GREY = {QUIET: "#e4e7eb", UNKNOWN: "#9aa5b1"}


def require_drawing() -> None:
    """Raise UnavailableError where there is no matplotlib to draw with, PlaceError where no picture can lie here."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UnavailableError(
            "--plot: matplotlib: not installed, as in a sensor's environment; `make setup-dev` makes one that has it "
            f"(.venv/bin/roomtone), or here: {sys.executable} -m pip install matplotlib"
        )
    if trouble := unwritable(os.curdir, folder=True):
        raise PlaceError(f"--plot: {trouble}: pictures lie in the folder where it is called: call it in another")


def picture_of(recording: str | Path) -> Path:
    """Return a name here for a recording's picture, its folder's in front: one that no file has yet."""
    path = Path(os.path.abspath(recording))
    name = "-".join(part for part in (path.parent.name, path.stem) if part)
    numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    return next(target for number in numbers if not os.path.lexists(target := Path(f"{name}{number}.png")))


class Track:
    """What a picture needs of a recording: its outline, not its samples, and what was heard."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.low: list[np.ndarray] = []
        self.high: list[np.ndarray] = []

    def add(self, block: Block, observation: Observation) -> None:
        pieces = block.captured.reshape(_PIECES, -1)
        self.low.append(pieces.min(axis=1))
        self.high.append(pieces.max(axis=1))
        self.observations.append(observation)


def drawn(recording: str, track: Track, manifest: Manifest, decision: Decision) -> Path:
    """Draw a recording into the folder where this is called, and return where the picture lies."""
    target = picture_of(recording)
    draw(target, printable(recording), track, manifest.labels, settings(manifest.decision, decision))
    return target


def draw(target: str | Path, title: str, track: Track, labels: list[str], decision: DecisionDefaults) -> None:
    """Write a picture of waveform, speech, scores with thresholds, and decisions (format by `target`'s suffix)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font lacks is drawn as boxes
        figure_of(title, track, labels, decision).savefig(target)


def figure_of(title: str, track: Track, labels: list[str], decision: DecisionDefaults) -> "Figure":
    """Return the picture. Of the words for what is said, those are shown that have room in their stretch."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    observations = track.observations
    times = np.array([observation.at_s for observation in observations])
    empty = np.full(len(labels), np.nan)
    scores = np.array([empty if o.scores is None else o.scores for o in observations])
    colours = dict(zip(labels, itertools.cycle(colormaps["tab10"].colors), strict=False)) | _GREY
    figure = Figure(figsize=(12, 8), layout="constrained", dpi=_DPI)
    wave, speech, score, said = figure.subplots(4, 1, sharex=True, height_ratios=[2, 1, 3, 0.6])
    wave.set_title(title, parse_math=False)  # a file's name
    low, high = np.concatenate(track.low), np.concatenate(track.high)
    at = (np.arange(len(low)) + 0.5) * BLOCK_S / _PIECES
    wave.fill_between(at, low, high, color="#52606d", linewidth=0)
    wave.set(ylabel="waveform", ylim=(-1, 1))
    speech.plot(times, [o.level_dbfs for o in observations], color="#52606d", label="level")
    speech.fill_between(
        times,
        -100,
        0,
        where=[o.speech for o in observations],
        step="pre",
        alpha=0.25,
        color="tab:green",
        label="speech",
    )
    speech.set(ylabel="dBFS", ylim=(-90, 0))
    speech.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for column, label in enumerate(labels):
        score.plot(times, scores[:, column], color=colours[label], label=label)
    score.axhline(decision.enter, color="black", linewidth=0.8, linestyle="--", label="enter")
    score.axhline(decision.exit, color="black", linewidth=0.8, linestyle=":", label="exit")
    score.set(ylabel="smoothed score", ylim=(0, 1))
    words = []
    for begin_s, end_s, label in _runs(observations):
        span = said.axvspan(begin_s, end_s, color=colours[label])
        words.append((said.text((begin_s + end_s) / 2, 0.5, label, ha="center", va="center", fontsize=8), span))
    for label, colour in _GREY.items():  # of the strip, whose short stretches have no room for a word
        score.fill_between([], [], [], color=colour, label=label)
    score.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    said.set(yticks=[], ylabel="says", xlabel="seconds", xlim=(0, times[-1]))
    figure.draw_without_rendering()
    for word, span in words:
        word.set_visible(word.get_window_extent().width <= span.get_window_extent().width)
    return figure


def _runs(observations: list[Observation]) -> list[tuple[float, float, str]]:
    """Return `(begin_s, end_s, label)` of each stretch with one label."""
    runs: list[tuple[float, float, str]] = []
    begin_s = 0.0
    for observation, following in zip(observations, [*observations[1:], None], strict=True):
        if following is None or following.label != observation.label:
            runs.append((begin_s, observation.at_s, observation.label))
            begin_s = observation.at_s
    return runs
