"""TensorFlow is quiet on a terminal, also about what it says in Python."""

import subprocess
import sys

from tests.support.sounds import ROOT

# A new function each time is what TensorFlow warns of ("triggered tf.function retracing").
RETRACED = """
from train.fitting.quiet import hush
hush()
import tensorflow as tf
@tf.function
def doubled(x):
    return 2 * x
for size in range(12):
    doubled(tf.zeros(size + 1))
"""


def test_nothing_reaches_the_terminal():
    done = subprocess.run([sys.executable, "-c", RETRACED], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
