"""The page of one training: its own words and figures."""

import html
import re
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib.pyplot as plt
import msgspec
import numpy as np
import pytest

from tests.support.chromium import cut_off
from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job
from train.fitting import metrics
from train.fitting.runs import Run
from train.pages import pictures, run_report


class Cells(HTMLParser):
    """The tables of a page, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag, attributes) -> None:
        self._inside = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        elif self._inside:
            self.rows[-1].append("")

    def handle_data(self, data) -> None:
        if self._inside:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from train.fitting.fit import fit

    folder = tmp_path_factory.mktemp("lab")
    config = tiny_config(folder, labels=("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm"))
    clips = tiny_clips(folder, config)
    return fit(tiny_job("ann", clips, config, protocol="speaker"), clips, config, SPEC, folder=folder / "ann")


def truth_of(run) -> np.ndarray:
    return np.array([run.record.labels.index(clip.label) for clip in run.clips("test")])


def test_the_page_is_of_this_training(run):
    page = run_report.write(run)
    assert page == run.folder / "report.html"
    text = page.read_text()
    test = run.record.metrics["test"]
    assert f"right about {100 * test['accuracy']:.1f} % of 42 test clips" in text
    assert "Always saying the same label would be right about 14.3 %." in " ".join(text.split())  # 6 clips of each
    assert "oo short a training" not in text
    assert "guesses among the labels that have test clips gets 14.3 %" in text  # of 8 labels, 7 have clips
    assert "None of its voices was trained on." in text
    assert "Few test clips: with 42 of them an accuracy is up to 15 points off by chance alone (95 %)" in text
    low, high = metrics.interval(truth_of(run), run.logits("test").argmax(axis=1), metrics.uar)
    assert f"UAR {100 * low:.1f} to {100 * high:.1f} %" in text
    assert "bootstrap over clips" in text  # of a single voice
    assert "A training curve is the mean over each epoch's batches" in html.unescape(text)
    assert "ive networks" not in text
    assert text.count("data:image/png;base64,") == 2  # curves and confusions
    assert not re.search(r"(src|href)=.http", text)
    cells = Cells()
    cells.feed(text)
    rows = {row[0]: row[1:] for row in cells.rows if row}
    assert rows["test"][:2] == ["42", f"{test['accuracy']:.2f}"]  # of so few clips, no more digits
    assert rows["calm"] == ["0", "–", "–", "–"]  # which no clip is
    for label, figures in test["per_class"].items():
        if figures["n"]:
            assert rows[label] == [str(figures["n"]), *(f"{figures[of]:.2f}" for of in ("recall", "precision", "f1"))]


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ("random", "a voice that it never heard; --protocol kfold tests such voices."),
        ("word", "a voice that it never heard; --protocol kfold tests such voices."),
        ("speaker", "None of its voices was trained on."),
        ("corpus", "Nothing of the corpus that is tested was trained on."),
    ],
)
def test_the_terminal_says_whose_voices_were_tested(run, protocol, says):
    changed = Run(run.folder, msgspec.structs.replace(run.record, protocol=protocol))
    assert list(run_report.lines(changed))[-1].endswith(says)


def test_a_training_shorter_than_its_recipe_wants_says_so(run):
    short = msgspec.structs.replace(run.record, recipe=msgspec.structs.replace(run.record.recipe, least_steps=90))
    changed = Run(run.folder, short)
    said = "oo short a training: 6 steps (2 epochs of 3), where the recipe wants 90: leave --epochs out, or ask for 30"
    assert list(run_report.lines(changed))[-1].endswith(said)
    assert said in run_report.write(changed).read_text()


@pytest.mark.parametrize("width", [1100, 600])
def test_no_table_is_cut_off_at_the_right(run, chromium, width):
    assert cut_off(chromium, run_report.write(run), width) == []


def test_both_sides_of_a_picture_are_the_same_figure():
    """What a training minimizes may be a sum: it is not drawn beside a cross-entropy."""
    curves = {"loss": [9.0, 8.0], "cross_entropy": [1.5, 1.2], "val_cross_entropy": [1.6, 1.4],
              "accuracy": [0.3, 0.6], "val_accuracy": [0.3, 0.5]}  # fmt: skip
    drawn = pictures.curves({"ann": {"curves": curves}})
    assert drawn == pictures.curves({"ann": {"curves": curves | {"loss": [1.0, 1.0]}}})
    assert drawn != pictures.curves({"ann": {"curves": curves | {"cross_entropy": [1.6, 1.2]}}})


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1.3, 2.6], None),  # a logarithm of so little would be labelled 2.6x10^0 beside 2.4x10^0
        ([0.06, 1.8], ["0.1", "0.2", "0.5", "1"]),
        ([2e-5, 1.0], ["0.0001", "0.001", "0.01", "0.1", "1"]),
    ],
)
def test_figures_at_an_axis_are_plain_and_apart(values, labels):
    figure, axis = plt.subplots(figsize=(4.5, 2.3))
    axis.plot([1, 2], values, label="training")
    pictures._logarithmic_if_wide(axis)
    pictures._legend(axis)
    figure.tight_layout()
    figure.canvas.draw()
    low, high = axis.get_ylim()
    shown = [text for text in axis.get_yticklabels() if low <= text.get_position()[1] <= high]
    boxes = [text.get_window_extent() for text in shown]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert axis.get_yscale() == ("log" if labels else "linear")
    assert labels is None or {text.get_text() for text in shown} >= set(labels)
    assert not axis.get_legend().get_window_extent().overlaps(axis.get_window_extent())
    plt.close(figure)


@pytest.mark.parametrize(("clips", "shown"), [(metrics.FEW_CLIPS - 1, "0.24"), (metrics.FEW_CLIPS, "0.2382")])
def test_a_figure_of_few_clips_has_few_digits(clips, shown):
    assert run_report._figure(0.2382, clips, 4) == shown
    assert (metrics.too_few(clips) is None) == (shown == "0.2382")
