"""Whatever is to be written has its place asked for before the work: one line, status 73, and nothing done."""

import os

import pytest
import yaml

from convert import unheard
from convert.__main__ import main as convert
from edge.commands.cli import main as roomtone
from tests.commands.test_cli import complaint
from tests.commands.test_cli import roomtone as as_a_user
from tests.support.artifacts import WINDOW
from tests.support.tiny_corpus import write_corpus
from tests.test_files import LIKE_ANYBODY
from train.__main__ import main as train

VERBS = {
    "index": ["index"],
    "fit": ["fit", "--network", "ann", "--data"],
    "speech": ["speech", "--data"],
    "compare": ["compare", "--data"],
    "strangers": ["strangers", "--data"],
    "tune": ["tune", "--network", "ann", "--data"],
}


@pytest.fixture
def config(tmp_path, monkeypatch) -> str:
    """A configuration of the laboratory, in a folder to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"train": {"cache": str(tmp_path / "cache")}}))
    return str(tmp_path / "c.yaml")


@pytest.mark.parametrize("out", ["/proc/o", "file", "file/in/it", "x" * 300])
@pytest.mark.parametrize("verb", VERBS)
def test_training_asks_before_it_looks_at_anything(config, capsys, verb, out):
    assert train([*VERBS[verb], "no such corpus", "--out", out, "--config", config]) == 73
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --out {out}: ")
    assert line.endswith(": name another place")
    assert sorted(os.listdir()) == ["c.yaml", "file"]


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"index", "tune"}))
def test_and_so_for_a_name(config, capsys, verb):
    name = ["--name", "x" * 300]
    assert train([*VERBS[verb], "no such corpus", *name, "--out", "runs", "--config", config]) == 73
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --name runs/xxx")


def test_a_home_folder_in_an_output_is_not_a_folder_called_tilde(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert train(["index", str(write_corpus(tmp_path, words=("dog",))), "--out=~/index", "--config", config]) == 0
    assert (tmp_path / "home" / "index" / "index.csv").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("out", ["/proc/o.tflite", ".", "/dev/null", "pipe", "file/o.tflite", "x" * 300])
def test_conversion_asks_before_it_looks_for_the_run(config, capsys, out):
    os.mkfifo("pipe")
    assert convert(["no such run", "--out", out, "--config", config]) == 73
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --out {out}: ")


def test_the_set_and_the_report_on_unheard_voices_too(config, capsys, tmp_path):
    (tmp_path / "set.yaml").write_text("convert: {out: /proc/o, set: [{runs: [nowhere]}]}")
    assert convert(["--config", "set.yaml"]) == 73
    assert capsys.readouterr().err.startswith("error: convert.out /proc/o: nothing can be written there (No such file")
    assert unheard.main(["nowhere", "--noise", "nowhere", "--out", "/proc/o", "--config", config]) == 73
    assert capsys.readouterr().err.startswith("error: --out /proc/o: nothing can be written there (No such file")


def test_runs_to_convert_are_found_at_home_and_anywhere(config, capsys, tmp_path, monkeypatch):
    """A pattern may begin with ~ or / (that it was looked for there shows in what is said of what was found)."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs" / "a-seed0").mkdir(parents=True)
    (tmp_path / "home" / "runs" / "a-seed0" / "run.json").write_text("{}")
    for pattern in ("~/runs/*-seed0", str(tmp_path / "home" / "**" / "a-*"), "home/runs/[a]*"):
        (tmp_path / "set.yaml").write_text(yaml.safe_dump({"convert": {"set": [{"runs": [pattern]}]}}))
        assert convert(["--config", "set.yaml"]) == 66
        assert "home/runs/a-seed0/run.json: Object missing required field" in capsys.readouterr().err
    (tmp_path / "set.yaml").write_text("convert: {set: [{runs: [~/nothing/*]}]}")
    assert convert(["--config", "set.yaml"]) == 78
    said = capsys.readouterr().err
    assert f"no finished run matches {tmp_path}/home/nothing/*; for a single run, name it: make convert RUN=" in said


def test_a_run_whose_name_is_misspelt_or_whose_training_is_not_over(capsys, tmp_path):
    (tmp_path / "runs" / "cnn-kfold-0").mkdir(parents=True)
    (tmp_path / "runs" / "cnn-kfold-0" / "run.json").write_text("{}")
    (tmp_path / "runs" / "begun").mkdir()
    for name, said in (
        ("cnn-kfold-1", "no such folder: did you mean cnn-kfold-0?"),
        ("zebra", "no such folder"),
        ("begun", "not a finished run (run.json is missing)"),
    ):
        assert convert([str(tmp_path / "runs" / name)]) == 66
        assert capsys.readouterr().err == f"error: {tmp_path}/runs/{name}: {said}\n"


def test_keys_have_a_place_of_their_own(tmp_path, capsys):
    assert roomtone(["model", "keygen", "/proc/k"]) == 73
    assert "/proc/k.key: cannot be written (No such file or directory)" in capsys.readouterr().err


def test_pictures_lie_where_they_can(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "closed").mkdir(mode=0o555)
    done = as_a_user("classify", "--plot", WINDOW, cwd=tmp_path / "closed", before=LIKE_ANYBODY)
    assert "--plot: nothing can be written there (Permission denied): pictures lie in the" in complaint(done, 73)
    assert done.stdout == ""
