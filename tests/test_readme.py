"""The README's figures are those of the reports that are committed beside it."""

import json
from pathlib import Path

import pytest

from convert.report.tables import artifact_table
from tests.bench import everybody_table
from tests.bench.cost import table
from tests.support.sounds import ROOT
from train.study.tables import TABLES

README = (ROOT / "README.md").read_text()
REPORTS = sorted((ROOT / "train" / "reports").glob("*/report.json"))
ARTIFACTS = sorted((ROOT / "convert" / "reports").glob("*.json"))


def test_there_are_reports():
    assert {json.loads(path.read_text())["protocol"] for path in REPORTS} >= {"random"}
    assert ARTIFACTS


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_the_readme_has_each_reports_table(path: Path):
    report = json.loads(path.read_text())
    assert TABLES[report["protocol"]](report) in README


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_the_readme_has_the_artifacts_table(path: Path):
    assert artifact_table(json.loads(path.read_text())) in README


def test_what_is_said_of_the_ears_is_in_their_report():
    reports = ROOT / "tests" / "bench" / "reports"
    report = json.loads((reports / "everybody.json").read_text())
    assert everybody_table.table(report) == (reports / "everybody.md").read_text()
    assert everybody_table.fooled(report["totals"]) in README


def test_the_readme_has_the_bench_s_table():
    assert table(json.loads((ROOT / "tests" / "bench" / "reports" / "cost.json").read_text())) in README
