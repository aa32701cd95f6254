"""The broker that roomtone brings: loopback only, ports that give way, no orphan."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest

from edge.delivery import embedded as module
from edge.delivery.embedded import embedded
from edge.errors import UnavailableError
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber

pytestmark = pytest.mark.xdist_group("the last ports")


def test_it_serves_mqtt_and_the_page_on_loopback_only():
    with embedded(port=32_083, websockets_port=32_180) as running:
        with urllib.request.urlopen(running.page, timeout=PATIENCE_S) as page:
            assert b"roomtone" in page.read().lower()
        with Subscriber(running.port) as watcher:
            subprocess.run(
                ["mosquitto_pub", "-p", str(running.port), "-t", "roomtone/a/state", "-m", "1", "-r"], check=True
            )
            watcher.wait_for(lambda w: w.on("state"))
        (child,) = [child for child in psutil.Process().children(True) if child.name() == "mosquitto"]
        listening = {tuple(c.laddr) for c in child.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", running.port), ("127.0.0.1", int(running.page.split(":")[2].strip("/")))}


def test_ports_that_are_taken_give_way():
    with socket.create_server(("127.0.0.1", 32_283)), embedded(port=32_283, websockets_port=32_284) as running:
        assert running.port == 32_284
        assert running.page == "http://127.0.0.1:32285/"


def test_a_port_that_another_takes_in_between_gives_way(monkeypatch):
    """Two sensors that start at once look for a free port at once, and find the same."""
    with socket.create_server(("127.0.0.1", 32_583)):
        real, asked = module._free_port, []

        def too_late(wanted: int, **rest: int) -> int:
            asked.append(wanted)
            return wanted if len(asked) == 1 else real(wanted, **rest)

        monkeypatch.setattr(module, "_free_port", too_late)
        with embedded(port=32_583, websockets_port=32_590) as running:
            assert running.port == 32_584
            with Subscriber(running.port):
                pass


@pytest.mark.parametrize("ports", [(65_535, 65_535), (65_534, 65_534), (32_383, 65_535)])
def test_no_port_is_looked_for_beyond_the_last(ports):
    """Of the last ports one is free at most for each of the two; else that is said in one line."""
    with (
        socket.create_server(("127.0.0.1", 65_535)),
        pytest.raises(UnavailableError) as raised,
        embedded(port=ports[0], websockets_port=ports[1]),
    ):
        pass
    assert "65535" in str(raised.value)
    assert "edge.mqtt.websockets_port" in str(raised.value)


def test_the_last_two_ports_will_do():
    with embedded(port=65_534, websockets_port=65_534) as running:
        assert (running.port, running.page) == (65_534, "http://127.0.0.1:65535/")


def test_it_ends_with_us_however_we_end():
    script = "from edge.delivery.embedded import embedded; import time\n"
    script += "with embedded(port=32483, websockets_port=32484) as b:\n    print(b.port, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    port = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()

    def nobody_listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    wait_until(nobody_listens, "the broker outlived its sensor")


def test_without_mosquitto_one_line_says_so(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(UnavailableError, match="mosquitto: not installed"), embedded():
        pass
