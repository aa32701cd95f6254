"""What each library adds to a sensor's memory, in the order in which `roomtone run` comes to them.

    python -m tests.bench.memory

*Own*: pages that no file is behind, which a further sensor on the machine needs again. *In all*: with the pages of
libraries that were looked at, which sensors share.
"""

import argparse
import json
import os
import subprocess
import sys

from tests.bench import asked
from tests.bench.cost import ONE_THREAD
from tests.support.sounds import ROOT
from train.pages.tables import markdown

STEPS = {
    "Python": "pass",
    "numpy": "import numpy",
    "msgspec": "import msgspec",
    "yaml": "import yaml",
    "ssl": "import ssl",
    "paho-mqtt": "import paho.mqtt.client",
    "the TFLite runtime": "import edge.model.runtime",
    "sqlite3 (where events are kept on disk)": "import sqlite3",
    "roomtone": "import edge.daemon.run",
    "both networks": "from edge.model.artifact import DEFAULT_MODEL, load\nfrom edge.hearing.pipeline import Pipeline\n"
    "artifact, model = load(DEFAULT_MODEL)\npipeline = Pipeline(model, artifact.manifest)",
    "ten seconds of sound": "from edge.sound.blocks import timed_blocks\n"
    "sound = numpy.random.default_rng(0).normal(0, 0.1, 160_000).astype(numpy.float32)\n"
    "for block in timed_blocks([sound], started_at=0.0):\n    pipeline.process(block)",
}
_CHILD = """
import json, sys
def pages():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS")]
for code in json.loads(sys.stdin.read()):
    exec(code)
    print(json.dumps(pages()), flush=True)
"""


def measure() -> dict[str, tuple[float, float]]:
    """Return what each step adds, MB: pages of its own, and pages in all."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=json.dumps(list(STEPS.values())), stdout=subprocess.PIPE, text=True,
        check=True, cwd=ROOT, env=os.environ | ONE_THREAD,
    )  # fmt: skip
    reached = [(0.0, 0.0), *map(json.loads, done.stdout.splitlines())]
    return {
        name: tuple(now - then for now, then in zip(reached[number + 1], reached[number], strict=True))
        for number, name in enumerate(STEPS)
    }


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    added = measure()
    rows = [[name, f"{own:.1f}", f"{everything:.1f}"] for name, (own, everything) in added.items()]
    total = [f"{sum(column):.1f}" for column in zip(*added.values(), strict=True)]
    print(markdown(["", "own, MB", "in all, MB"], [*rows, ["together", *total]]))
    return 0


if __name__ == "__main__":
    asked.answer(main)
