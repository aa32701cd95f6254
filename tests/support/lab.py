"""What the laboratory's tests share: tiny settings, and the command in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from edge.features.mfcc import MfccSpec
from tests.support.sounds import ROOT
from tests.support.tiny_corpus import write_corpus
from train.config import Recipe, TrainConfig
from train.data.clip import Clip
from train.data.index import scan
from train.fitting.job import Job
from train.sizes import Ann, CausalCnn, Cnn, Networks, Recurrent, Speech
from train.study.protocols import splits

SPEC = MfccSpec()
NETWORKS = Networks(
    ann=Ann(units=(16, 16)),
    cnn=Cnn(filters=(4, 8), dense=8),
    lstm=Recurrent(units=(8,), dense=8),
    gru=Recurrent(units=(8, 8), relu=True, dense=8),
    rnn=Recurrent(units=(8,), dense=8),
    causal_cnn=CausalCnn(filters=(4, 8, 8), halvings=2, dense=8),
    speech=Speech(dense=8, units=8),
)


def tiny_config(folder: Path, **changes) -> TrainConfig:
    """Return settings of small networks and windows, cached under `folder`."""
    return TrainConfig(cache=str(folder / "cache"), window_frames=24, networks=NETWORKS, **changes)


def tiny_clips(folder: Path, config: TrainConfig) -> list[Clip]:
    return scan([write_corpus(folder)], config).clips


def tiny_job(name: str, clips: list[Clip], config: TrainConfig, *, protocol: str = "random", **recipe) -> Job:
    return Job(
        name=name,
        network=name,
        recipe=Recipe(**{"epochs": 2, "batch_size": 16, "learning_rate": 3e-3} | recipe),
        settings=getattr(config.networks, name),
        split=splits(protocol, clips, config)[0],
    )


def write_config(folder: Path, **train) -> Path:
    """Write a config.yaml of tiny networks under `folder` and return its path."""
    settings = {
        "cache": str(folder / "cache"),
        "window_frames": 24,
        "networks": {
            "ann": {"units": [16, 16]},
            "cnn": {"filters": [4, 8], "dense": 8},
            "lstm": {"units": [8], "dense": 8},
            "gru": {"units": [8, 8], "dense": 8},
            "rnn": {"units": [8], "dense": 8},
            "causal_cnn": {"filters": [4, 8], "dense": 8},
        },
        "compare": {"seeds": {"ann": 2}, "fold_seeds": {}, "shares": [0.5]},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"train": settings | train}))
    return path


def start_train(*arguments: object, **environment: str) -> subprocess.Popen:
    """Start `python -m train` with one thread, its output in pipes."""
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "train", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **threads, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_train(*arguments: object, **environment: str) -> str:
    """Run `python -m train` and return its standard output; fails the test where it fails."""
    process = start_train(*arguments, **environment)
    out, err = process.communicate()
    assert process.returncode == 0, err[-2_000:]
    return out
