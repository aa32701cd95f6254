"""The figures of the READMEs are those of the reports that are committed beside them."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from convert import strangers, taught
from convert.report.tables import artifact_table
from tests.bench import (
    blocks,
    daemons,
    everybody_table,
    guard,
    history,
    instances,
    laboratory,
    sensitivity,
    soak,
    telling,
)  # fmt: skip
from tests.bench.cost import summary, table
from tests.support.sounds import ROOT
from tests.test_house import HOUSES
from train.pages.tables import TABLES
from train.rooms.heard_before import JUDGED

README = (ROOT / "README.md").read_text()
STRANGERS = [ROOT / "train" / "reports" / name for name in ("strangers", "open")]
TAUGHT = ROOT / "train" / "reports" / "taught"
REPORTS = [
    path for path in sorted((ROOT / "train" / "reports").glob("*/report.json"))
    if path.parent not in (*STRANGERS, TAUGHT)
]  # fmt: skip
ARTIFACTS = sorted((ROOT / "convert" / "reports").glob("*.json"))
COST = json.loads((ROOT / "tests" / "bench" / "reports" / "cost.json").read_text())
MOST_LINES = 150
SIGNS = ("edge", "train", "convert", "deploy", "tests")


def test_there_are_reports():
    assert {json.loads(path.read_text())["protocol"] for path in REPORTS} >= {"random"}
    assert ARTIFACTS


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_the_readme_has_each_reports_table(path: Path):
    report = json.loads(path.read_text())
    assert TABLES[report["protocol"]](report) in (ROOT / "train" / "reports" / "README.md").read_text()


@pytest.mark.parametrize("folder", STRANGERS, ids=lambda folder: folder.name)
def test_the_report_of_strangers_is_that_of_its_figures(folder: Path):
    found = json.loads((folder / "report.json").read_text())
    why = f"python -m convert.strangers writes {folder.name}/report.md anew"
    assert strangers.table(found) == (folder / "report.md").read_text(), why


def test_the_report_of_lessons_is_that_of_its_figures():
    found = json.loads((TAUGHT / "report.json").read_text())
    assert taught.table(found) == (TAUGHT / "report.md").read_text()


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_the_readme_has_the_artifacts_table(path: Path):
    assert artifact_table(json.loads(path.read_text())) in (ROOT / "convert" / "README.md").read_text()


def test_the_instructions_are_those_of_the_guard():
    assert guard.table(json.loads(guard.BASELINE.read_text())) in (ROOT / "tests" / "bench" / "README.md").read_text()


def test_what_is_said_of_the_ears_is_in_their_report():
    reports = ROOT / "tests" / "bench" / "reports"
    report = json.loads((reports / "everybody.json").read_text())
    assert everybody_table.table(report) == (reports / "everybody.md").read_text()
    assert everybody_table.fooled(report["totals"]) in (ROOT / "tests" / "bench" / "README.md").read_text()
    false = report["totals"]["other sounds"]["sensor"]["emotion_events_per_hour"]
    assert f"| {false:.0f} false emotions" in README
    heard = {who: [row["clean"][who] for row in report["heard"].values()] for who in ("sensor", "silero")}
    (low, high), (silero_low, silero_high) = (
        (round(100 * min(found)), round(100 * max(found))) for found in heard.values()
    )
    assert f"heard in {low} (Amharic) to {high} % of the clips (silero-vad: {silero_low} to {silero_high})" in README


def test_the_readme_has_the_laboratory_s_table_and_it_holds_what_is_promised():
    found = json.loads(laboratory.REPORT.read_text())
    assert laboratory.table(found) in (ROOT / "tests" / "bench" / "README.md").read_text()
    for one in found.values():
        assert one["index"]["peak_mb"] < 1_500
        assert one["epoch"]["peak_mb"] < 2_000
        assert one["epoch"]["input_share"] < 0.15


def test_the_readme_has_the_bench_s_table_and_what_it_says():
    bench = (ROOT / "tests" / "bench" / "README.md").read_text()
    assert table(COST) in bench
    assert summary(COST) in " ".join(bench.split())
    live = json.loads(telling.REPORT.read_text())
    assert telling.table(live) in bench
    assert telling.summary(live) in " ".join(bench.split())


@pytest.mark.parametrize("bench", [blocks, daemons, soak], ids=lambda bench: bench.REPORT.stem)
def test_the_readme_has_the_tables_of_growth_and_their_pictures(bench):
    sign = (ROOT / "tests" / "bench" / "README.md").read_text()
    assert bench.table(json.loads(bench.REPORT.read_text())) in sign
    assert f"(reports/{bench.REPORT.stem}.png)" in sign


def test_the_readme_has_the_bench_s_table_of_sensitivity_and_more_is_more():
    found = json.loads(sensitivity.REPORT.read_text())
    assert sensitivity.table(found) in (ROOT / "tests" / "bench" / "README.md").read_text()
    for less, more in pairwise(found):
        assert less["false_events_per_hour"] < more["false_events_per_hour"]
        assert less["speech_labelled"] < more["speech_labelled"]


def test_the_readme_has_the_bench_s_table_of_several_rooms():
    found = json.loads(instances.REPORT.read_text())
    assert [one["sensors"] for one in found] == [1, 2, 3, 8]
    assert instances.table(found) in (ROOT / "tests" / "bench" / "README.md").read_text()


def test_the_readme_has_the_bench_s_table_of_histories():
    found = json.loads(history.REPORT.read_text())
    assert history.table(found) in (ROOT / "tests" / "bench" / "README.md").read_text()


def test_the_figures_that_matter_are_the_reports():
    found = json.loads((STRANGERS[0] / "report.json").read_text())
    unseen = {corpus: f"{100 * one['uar'][str(JUDGED)]:.0f}" for corpus, one in found["unseen"].items()}
    for corpus, uar in unseen.items():
        assert re.search(rf"\b{uar}(?: %)? \({corpus}\)", README), corpus
    before = json.loads((ROOT / "train" / "reports" / "unheard" / "report.json").read_text())
    uar_before = 100 * before["corpora"]["RAVDESS"]["uar"]["clean"]
    voices = {corpus: f"{100 * one['uar']:.0f}" for corpus, one in found["voices"].items()}
    assert f"{voices['RAVDESS']} % (RAVDESS; the sensor's network before: {uar_before:.0f})" in README
    assert f"{voices['CREMA-D']} (CREMA-D), {voices['TESS']} (TESS) right" in README
    said, right = (f"{100 * found['pooled'][name]:.0f}" for name in ("said", "right_where_said"))
    assert f"says a label in {said} % of its answers, of which {right} % are right" in README
    assert "two in five to three in four" in " ".join(README.split())
    assert all(36 <= int(uar) <= 80 for uar in unseen.values())
    taught = json.loads((TAUGHT / "report.json").read_text())["kinds"]["utterance"]
    for corpus in ("nEMO", "CREMA-D"):
        rows = taught[corpus]["scenarios"]["1 voice"]
        untaught, with_five = (f"{100 * rows[lessons]['uar']:.0f}" for lessons in ("0", "5"))
        assert re.search(rf"{with_five} % \({corpus}; {untaught}", README), corpus
    costs = {name: peer["sounds"]["speech"]["cpu_per_audio_s"] for name, peer in COST["peers"].items()}
    times = costs["study"] / costs["roomtone"]
    assert f"{1_000 * costs['roomtone']:.1f} ms of CPU: {times:.0f} times less than the study's way" in README
    telling = json.loads((ROOT / "tests" / "bench" / "reports" / "telling.json").read_text())
    real_ms = 1_000 * telling["parts"]["sensor"]["cpu_per_audio_s"]["speech"]
    assert f"in real time, with MQTT, {real_ms:.1f} ms" in README


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= MOST_LINES
    for sign in ("", *SIGNS, "train/reports", "tests/bench", "edge/model/bundled"):
        file = ROOT / sign / "README.md"
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text()):
            assert (file.parent / link).exists(), f"{file.relative_to(ROOT)}: {link}"


@pytest.mark.parametrize("house", HOUSES)
def test_a_door_sign_has_the_rooms_in_their_order(house):
    """From the ground up, as tests/test_house.py holds the imports to."""
    rows = re.findall(r"^\| `([a-z_]+)(?:/|\.py)`", (ROOT / house / "README.md").read_text(), re.MULTILINE)
    order = [HOUSES[house].index(room) for room in rows if room in HOUSES[house]]
    assert order == sorted(order)
    rooms = {path.name for path in (ROOT / house).iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(rows), "a room without its line"


@pytest.mark.parametrize("sign", SIGNS)
def test_a_door_sign_names_what_is_there_and_fits_on_a_screen(sign):
    text = (ROOT / sign / "README.md").read_text()
    assert len(text.split("\n## ")[0].splitlines()) <= 40
    there = {path.name for house in SIGNS for path in (ROOT / house).rglob("*")}
    outside = {"config.yaml", "my-model.tflite", "anything.wav"}
    for name in re.findall(r"`(?:[a-z_0-9]+/)*([a-z_0-9]+\.(?:py|sh|md|js|css|j2|json|service))`", text):
        assert name in there | outside, f"{sign}: {name}"
