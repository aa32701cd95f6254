"""Programs that may crash or hang run in a child process, and what became of them is said in one line."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from convert.graph.worker import GRAPH, JOB, SAMPLES, Job
from edge.errors import ArtifactError

ROOT = Path(__file__).parents[2]


def convert(job: Job, arrays: Sequence[np.ndarray], *, timeout_s: float) -> bytes:
    """Return the TFLite graph of a job; `arrays` are standardized frames of the training side, for int8.

    Raises ArtifactError where the converter fails, crashes or takes longer than `timeout_s`.
    """
    with tempfile.TemporaryDirectory(prefix="roomtone-convert-") as name:
        folder = Path(name)
        (folder / JOB).write_bytes(msgspec.json.encode(job))
        if arrays:
            np.savez(folder / SAMPLES, *arrays)
        what = f"{Path(job.run).name}: conversion to {job.form} {job.precision}"
        run_module("convert.graph.worker", [str(folder)], what=what, timeout_s=timeout_s)
        return (folder / GRAPH).read_bytes()


def run_module(
    module: str, arguments: Sequence[str], *, what: str, timeout_s: float, python: str = sys.executable
) -> None:
    """Run `python -m module` from the root of the checkout. Raises ArtifactError (one line) if it fails."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [python, "-m", module, *arguments],
            env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{what}: no end within {timeout_s:.0f} s, stopped") from error
    if done.returncode < 0:
        raise ArtifactError(f"{what}: crashed ({_signal_name(-done.returncode)})")
    if done.returncode:
        raise ArtifactError(f"{what}: failed ({_last_line(done.stderr)})")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"
