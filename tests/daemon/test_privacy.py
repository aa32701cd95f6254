"""No sound leaves the sensor: every system call of a whole run, as strace saw it, on a real microphone."""

import base64
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge.commands.demo import RECORDING
from edge.model.artifact import DEFAULT_MODEL, read_artifact
from edge.sound.recording import load_recording
from edge.voice.payloads import Event, State
from tests.support.broker import HOST, Broker
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S
from tests.support.sounds import ROOT, to_int16
from tests.support.subscriber import Subscriber
from tests.support.system import require_program
from tests.support.virtual_microphone import VirtualMicrophone

CALLS = (
    "open,openat,openat2,creat,truncate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,mknod,mknodat,"
    "connect,bind,getsockname,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,tee,vmsplice,"
    "copy_file_range,process_vm_writev,io_uring_setup"
)
LONGEST_S = 0.1  # of sound that may not stand together in anything written
PROBE_SAMPLES = 32
STRINGS = re.compile(r"\"((?:\\x[0-9a-f]{2})*)\"(\.\.\.)?")
NEVER = re.compile(r"\b(truncate|rename|renameat|renameat2|link|linkat|symlink|symlinkat|mkdir|mkdirat|mknod|mknodat|"
                   r"sendfile|splice|tee|vmsplice|copy_file_range|process_vm_writev|io_uring_setup)\((.*)")  # fmt: skip


class Trace:
    """What strace wrote (-ff -xx: a file per thread, every string in hexadecimal), taken apart."""

    def __init__(self, folder: Path) -> None:
        self.opened_for_writing: set[str] = set()
        self.peers: set[str] = set()
        self.own_ports: set[str] = set()
        self.never: list[str] = []
        self.written: list[bytes] = []
        for file in folder.iterdir():
            for line in file.read_text().splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        strings = [bytes.fromhex(text.replace("\\x", "")) for text, _ in STRINGS.findall(line)]
        assert not any(cut for _, cut in STRINGS.findall(line)), "strace cut a string short"
        call = re.match(r"\w+", line)
        name = call[0] if call else ""
        if name in ("open", "openat", "openat2", "creat"):
            if strings and re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", line) and " = -1 " not in line:
                self.opened_for_writing.add(strings[0].decode())
        elif NEVER.search(line) and " = -1 " not in line:
            self.never.append(f"{name} {strings}")
        elif "sa_family=" in line:
            self._take_address(name, line, strings)
        if name.startswith(("write", "pwrite", "send")):
            self.written.append(b"".join(strings))

    def _take_address(self, name: str, line: str, strings: list[bytes]) -> None:
        family = re.search(r"sa_family=AF_(\w+)", line)[1]
        port = re.search(r"sin6?_port=htons\((\d+)\)", line)
        address = f"{family} {strings[-1].decode(errors='replace').strip(chr(0)) if strings else ''}"
        if name == "getsockname":
            self.own_ports |= {f"{address}:{port[1]}"} if port else set()
        elif name == "bind":
            self.peers |= {f"{address}:{port[1]}"} if port and port[1] != "0" else set()
        elif " = -1 " not in line or "EINPROGRESS" in line:
            self.peers.add(f"{address}:{port[1]}" if port else address)


def probes(samples: np.ndarray) -> list[bytes]:
    """Return pieces of the sound, in every number format we use, one of which stands in any LONGEST_S of it."""
    step = round(LONGEST_S * 16_000) - PROBE_SAMPLES
    pieces = [samples[at : at + PROBE_SAMPLES] for at in range(0, len(samples) - PROBE_SAMPLES, step)]
    loud = [piece for piece in pieces if len(np.unique(piece)) > PROBE_SAMPLES // 2]
    assert len(loud) > len(pieces) / 2
    whole = [piece.astype(kind) for piece in loud for kind in (np.int16, np.int32, np.float32, np.float64)]
    scaled = [(piece / 32_768).astype(kind) for piece in loud for kind in (np.float32, np.float64)]
    return [piece.tobytes() for piece in (*whole, *scaled)]


def found(sound: np.ndarray, written: list[bytes]) -> list[str]:
    everything = b"".join(written)
    return [piece.hex() for piece in probes(sound) if piece in everything]


def test_the_search_would_find_a_tenth_of_a_second():
    sound = np.random.default_rng(0).integers(-9_000, 9_000, 16_000).astype(np.int16)
    for leaked in (sound[5_001:6_601], (sound[333:1_933] / 32_768).astype(np.float32)):
        assert found(sound, [b"header", b"x" * 3 + leaked.tobytes()])
    assert not found(sound, [np.random.default_rng(1).bytes(100_000)])


@pytest.fixture
def traced(tmp_path) -> tuple[Path, tuple[str, ...]]:
    """Where the traces of a sensor go, and what writes them."""
    traces = tmp_path / "traces"
    traces.mkdir()
    how = ("-ff", "-qq", "-xx", "-s", "1000000", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(traces / "t"))
    return traces, (require_program("strace", "strace"), *how)


@pytest.fixture
def sound() -> np.ndarray:
    """Ten seconds of voices, int16, with a little noise, so that no two moments of it are alike."""
    voices = to_int16(load_recording(RECORDING))[: 10 * 16_000]
    return (voices // 2 + np.random.default_rng(0).integers(-40, 40, len(voices))).astype(np.int16)


def end(daemon: Daemon) -> None:
    """End a traced sensor in good order."""
    tracer = daemon.process.pid
    children = Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    daemon.process.wait(PATIENCE_S)


def assert_it_kept_to_itself(trace: Trace, folder: Path, broker: Broker, microphone: VirtualMicrophone) -> None:
    """Nothing was written outside the state folder, and nobody called but the broker."""
    state, sound_server = str(folder / "state"), str(microphone.folder)
    # Besides the state folder: the sound server's own shared memory and cookie, and the database that libjack, which
    # PortAudio loads to look for a JACK server, keeps in memory.
    others = (sound_server, "/dev/shm/pulse-shm-", "/dev/shm/jack_db-", "/dev/null")
    assert {path for path in trace.opened_for_writing if not path.startswith((state, *others))} == set()
    assert any(path.startswith(state) for path in trace.opened_for_writing)
    allowed = (f"INET {HOST}:{broker.port}", f"UNIX {sound_server}", f"UNIX {folder}/notify")
    # paho wakes its own thread through a connection from itself to itself.
    assert {peer for peer in trace.peers - trace.own_ports if not peer.startswith(allowed)} == set()
    assert any(peer == f"INET {HOST}:{broker.port}" for peer in trace.peers)
    assert [call for call in trace.never if state not in call] == []


def test_a_run_writes_and_sends_no_sound(tmp_path, broker, virtual_microphone, traced, sound):
    traces, wrapper = traced
    folder = tmp_path / "sensor"
    folder.mkdir()
    with Subscriber(broker.port) as watcher:
        with Daemon(folder, broker.port, recording=None, wrapper=wrapper) as daemon:
            watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
            virtual_microphone.play(sound)
            watcher.wait_for(lambda w: [m for m in w.on("event") if m.json["event_type"] != "quiet"])
            broker.stop()  # so that something is kept in the state folder, too
            virtual_microphone.play(sound)
            end(daemon)
        heard = [m.json["event_type"] for m in watcher.on("event")]
    assert heard
    trace = Trace(traces)
    assert sum(map(len, trace.written)) > 2_000
    assert_it_kept_to_itself(trace, folder, broker, virtual_microphone)
    assert not any("lessons" in path for path in trace.opened_for_writing), "nobody taught it"
    assert found(sound, trace.written) == []


def test_a_taught_run_keeps_embeddings_only(tmp_path, broker, virtual_microphone, traced, sound):
    traces, wrapper = traced
    folder = tmp_path / "sensor"
    folder.mkdir()
    with (
        Subscriber(broker.port) as watcher,
        Daemon(folder, broker.port, recording=None, wrapper=wrapper) as daemon,
    ):
        watcher.wait_for(lambda w: any(m.json["microphone"] == "ok" for m in w.on("state")))
        for number, label in enumerate(("sad", "happy"), start=1):
            virtual_microphone.play(sound)
            teach = ["mosquitto_pub", "-p", str(broker.port), "-t", "roomtone/room/teach"]
            subprocess.run([*teach, "-m", json.dumps({"event_id": "last", "label": label})], check=True)
            watcher.wait_for(lambda w, number=number: w.on("lessons")[-1].json["count"] == number)
        end(daemon)
    trace = Trace(traces)
    assert_it_kept_to_itself(trace, folder, broker, virtual_microphone)
    lessons = [path for path in trace.opened_for_writing if "lessons" in path]
    assert lessons
    assert all(path.startswith(f"{folder}/state/lessons-room") for path in lessons)
    assert found(sound, trace.written) == []
    dims = read_artifact(DEFAULT_MODEL).manifest.embedding.dimensions
    kept = [text for text in trace.written if text.startswith(b'{"schema":1,"model"')]
    assert len(kept) >= 2
    for text in kept:
        page = json.loads(text)
        assert set(page) == {"schema", "model", "labels", "lessons", "usual"}
        assert set(page["usual"]) == {"count", "mean", "squares"}
        for lesson in page["lessons"]:
            assert set(lesson) == {"event_id", "label", "at", "embedding", "log_probs"}
            assert len(base64.b64decode(lesson["embedding"])) == 2 * dims
            assert len(base64.b64decode(lesson["log_probs"])) == 2 * len(page["labels"])


def test_the_page_on_privacy_leaves_nothing_out_that_leaves_the_sensor():
    page, contract = ((ROOT / "deploy" / f"{name}.md").read_text() for name in ("privacy", "contract"))
    table = page.partition("\n| leaves the sensor")[2].partition("\n\n")[0]
    topics = re.findall(r"^\| `(\w+)` \| yes ", contract, re.MULTILINE)
    assert {"status", "lessons", "settings"} < set(topics)
    fields = {*State.__struct_fields__, *Event.__struct_fields__}
    tells_nothing = {"schema", "ts", "seq", "model", "event_id", "late"}  # but that a message was sent
    for name in fields - tells_nothing | set(topics) - {"state"}:
        assert f"`{name}`" in table, name
