"""`roomtone demo` from the outside: mosquitto's own client sees what the terminal says."""

import os
import re
import subprocess
import sys

from edge.labels import QUIET
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber

SECONDS = 40


def test_the_demo_speaks_on_mqtt_and_ends_by_itself(tmp_path):
    demo = subprocess.Popen(
        [sys.executable, "-m", "edge", "demo", "--seconds", str(SECONDS)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    page = re.fullmatch(r"page +(http://127\.0\.0\.1:\d+/\?demo)\n", demo.stdout.readline())
    port = re.match(r"broker +127\.0\.0\.1 port (\d+)", demo.stdout.readline())
    assert page
    assert port
    with Subscriber(int(port[1])) as watcher:
        watcher.wait_for(lambda w: len(w.on("event")) >= 2 and w.on("status") and w.on("health"))
        with Subscriber(int(port[1])) as late:
            late.wait_for(lambda w: w.on("status") and w.on("state"))
            assert late.on("status")[0].retained
            assert late.on("state")[0].retained
            assert not [message for message in late.on("event") if message.retained]
        stdout, stderr = demo.communicate(timeout=PATIENCE_S)
        assert (demo.returncode, stderr) == (0, "")
        seen = [message.json for message in watcher.on("event")]
    told = re.findall(r"Z +(\S+) -> (\S+) +[01]\.\d\d$", stdout, re.MULTILINE)
    assert told[-len(seen) :] == [(event["previous"], event["event_type"]) for event in seen]
    labels = {label for pair in told for label in pair}
    assert QUIET in labels
    assert len(labels) >= 3
