"""The image, made twice and run as an owner would: read-only, without a capability, reaching nothing but the broker.

As root, with podman and runc (`make test-image`). Its network is a broker's own network namespace, in which there is
nothing else; that of compose.yaml's containers is podman's, in a network of the test's own.
"""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.deploy.machine import CACHE, SUITE, require_root
from tests.deploy.test_arm64 import Userland, emulate
from tests.support.network import own_network
from tests.support.page import Page
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import lacking, require_program
from tests.support.virtual_microphone import VirtualMicrophone

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1_800)]

DEMO = ROOT / "edge" / "commands" / "demo.flac"
BUILD = ROOT / "deploy" / "image" / "build.sh"
COMPOSED = ROOT / "deploy" / "image"
PAGE_PORT = 8080  # compose.yaml's
MOST_MB = 120
# What this machine may not do (raise limits) or has not (cgroups of version 2 alone) is podman's to leave alone.
ENGINE = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
CLOSED = [
    "--rm",
    "--read-only",
    "--cap-drop=all",
    "--security-opt",
    "no-new-privileges",
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=512:512",
]
BROKER_PORT = 1883
OWNER = 1000  # a user of this machine, whose the sound server is; the image knows nobody of that number
NEXT = "localhost/roomtone:next"  # what the name of another version is in these tests
LISTENS = "[parec, --raw, --format=s16le, --rate=16000, --channels=1, --latency-msec=80]"


def engine(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run podman."""
    done = subprocess.run([*ENGINE, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def bundle(arch: str, folder: Path, also: str = "image") -> Path:
    """Return a bundle of the last commit with what an image needs, or Home Assistant's add-on."""
    subprocess.run(
        [ROOT / "deploy" / "bundle.sh", "--suite", SUITE, "--arch", arch, "--also", also, "--out", folder],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return next(folder.glob("*.tar"))


def built(bundle: Path, folder: Path, *options: str) -> Path:
    """Return the image made of a bundle."""
    subprocess.run([BUILD, *options, "--bundle", bundle, "--out", folder], check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.oci.tar"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    require_root()
    require_program("umoci", "umoci")
    return bundle("amd64", tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def archive(packed, tmp_path_factory) -> Path:
    return built(packed, tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def image(archive) -> Iterator[str]:
    """The name of the image, loaded."""
    for program, package in (("podman", "podman"), ("runc", "runc"), ("nsenter", "util-linux")):
        require_program(program, package)
    name = engine("load", "--input", archive).stdout.split()[-1]
    yield name
    engine("rmi", "--force", name)
    engine("rmi", "--force", NEXT, check=False)  # not every test makes it


@contextmanager
def container(image: str, *arguments: str | Path, name: str, command: tuple[str, ...] = ()) -> Iterator[str]:
    """A container in the background, which is ended with the context; gives its name."""
    engine("rm", "--force", name, check=False)
    engine("run", "--detach", "--name", name, *CLOSED, *arguments, image, *command)
    try:
        yield name
    finally:
        engine("rm", "--force", "--time", "5", name, check=False)


def process_of(name: str) -> int:
    return int(engine("inspect", "--format", "{{.State.Pid}}", name).stdout)


@pytest.fixture
def broker(image, tmp_path) -> Iterator[str]:
    """A real mosquitto, that of the image, in a network namespace of its own."""
    configuration = tmp_path / "mosquitto.conf"
    mount = f"{configuration}:/broker.conf:ro"
    configuration.write_text(f"listener {BROKER_PORT} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with container(
        image,
        "--network",
        "none",
        "--entrypoint",
        "/usr/sbin/mosquitto",
        "--volume",
        mount,
        name="roomtone-test-broker",
        command=("-c", "/broker.conf"),
    ) as name:
        yield name


class Beside(Subscriber):
    """mosquitto_sub in the broker's network namespace."""

    def __init__(self, broker: str) -> None:
        super().__init__(BROKER_PORT)
        self._command = ["nsenter", "--net", f"--target={process_of(broker)}", *self._command]


def said(broker: str, topic: str, payload: str) -> None:
    subprocess.run(
        [
            "nsenter",
            "--net",
            f"--target={process_of(broker)}",
            require_program("mosquitto_pub", "mosquitto-clients"),
            "-V",
            "5",
            "-q",
            "1",
            "-t",
            topic,
            "-m",
            payload,
        ],
        check=True,
    )


@pytest.fixture
def microphone(tmp_path) -> Iterator[VirtualMicrophone]:
    """A sound server, whose socket the image's user may use."""
    with VirtualMicrophone(tmp_path / "pulse") as made:
        made.open_to_everybody()
        yield made


@pytest.fixture
def desktop() -> Iterator[VirtualMicrophone]:
    """The sound server of a user of this machine, who alone may use it."""
    with tempfile.TemporaryDirectory(prefix="roomtone-") as folder:
        Path(folder).chmod(0o755)
        with VirtualMicrophone(Path(folder) / "pulse", user=OWNER) as made:
            yield made


def heard_by(microphone: VirtualMicrophone, broker: str, state: Path) -> list[str]:
    """Return the options with which a container hears the sound server and reaches the broker."""
    return [
        "--network",
        f"container:{broker}",
        "--volume",
        f"{microphone.folder}:/pulse",
        "--volume",
        f"{state}:/var/lib/roomtone",
        "--env",
        "PULSE_SERVER=unix:/pulse/native",
        "--env",
        f"ROOMTONE_AUDIO__COMMAND={LISTENS}",
        "--env",
        "ROOMTONE_MQTT__HOST=127.0.0.1",
        "--env",
        "ROOMTONE_DEVICE__ID=kitchen",
    ]


def owned(folder: Path) -> Path:
    """Make the folder of a volume, the image's user's own."""
    folder.mkdir()
    os.chown(folder, 10_001, 10_001)
    for above in (folder.parent, folder.parent.parent):
        above.chmod(0o755)
    return folder


def test_made_twice_it_is_the_same_and_small(packed, archive, tmp_path):
    again = built(packed, tmp_path)
    assert again.read_bytes() == archive.read_bytes()
    size_mb = archive.stat().st_size / 1e6
    print(f"the image: {size_mb:.0f} MB compressed")
    assert size_mb <= MOST_MB


def test_what_is_inside_has_a_version_and_a_licence(packed, archive, tmp_path):
    listed = json.loads(archive.with_name(archive.name.replace(".oci.tar", ".spdx.json")).read_text())
    names = {one["name"] for one in listed["packages"]}
    assert {"python3-minimal", "mosquitto", "libportaudio2", "ca-certificates", "numpy", "roomtone", "PyAudio"} <= names
    assert all(one["versionInfo"] and one["licenseComments"] for one in listed["packages"])
    inside = tmp_path / "bundle"
    inside.mkdir()
    subprocess.run(["tar", "-xf", packed, "-C", inside, "--strip-components=1"], check=True)
    for wanted, status in ((tmp_path / "empty", 65), (unpacked(archive, tmp_path / "root"), 0)):
        wanted.mkdir(exist_ok=True)
        done = subprocess.run(
            [
                sys.executable,
                ROOT / "deploy" / "image" / "sbom.py",
                "--root",
                wanted,
                "--bundle",
                inside,
                "--name",
                "x",
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
        assert status == 0 or "no licence is named by" in done.stderr


def unpacked(archive: Path, folder: Path) -> Path:
    """Return the image's only layer, as files."""
    layout = Path(tempfile.mkdtemp(dir=archive.parent))
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)
    blobs = layout / "blobs"
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].replace(":", "/")).read_text())
    (layer,) = manifest["layers"]
    subprocess.run(["tar", "-xzf", blobs / layer["digest"].replace(":", "/"), "-C", folder], check=True)
    return folder


def classified(text: str) -> list[dict]:
    """Return what `classify --json` says, without what is about the file's place and the machine's speed."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        line.pop("file", None)
        for left in ("file", "realtime_factor"):
            line.get("summary", {}).pop(left, None)
    return found


def here() -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "edge", "classify", "--json", DEMO], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return classified(done.stdout)


def test_it_says_the_same_of_a_recording_without_network_or_a_right(image):
    done = engine(
        "run",
        *CLOSED,
        "--network",
        "none",
        "--volume",
        f"{DEMO}:/demo.flac:ro",
        image,
        "classify",
        "--json",
        "/demo.flac",
    )
    assert classified(done.stdout) == here()
    assert len(classified(done.stdout)) > 10


def test_nobody_s_password_and_no_shell_are_in_it(archive, tmp_path):
    root = unpacked(archive, tmp_path / "root")
    assert not [path for name in ("sh", "bash", "dash", "perl", "apt") for path in root.glob(f"usr/*bin/{name}")]
    set_id = [
        path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000
    ]
    assert not set_id
    assert not (root / "etc" / "shadow").exists()


def test_it_hears_a_microphone_keeps_its_state_and_ends_in_time(image, broker, microphone, tmp_path):
    state = owned(tmp_path / "state")
    options = heard_by(microphone, broker, state)
    with Beside(broker) as watcher:
        began_s = time.monotonic()
        with container(image, *options, name="roomtone-test-sensor") as sensor:
            watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
            ready_s = time.monotonic() - began_s
            microphone.play(DEMO)
            watcher.wait_for(lambda w: {"angry", "fear"} <= {m.json["event_type"] for m in w.on("event")})
            wait_until(lambda: engine("exec", sensor, "/usr/bin/roomtone", "health", check=False).returncode == 0)
            rss_mb = resident_mb(process_of(sensor))
            said(broker, "roomtone/kitchen/listening/set", "OFF")
            watcher.wait_for(lambda w: any(m.json["microphone"] == "off" for m in w.on("state")))
            began_s = time.monotonic()
            engine("stop", "--time", "20", sensor)
            took_s = time.monotonic() - began_s
            assert "exited" not in engine("ps", check=False).stdout
        print(f"microphone flows {ready_s:.1f} s after `podman run`; {rss_mb:.0f} MB; stopped in {took_s:.1f} s")
        assert took_s < 10  # killed after 20
        # Another version, with the same volume, is still off.
        engine("tag", image, NEXT)
        before = len(watcher.on("state"))
        with container(NEXT, *options, name="roomtone-test-sensor"):
            watcher.wait_for(lambda w: len(w.on("state")) > before)
            assert all(m.json["microphone"] == "off" for m in watcher.on("state")[before:])


def as_the_page_says(desktop: VirtualMicrophone) -> list[str]:
    """Return the options for a user's sound server that stand in the image's README."""
    line = re.search(r"`(--user \$\(id -u\) .*?)`", (COMPOSED / "README.md").read_text(), re.S)[1].replace("\n", " ")
    told = {"$(id -u)": str(OWNER), "$XDG_RUNTIME_DIR/pulse": str(desktop.folder)}
    assert all(name in line for name in told)
    for name, value in told.items():
        line = line.replace(name, value)
    return shlex.split(line)


def test_it_hears_a_user_s_sound_server_as_the_page_says_and_finds_it_again(image, broker, desktop):
    state = "roomtone-test-state"
    engine("volume", "rm", "--force", state, check=False)
    options = ["--network", f"container:{broker}", *as_the_page_says(desktop), "-v", f"{state}:/var/lib/roomtone",
               "-e", "ROOMTONE_MQTT__HOST=127.0.0.1", "-e", "ROOMTONE_DEVICE__ID=kitchen"]  # fmt: skip
    with Beside(broker) as watcher:

        def said_of_it() -> str:
            return ([m.json["microphone"] for m in watcher.on("state")] or [""])[-1]

        def hears() -> None:
            before = len(watcher.on("event"))
            watcher.wait_for(lambda w: said_of_it() == "ok")
            desktop.play(DEMO)
            watcher.wait_for(lambda w: {"angry", "fear"} <= {m.json["event_type"] for m in w.on("event")[before:]})

        with container(image, *options, name="roomtone-test-sensor") as sensor:
            hears()
            desktop.kill()
            watcher.wait_for(lambda w: said_of_it() != "ok")
            desktop.start()
            hears()
            said(broker, "roomtone/kitchen/listening/set", "OFF")
            watcher.wait_for(lambda w: said_of_it() == "off")
            assert "Permission denied" not in engine("logs", sensor).stderr
        # What the image's own user kept in a volume is theirs as the page says, too.
        folder = Path(engine("volume", "inspect", "--format", "{{.Mountpoint}}", state).stdout.strip())
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 10_001, 10_001)
        before = len(watcher.on("state"))
        options[options.index(f"{state}:/var/lib/roomtone")] += ":U"
        with container(image, *options, name="roomtone-test-sensor") as sensor:
            watcher.wait_for(lambda w: len(w.on("state")) > before)
            assert all(m.json["microphone"] == "off" for m in watcher.on("state")[before:])
            assert "Permission denied" not in engine("logs", sensor).stderr
    engine("volume", "rm", state)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1_024


def test_killed_and_started_again_it_loses_no_event_that_waits(image, broker, microphone, tmp_path):
    options = heard_by(microphone, broker, owned(tmp_path / "state"))
    with container(image, *options, name="roomtone-test-sensor") as sensor:
        with Beside(broker) as watcher:
            watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
        os.kill(process_of(broker), signal.SIGSTOP)
        microphone.play(DEMO)
        waiting = tmp_path / "state"
        wait_until(
            lambda: any(waiting.glob("*.sqlite*")) or any(waiting.glob("outbox*")), lambda: str(list(waiting.iterdir()))
        )
        engine("stop", "--time", "20", sensor)
        os.kill(process_of(broker), signal.SIGCONT)
    with Beside(broker) as watcher, container(image, *options, name="roomtone-test-sensor"):
        watcher.wait_for(lambda w: {"angry", "fear"} <= {m.json["event_type"] for m in w.on("event") if m.json["late"]})


def test_a_frozen_sensor_is_not_well(image, broker, microphone, tmp_path):
    with container(
        image, *heard_by(microphone, broker, owned(tmp_path / "state")), name="roomtone-test-sensor"
    ) as sensor:
        wait_until(lambda: engine("exec", sensor, "/usr/bin/roomtone", "health", check=False).returncode == 0)
        os.kill(process_of(sensor), signal.SIGSTOP)
        wait_until(
            lambda: "no sign of life" in engine("exec", sensor, "/usr/bin/roomtone", "health", check=False).stderr
        )
        os.kill(process_of(sensor), signal.SIGCONT)


def test_a_setting_that_is_none_ends_it_in_one_line(image):
    done = engine("run", *CLOSED, "--network", "none", "--env", "ROOMTONE_MQTT__HOTS=h", image, check=False)
    assert done.returncode == 78
    assert "did you mean ROOMTONE_MQTT__HOST?" in done.stderr


class Composed:
    """What compose.yaml describes, brought up by podman-compose while the context lasts: as an owner would, but for the
    sound, which comes from a user's sound server, as its comment says, and not from a card."""

    PROJECT = "roomtone-test"

    def __init__(self, image: str, folder: Path, microphone: VirtualMicrophone) -> None:
        self._folder = folder
        folder.mkdir()
        shutil.copy(COMPOSED / "broker.conf", folder)
        lines = (COMPOSED / "compose.yaml").read_text()
        for name in ("ROOMTONE_AUDIO__COMMAND: ", "PULSE_SERVER: "):
            assert f"# {name}" in lines
            lines = lines.replace(f"# {name}", name)
        described = yaml.safe_load(lines)
        kitchen = described["services"]["kitchen"]
        del kitchen["devices"], kitchen["group_add"]
        kitchen["user"] = str(OWNER)
        kitchen["volumes"].append(f"{microphone.folder}:/pulse")
        (folder / "compose.yaml").write_text(yaml.safe_dump(described))
        (folder / ".env").write_text(f"ROOMTONE_IMAGE={image}\n")
        # As ENGINE and CLOSED say it on the command line.
        (folder / "containers.conf").write_text(
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=512:512"]\n'
            '[network]\nnetwork_backend = "netavark"\n'  # the other one resolves no names in an internal network
        )

    def __enter__(self) -> "Composed":
        if not Path("/usr/lib/podman/aardvark-dns").exists():
            lacking("netavark and aardvark-dns are not installed (Debian's names)")
        self("down", "--volumes", check=False)
        self("up", "--detach")
        return self

    def __exit__(self, *_) -> None:
        self("down", "--volumes", check=False)

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        program = require_program("podman-compose", "podman-compose")
        environment = {**os.environ, "CONTAINERS_CONF": str(self._folder / "containers.conf")}
        done = subprocess.run([program, "--project-name", self.PROJECT, *words], cwd=self._folder, env=environment,
                              capture_output=True, text=True, timeout=PATIENCE_S)  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run(self, service: str, *words: str) -> str:
        """Return what `roomtone` with these words says inside a container."""
        return engine("exec", f"{self.PROJECT}_{service}_1", "/usr/bin/roomtone", *words).stdout

    def log(self) -> str:
        done = self("logs", check=False)
        return done.stdout + done.stderr


def test_what_compose_describes_is_a_sensor_a_page_and_a_history(image, desktop, tmp_path):
    with own_network(), Composed(image, tmp_path / "composed", desktop) as composed:
        page = Page(PAGE_PORT)
        wait_until(lambda: page.has("roomtone/kitchen/status", b"online"), composed.log)
        wait_until(lambda: page.has("roomtone/history/recorder", b"online"), composed.log)
        wait_until(lambda: page.of("state", "microphone")[-1:] == ["ok"], composed.log)
        with urllib.request.urlopen(f"http://127.0.0.1:{PAGE_PORT}/", timeout=PATIENCE_S) as answer:
            assert b"<title>roomtone</title>" in answer.read()
        desktop.play(DEMO)
        wait_until(lambda: {"angry", "fear"} <= set(page.of("event", "event_type")), composed.log)
        wait_until(lambda: {"angry", "fear"} <= recorded(composed), composed.log)
        wait_until(lambda: composed.run("kitchen", "health"), composed.log)

        # Switched off by the page, it is off after all of it was stopped and came up anew.
        page.client.publish("roomtone/kitchen/listening/set", "OFF", qos=1)
        wait_until(lambda: page.of("state", "microphone")[-1:] == ["off"], composed.log)
        composed("down")
        page.messages.clear()
        composed("up", "--detach")
        wait_until(lambda: page.of("state", "microphone"), composed.log)
        assert set(page.of("state", "microphone")) == {"off"}
        assert {"angry", "fear"} <= recorded(composed)
        page.client.loop_stop()


def recorded(composed: Composed) -> set[str]:
    """Return the labels of the events that the history keeps of the kitchen."""
    rows = csv.DictReader(composed.run("history", "history", "export", "--room", "kitchen", "-").splitlines())
    return {row["event_type"] for row in rows}


def test_the_arm64_image_says_the_same_under_emulation(tmp_path):
    require_root()
    require_program("umoci", "umoci")
    emulate()
    folder = CACHE / "image-arm64"
    shutil.rmtree(folder, ignore_errors=True)
    root = unpacked(built(bundle("arm64", tmp_path), tmp_path), folder)
    shutil.copy(DEMO, root / "demo.flac")
    for name, number in (("null", 3), ("urandom", 9)):  # which an engine puts there
        os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, number))
    done = Userland(root).call("/usr/bin/roomtone", "classify", "--json", "/demo.flac", PYTHONPATH="/usr/lib/roomtone")
    shutil.rmtree(folder)
    # The same labels at the same times; another processor's sums differ in their third digit.
    assert labels(classified(done)) == labels(here())


def labels(found: list[dict]) -> list[tuple]:
    return [(line.get("event_type"), line.get("t_s")) for line in found]
