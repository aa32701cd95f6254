"""What a conversion says of itself, on the terminal and on its page, from the committed report's artifacts."""

import html
import json
import re

import msgspec
import numpy as np
import pytest

from convert.make import Result
from convert.report import charts
from convert.report.page import lines, page
from convert.verification.calibrate import MIN_SAID, Calibration, calibrate
from edge.model.manifest import FORMS, PRECISIONS
from tests.support.chromium import cut_off
from tests.support.sounds import ROOT


@pytest.fixture(scope="module")
def result() -> Result:
    content = json.loads((ROOT / "convert" / "reports" / "random.json").read_text())
    return msgspec.convert(content["results"][0], Result)


def judged(sure: int, right: int, doubtful: int) -> Calibration:
    """Of `sure` clips answered from 0.95 on, `right` are right; `doubtful` ones are wrong below it."""
    logits = np.array([[6.0, 0.0]] * sure + [[0.5, 0.0]] * doubtful)
    truth = np.array([0] * right + [1] * (sure - right + doubtful))
    return calibrate(truth, logits, abstain_precision=0.8)


def both(result: Result, calibration: Calibration) -> list[str]:
    changed = msgspec.structs.replace(result, calibration=calibration)
    return [" ".join("\n".join(lines(changed)).split()), " ".join(page([changed]).split())]


def test_a_threshold_that_too_few_clips_bear_witness_to_is_not_called_less_right_than_asked(result):
    found = judged(sure=17, right=15, doubtful=7)
    assert (found.enter, found.reached) == (0.95, False)
    assert found.precision > 0.8
    terminal, html = both(result, found)
    assert "calibrated on 24 clips" in terminal
    assert "labels are said from 0.95 on, for 17 of them (71%), 88% of those right" in terminal
    for text in (terminal, html):
        assert (
            f"none at which {MIN_SAID} clips or more get a label is as right as convert.abstain_precision asks; "
            "it is the highest there is" in text
        )


def test_a_threshold_that_is_found_is_not_doubted(result):
    for text in both(result, judged(sure=40, right=38, doubtful=7)):
        assert "to rely on" not in text


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (0, "WILL NAME NOTHING: none of these 28 clips gets a label, all get `unknown`; give it more clips"),
        (2, "WILL NAME ALMOST NOTHING: 2 of these 28 clips get a label, the others `unknown`; give it more clips"),
        (3, None),
    ],
)
def test_a_model_that_will_hardly_name_anything_is_said_to(result, said, says):
    found = msgspec.structs.replace(judged(0, 0, 28), coverage=said / 28, precision=1.0 if said else None)
    for text in both(result, found):
        assert ("WILL NAME" in text) == bool(says)
        assert says is None or says in html.unescape(text)


def test_where_nothing_is_said_nothing_is_right_or_wrong(result):
    found = judged(sure=0, right=0, doubtful=28)
    assert (found.precision, found.coverage) == (None, 0.0)
    terminal, page_of = both(result, found)
    assert "labels are said from 0.95 on, for 0 of them (0%) WILL NAME" in terminal
    assert "of those are right" not in page_of
    moody = msgspec.structs.replace(found, mood_enter=0.5)
    assert "all get a mood or `unknown`" in both(result, moody)[0]


def test_of_few_mistakes_the_confidence_is_left_alone_and_that_is_said(result):
    assert "it mistakes 9: 10 at least are needed to correct how sure it is" in both(result, judged(17, 15, 7))[0]
    assert "at least are needed to correct" not in both(result, judged(17, 15, 8))[0]


def test_where_the_form_hears_more_than_the_training_s_windows_both_figures_are_said(result):
    same = msgspec.structs.replace(result.verification, window_accuracy=0.3958, keras_accuracy=0.3958)
    other = msgspec.structs.replace(same, keras_accuracy=0.3542, form="step")
    for found, said in ((same, False), (other, True)):
        changed = msgspec.structs.replace(result, verification=found)
        for text in (" ".join(lines(changed)), page([changed])):
            assert ("`fit` has 0.3958" in " ".join(text.split()) and "the step form" in text) == said


def test_that_there_is_no_second_runtime_is_said_on_the_terminal_as_on_the_page(result):
    assert len(result.verification.devices) == 2
    alone = msgspec.structs.replace(result.verification, devices=result.verification.devices[:1])
    for verification, said in ((result.verification, False), (alone, True)):
        changed = msgspec.structs.replace(result, verification=verification)
        for text in (" ".join(lines(changed)), page([changed])):
            assert ("Not verified in a second runtime" in text) == said


@pytest.mark.parametrize(("clips", "few"), [(17, True), (100, False)])
def test_of_few_test_clips_it_is_said_how_little_they_tell(result, clips, few):
    changed = msgspec.structs.replace(
        result, verification=msgspec.structs.replace(result.verification, clips=clips)
    )
    for text in (" ".join(lines(changed)), page([changed])):
        assert ("TOO FEW test clips to tell how good it is: with 17 of them an accuracy is up to 24" in text) == few


def test_one_artifact_is_one(result):
    assert "<p>1 artifact, of which 1 passed every gate and stands in place." in page([result])
    refused = msgspec.structs.replace(result, path=None)
    assert "<p>2 artifacts, of which 1 passed every gate and stands in place." in page([result, refused])


def test_a_picture_compares_what_there_is(result):
    """Of one artifact there is nothing to compare; of several, the precisions and forms that occur are explained."""
    verification = result.verification
    assert charts.size_and_cost([verification]) == ""
    assert page([result]).count("<svg") == 1  # of its calibration
    other = msgspec.structs.replace(verification, precision="int8")
    drawn = charts.size_and_cost([verification, other])
    written = set(re.findall(r"<!-- (.*?) -->", drawn))
    assert {verification.precision, "int8", verification.form} <= written
    assert not written & ({*PRECISIONS, *FORMS} - {verification.precision, "int8", verification.form})


@pytest.mark.parametrize("width", [1100, 600])
def test_no_table_is_cut_off_at_the_right(result, chromium, tmp_path, width):
    other = msgspec.structs.replace(result.verification, precision="int8", failures=["agreement: " + 30 * "too low "])
    (tmp_path / "page.html").write_text(page([result, msgspec.structs.replace(result, verification=other)]))
    assert cut_off(chromium, tmp_path / "page.html", width) == []
