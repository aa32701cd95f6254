"""The two environments whose runtimes the sensor supports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import TRAINING_PATIENCE_S

ROOT = Path(__file__).parents[2]
SECOND = ROOT / ".venv-tflite-runtime" / "bin" / "python"


def python_of(runtime: str) -> str:
    """Return the Python that has a runtime (`ai-edge-litert` or `tflite-runtime`).

    The test is skipped where it is not set up, and fails in CI.
    """
    if runtime == "ai-edge-litert":
        return sys.executable
    if SECOND.exists():
        return str(SECOND)
    message = f"the environment with tflite-runtime is not set up ({SECOND.relative_to(ROOT)}): make setup-dev"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def run_python(runtime: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a runtime's Python from the root of the checkout and return what it said."""
    return subprocess.run(
        [python_of(runtime), *arguments],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=TRAINING_PATIENCE_S,
    )  # fmt: skip


both_runtimes = pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
