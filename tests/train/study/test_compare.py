"""A comparison: one table, whoever trained; nothing is lost when a worker dies."""

import json
import os
import re
import signal
import time

import msgspec
import numpy as np
import psutil
import pytest

from tests.support.lab import run_train, start_train, write_config
from tests.support.patience import PATIENCE_S
from tests.support.tiny_corpus import write_corpus
from train.fitting import checkpoint
from train.loading import resumable
from train.pages.report import write as write_page

VARYING = ("seconds", "seconds_per_epoch", "created", "training_seconds", "device", "commit")


def without_clocks(value):
    """A report without what depends on when and where it was made."""
    if isinstance(value, dict):
        return {key: without_clocks(part) for key, part in value.items() if key not in VARYING}
    return [without_clocks(part) for part in value] if isinstance(value, list) else value


def report(folder, name):
    return json.loads((folder / name / "compare-random" / "report.json").read_text())


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two small networks compared by processes of this machine, robustness and scalability included."""
    folder = tmp_path_factory.mktemp("compare")
    corpus, config = write_corpus(folder), write_config(folder)
    options = ("compare", "--config", config, "--data", corpus, "--networks", "ann", "rnn", "--epochs", "3")
    run_train(*options, "--jobs", "1", "--robustness", "--scalability", "--out", folder / "here")
    return folder, options, report(folder, "here")


def test_the_report_holds_everything(compared):
    folder, _, found = compared
    assert list(found["table"]) == ["rnn", "ann", "majority", "length", "linear"]
    assert found["table"]["ann"]["seeds"] == 2
    assert found["table"]["majority"]["sides"]["test"]["accuracy"]["mean"] == pytest.approx(1 / 7, abs=0.02)
    for name in ("ann", "rnn"):
        row = found["table"][name]
        assert len(row["curves"]["cross_entropy"]) == len(row["curves"]["val_cross_entropy"]) == 3
        assert np.sum(row["confusion"]) == 8
        assert {point["clips"] for point in found["scalability"][name]} == {33, 68}
        assert found["robustness"][name]["clean"] == row["runs"][0]["accuracy"]
        assert set(found["robustness"][name]) == {"clean", "bedroom", "living room", "hall", "3 m"}
    assert [sample["label"] for sample in found["samples"]] == sorted({sample["label"] for sample in found["samples"]})
    page = (folder / "here" / "compare-random" / "report.html").read_text()
    assert "<td>0.9976" in page  # the study's ANN
    assert "1.1745" not in page  # its GRU, which is none of these networks
    assert 'src="http' not in page
    assert page.count("data:image/png;base64,") == len(list((folder / "here" / "compare-random").glob("*.png"))) == 6


def test_beside_a_gru_stands_what_the_studys_loss_is_worth(compared, tmp_path):
    _, _, found = compared
    table = found["table"] | {"gru": found["table"]["rnn"]}
    page = write_page(tmp_path, found | {"table": table}).read_text()
    assert "1.1745" in page
    assert "1.1654" in page


def test_seeds_differ_and_their_spread_is_theirs(compared):
    _, _, found = compared
    values = [run["cross_entropy"] for run in found["table"]["ann"]["runs"]]
    spread = found["table"]["ann"]["sides"]["test"]["cross_entropy"]
    assert values[0] != values[1]
    assert spread["mean"] == pytest.approx(sum(values) / 2)
    assert spread["spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_two_dask_workers_give_the_same_table(compared):
    from distributed import LocalCluster

    folder, options, found = compared
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                      local_directory=folder / "dask") as cluster:  # fmt: skip
        run_train(*options, "--scheduler", cluster.scheduler_address, "--out", folder / "cluster")
    assert without_clocks(report(folder, "cluster")["table"]) == without_clocks(found["table"])


@pytest.mark.slow
@pytest.mark.timeout(1800)  # several processes that each load Keras
def test_a_worker_killed_midway_loses_nothing(compared):
    from distributed import LocalCluster

    folder, options, _ = compared
    longer = (*options[:-1], "40")
    run_train(*longer, "--jobs", "1", "--out", folder / "whole")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                      local_directory=folder / "dask2") as cluster:  # fmt: skip
        process = start_train(*longer, "--scheduler", cluster.scheduler_address, "--out", folder / "killed")
        started = folder / "killed" / "compare-random" / "rnn-random-0-seed0"
        while checkpoint.epochs_done(started) < 5:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        _, err = process.communicate()
    assert process.returncode == 0, err[-2_000:]
    assert without_clocks(report(folder, "killed")["table"]) == without_clocks(report(folder, "whole")["table"])


def test_a_scheduler_that_is_not_there(compared):
    _, options, _ = compared
    process = start_train(*options, "--scheduler", "tcp://127.0.0.1:9", "--out", compared[0] / "nowhere")
    _, err = process.communicate()
    assert process.returncode == 69
    assert "error: tcp://127.0.0.1:9: no dask scheduler answers there" in err.splitlines()[-1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_leaves_no_training_behind(compared, how):
    _, options, _ = compared
    process = start_train(*options[:-1], "2000", "--jobs", "2", "--out", compared[0] / how.name)
    parent = psutil.Process(process.pid)
    while len(workers := [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    process.send_signal(how)
    _, err = process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert not alive
    assert "Traceback" not in err
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert re.match(r"stopped (after \d+ epochs?|before an epoch was over); the same ", err.splitlines()[-1])


def test_ctrl_c_says_from_where_the_same_command_goes_on(tmp_path):
    """A training that has no whole epoch behind it has nothing to go on from."""
    for epochs, said in ((0, "before an epoch was over; the same command begins it again"), (3, "after 4 epochs; the")):
        (tmp_path / "a" / "checkpoint").mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / "checkpoint").mkdir(parents=True, exist_ok=True)
        for name, done in (("a", epochs), ("b", 1)) if epochs else ():
            progress = msgspec.json.encode(checkpoint.Progress(fingerprint="", epochs=done))
            np.savez(tmp_path / name / checkpoint.STATE, progress=np.frombuffer(progress, np.uint8))
        with pytest.raises(KeyboardInterrupt, match=f"^stopped {said}"), resumable(tmp_path / "a", tmp_path / "b"):
            raise KeyboardInterrupt
