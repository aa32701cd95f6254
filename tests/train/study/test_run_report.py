"""The page of one training: its own words and figures."""

import html
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest

from tests.support.lab import SPEC, tiny_clips, tiny_config, tiny_job
from train.fitting import metrics
from train.fitting.runs import Run
from train.pages import run_report


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
    assert "Always saying angry, the commonest label there, would be right about 14.3 %." in " ".join(text.split())
    assert "guesses among the labels that have test clips gets 14.3 %" in text  # of 8 labels, 7 have clips
    assert "None of its voices was trained on." in text
    assert "each of the 42 counts 2.4%" in text
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


@pytest.mark.parametrize(("clips", "shown"), [(metrics.FEW_CLIPS - 1, "0.24"), (metrics.FEW_CLIPS, "0.2382")])
def test_a_figure_of_few_clips_has_few_digits(clips, shown):
    assert run_report._figure(0.2382, clips, 4) == shown
    assert (metrics.too_few(clips) is None) == (shown == "0.2382")
