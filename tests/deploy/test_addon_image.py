"""The add-on's image, run as Home Assistant's Supervisor runs it, beside a real Home Assistant and a real browser.

As root, with podman, runc and nginx (`make test-addon`). The Supervisor is the test's: what it gives a container is
what its documentation and its source say, the broker's account comes over HTTP, and ingress is an nginx that does with
paths, headers and websockets what the real one does. All of it is in a network of its own.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.deploy.machine import require_root
from tests.deploy.test_addon import TOKEN, USERS, account, supervisor
from tests.deploy.test_image import CLOSED, DEMO, ENGINE, built, bundle, engine, process_of, resident_mb
from tests.support.broker import HOST, Broker, free_port
from tests.support.chromium import Visit, launch, word
from tests.support.home_assistant import Home, require_home_assistant
from tests.support.network import own_network
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.subscriber import Subscriber
from tests.support.system import require_program
from tests.support.virtual_microphone import VirtualMicrophone

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]

ADDON = "roomtone-test-addon"
SUPERVISOR = "172.30.32.2"
USER = 10_001
MOST_MB = 130
OPTIONS = {"device_id": "attic", "device_name": "Attic", "sensitivity": 50, "log_level": "info", "mqtt_host": ""}
INGRESS = f"/api/hassio_ingress/{'a1b2' * 8}/"
# The Supervisor does not limit these; this machine may not raise what podman would.
LIMITS = CLOSED[CLOSED.index("--ulimit") :]


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    require_root()
    for program, package in (("umoci", "umoci"), ("podman", "podman"), ("runc", "runc"), ("nginx", "nginx-light")):
        require_program(program, package)
    return bundle("amd64", tmp_path_factory.mktemp("bundle"), "addon")


@pytest.fixture(scope="module")
def archive(packed, tmp_path_factory) -> Path:
    return built(packed, tmp_path_factory.mktemp("image"), "--addon")


@pytest.fixture(scope="module")
def image(archive) -> Iterator[str]:
    name = engine("load", "--input", archive).stdout.split()[-1]
    yield name
    engine("rmi", "--force", name)


@pytest.fixture
def network() -> Iterator[None]:
    with own_network(SUPERVISOR):
        yield


@pytest.fixture
def house(network, tmp_path) -> Iterator[Broker]:
    with Broker(tmp_path / "house", users=USERS) as running:
        yield running


@pytest.fixture
def microphone(tmp_path) -> Iterator[VirtualMicrophone]:
    """A sound server as Home Assistant's: whoever reaches its socket may use it."""
    with VirtualMicrophone(tmp_path / "audio") as made:
        made.open_to_everybody()
        yield made


class Container:
    """The add-on as the Supervisor starts it, while the context lasts. `data` is its /data."""

    def __init__(self, image: str, house: Broker, microphone: VirtualMicrophone, folder: Path) -> None:
        self._image, self._folder, self._audio = image, folder, microphone.folder
        ((name, word),) = USERS.items()
        self._service = {"host": "core-mosquitto", "port": house.port, "ssl": False, "username": name, "password": word}
        self.data = folder / "data"
        self.data.mkdir(mode=0o755)
        (self.data / "options.json").write_text(json.dumps(OPTIONS))
        (self.data / "options.json").chmod(0o600)
        (folder / "client.conf").write_text("default-server = unix:/run/audio/native\nautospawn = no\n")
        (folder / "asound.conf").write_text("pcm.!default { type pulse }\n")

    def __enter__(self) -> "Container":
        self._supervisor = supervisor(self._service, address=(SUPERVISOR, 80))
        self._supervisor.__enter__()
        engine("rm", "--force", ADDON, check=False)
        volumes = {
            self.data: "/data",
            self._folder / "client.conf": "/etc/pulse/client.conf:ro",
            self._folder / "asound.conf": "/etc/asound.conf:ro",
            self._audio: "/run/audio:ro",
        }
        environment = {"TZ": "Europe/Berlin", "SUPERVISOR_TOKEN": TOKEN, "HASSIO_TOKEN": TOKEN}
        hosts = {"supervisor": SUPERVISOR, "hassio": SUPERVISOR, "core-mosquitto": HOST}
        engine(
            "run", "--detach", "--name", ADDON, "--network", "host", "--tmpfs", "/dev/shm", *LIMITS,
            *(f"--add-host={name}:{address}" for name, address in hosts.items()),
            *(f"--env={name}={value}" for name, value in environment.items()),
            *(f"--volume={outside}:{inside}" for outside, inside in volumes.items()), self._image,
        )  # fmt: skip
        return self

    def __exit__(self, *_) -> None:
        engine("rm", "--force", "--time", "5", ADDON, check=False)
        self._supervisor.__exit__(None, None, None)

    @property
    def log(self) -> str:
        done = subprocess.run([*ENGINE, "logs", ADDON], capture_output=True, text=True, timeout=PATIENCE_S)
        return done.stdout + done.stderr

    def status(self) -> str:
        return engine("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", ADDON).stdout.strip()

    def processes(self) -> dict[str, int]:
        """Return the processes in it by what they run."""
        found = {}
        for each in Path("/proc").glob("[0-9]*"):
            try:
                first, *others = (each / "cmdline").read_text().split("\0")
                inside = (each / "ns" / "pid").readlink() == Path(f"/proc/{process_of(ADDON)}/ns/pid").readlink()
            except OSError:
                continue
            if inside:
                name = Path(first.partition(" ")[0].rstrip(":")).name
                found["sensor" if "edge" in others else name] = int(each.name)
        return found


@pytest.fixture
def addon(image, house, microphone, tmp_path) -> Iterator[Container]:
    with Container(image, house, microphone, tmp_path) as running:
        yield running


@pytest.fixture
def ingress(network, tmp_path) -> Iterator[str]:
    """Home Assistant's and the Supervisor's way to the page; gives the address that a browser opens."""
    folder = tmp_path / "ingress"
    folder.mkdir()
    port = free_port()
    (folder / "nginx.conf").write_text(f"""
        daemon off; pid nginx.pid; error_log stderr; user root; events {{ }}
        http {{
          access_log off;
          server {{
            listen {HOST}:{port};
            location {INGRESS} {{
              proxy_pass http://{HOST}:8099/;
              proxy_bind {SUPERVISOR};
              proxy_http_version 1.1;
              proxy_set_header X-Ingress-Path {INGRESS.rstrip("/")};
              proxy_set_header X-Remote-User-Name me;
              proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection $http_connection;
            }}
          }}
        }}""")
    program = require_program("nginx", "nginx-light")
    with (folder / "log").open("w") as log:
        served = subprocess.Popen([program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"], stderr=log)
    yield f"http://{HOST}:{port}{INGRESS}"
    served.terminate()
    served.wait(PATIENCE_S)


def test_made_twice_it_is_the_same_and_small(packed, archive, tmp_path):
    again = built(packed, tmp_path, "--addon")
    assert again.read_bytes() == archive.read_bytes()
    listed = json.loads(archive.with_name(archive.name.replace(".oci.tar", ".spdx.json")).read_text())
    assert "nginx" in {one["name"] for one in listed["packages"]}
    size_mb = archive.stat().st_size / 1e6
    print(f"the add-on's image: {size_mb:.0f} MB compressed")
    assert size_mb <= MOST_MB


def test_the_supervisor_knows_it_as_an_addon(image):
    labels = json.loads(engine("inspect", "--format", "{{json .Config.Labels}}", image).stdout)
    assert (labels["io.hass.type"], labels["io.hass.arch"]) == ("addon", "amd64")
    assert image.endswith(":" + labels["io.hass.version"])


def test_a_real_home_assistant_finds_it_and_its_page_works_behind_ingress(house, microphone, addon, ingress, tmp_path):
    require_home_assistant()
    ((name, pass_word),) = USERS.items()
    with (
        Subscriber(house.port, "roomtone/attic/#", *account()) as watcher,
        Home(tmp_path / "home", house.port, username=name, password=pass_word) as home,
        sync_playwright() as playwright,
    ):
        watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
        emotion, switch = "sensor.attic_emotion", "switch.attic_listening"
        home.wait_for(lambda: {emotion, switch} <= set(home.states()))

        browser = launch(playwright)
        visit = Visit.begin(browser, ingress)
        sockets: list[str] = []
        visit.page.on("websocket", lambda socket: sockets.append(socket.url))
        visit.page.reload()
        expect(word(visit.page)).to_be_visible()
        assert {url.partition("://")[2] for url in sockets} == {f"{ingress.partition('://')[2]}mqtt"}

        # What is said in the room is on the page and in Home Assistant, and the page's switch reaches both.
        microphone.play(DEMO)
        watcher.wait_for(lambda w: {"angry", "fear"} <= {m.json["event_type"] for m in w.on("event")})
        expect(visit.page.locator("#changes li[data-label=fear]").first).to_be_attached()
        home.wait_for(lambda: home.states()[emotion]["state"] == watcher.on("state")[-1].json["emotion"])
        assert home.states()["event.attic_change"]["state"] != "unknown"
        visit.page.locator("#listening").click()
        home.wait_for(lambda: home.states()[switch]["state"] == "off")
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "off")
        home.call("switch", "turn_on", switch)
        expect(visit.page.locator("#listening")).to_have_attribute("aria-checked", "true")
        visit.end()
        browser.close()

        inside = addon.processes()
        assert set(inside) >= {"sensor", "nginx", "mosquitto"}
        print("resident: " + ", ".join(f"{what} {resident_mb(pid):.0f} MB" for what, pid in inside.items()))
        began_s = time.monotonic()
        engine("stop", "--time", "20", ADDON)
        print(f"stopped in {time.monotonic() - began_s:.1f} s")
        assert addon.status() == "exited 0"
        home.wait_for(lambda: home.states()[emotion]["state"] == "unavailable")
        assert home.complaints() == []


def test_it_has_given_up_root_and_the_supervisors_token_and_keeps_its_state_in_data(addon, house):
    with Subscriber(house.port, "roomtone/attic/#", *account()) as watcher:
        watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
    for what, pid in addon.processes().items():
        ids = re.search(r"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
        assert set(map(int, ids.groups())) == {USER}, what
        capable = re.search(r"^CapEff:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
        assert int(capable[1], 16) == 0, what
    sensor = addon.processes()["sensor"]
    assert TOKEN.encode() not in Path(f"/proc/{sensor}/environ").read_bytes()
    kept = addon.data / "roomtone"
    assert (kept.stat().st_uid, kept.stat().st_mode & 0o777) == (USER, 0o700)
    wait_until(lambda: any(kept.iterdir()))


def test_its_page_is_for_the_supervisor_alone(addon, network):
    def status(source: str) -> str:
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--interface", source, f"http://{HOST}:8099/"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    require_program("curl", "curl")
    wait_until(lambda: status(SUPERVISOR) == "200", lambda: addon.log)
    assert status(HOST) == "403"


def test_a_frozen_sensor_ends_it_for_the_watchdog(addon, house):
    with Subscriber(house.port, "roomtone/attic/#", *account()) as watcher:
        watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
    os.kill(addon.processes()["sensor"], 19)
    wait_until(lambda: addon.status() == "exited 69", lambda: f"{addon.status()}\n{addon.log}")
    assert "no sign of life" in addon.log.splitlines()[-1]
