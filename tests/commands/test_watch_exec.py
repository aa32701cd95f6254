"""`roomtone watch --exec`: programs are run for what sensors say, one at a time, and never for ever."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from edge.commands.act import MOST_WAITING, Act, Wish, doubts
from edge.commands.rooms import Message
from edge.config import EdgeConfig
from edge.voice.payloads import Event
from tests.commands.test_watch import publish, state
from tests.support.artifacts import MOMENTS
from tests.support.broker import Broker, free_port
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.system import require_program


def event(label: str, *, late: bool = False) -> bytes:
    return msgspec.json.encode(
        Event(event_id="1", event_type=label, ts="2026-11-22T12:00:00Z", previous="quiet", confidence=0.7,
              previous_duration_ms=1_000, seq=1, model="m", late=late)
    )  # fmt: skip


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    """A program that keeps what it is told, a line each, in `kept` beside it."""
    program = tmp_path / "keep"
    program.write_text(f'#!/bin/sh\ncat >> "{tmp_path}/kept"\n')
    program.chmod(0o700)
    return program


def kept(program: Path) -> list[dict]:
    file = program.parent / "kept"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def watching(broker: Broker, *arguments: str):
    command = [sys.executable, "-m", "edge", "watch", "--host", "127.0.0.1", "--port", str(broker.port), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_each_event_is_given_to_the_program(broker, keep):
    publish(broker.port, "roomtone/attic/state", state("quiet"))
    with watching(broker, "--exec", shlex.quote(str(keep))) as process:
        publish_until(broker, keep, "roomtone/attic/event", event("sad"))
        (first, *_) = kept(keep)
        assert first["device"] == "attic"
        assert first["emotion"] == first["event"]["event_type"] == "sad"
        assert first["state"]["emotion"] == "quiet"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "attic: sad:" in said
        assert "Traceback" not in said


def publish_until(broker: Broker, keep: Path, topic: str, payload: bytes) -> None:
    """Publish until the watcher, who may not have subscribed yet, has heard it."""

    def heard() -> bool:
        subprocess.run(
            ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", topic, "-m", payload], check=True
        )
        return bool(kept(keep))

    wait_until(heard, every_s=0.3)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def act_on(keep: Path, clock: Clock, **wish: object) -> Act:
    return Act(Wish(command=[str(keep)], **wish), lambda line: None, clock)


def test_on_and_for_run_it_once_when_it_has_held_so_long(keep):
    clock = Clock()
    with act_on(keep, clock, on={"emotion": ("angry", "fear")}, for_s=20.0) as act:
        act.hear(Message("attic", "event", event("angry"), False))
        for now_s in (5.0, 19.9):
            clock.now_s = now_s
            act.hear(None)
        act.hear(Message("attic", "event", event("sad"), False))  # it ended, and begins anew
        act.hear(Message("attic", "event", event("angry"), False))
        clock.now_s = 30.0
        act.hear(Message("attic", "event", event("fear"), False))  # also what is wanted
        act.hear(Message("attic", "event", event("quiet", late=True), False))  # of long ago
        act.hear(None)
        assert kept(keep) == []
        for now_s in (40.0, 41.0, 100.0):
            clock.now_s = now_s
            act.hear(None)
        wait_until(lambda: kept(keep))
        act.hear(Message("attic", "event", event("sad"), False))
        act.hear(Message("attic", "event", event("angry"), False))
        clock.now_s = 120.0
        act.hear(None)
        wait_until(lambda: len(kept(keep)) == 2)
    assert [(each["emotion"], each["held_s"]) for each in kept(keep)] == [("fear", 20.1), ("angry", 20.0)]


@pytest.mark.parametrize("pause", ["quiet", "unknown"])
@pytest.mark.parametrize("field", ["emotion", "mood"])
def test_pauses_neither_count_nor_end_it_unless_they_are_as_long_as_it_is_to_hold(field, pause):
    clock = Clock()
    wanted, other = {"emotion": ("angry", "sad"), "mood": ("tense", "calm")}[field]

    def spoken(act: Act, *said: tuple[str, int]) -> list[float]:
        """Have each word said for so many seconds; return how long it had held whenever the program was run."""
        for word, seconds in said:
            told = msgspec.json.decode(state("angry")) | {field: word}
            act.hear(Message("attic", "state", msgspec.json.encode(told), False))
            for _ in range(seconds):
                clock.now_s += 1.0
                act.hear(None)
        return runs

    runs: list[float] = []
    with Act(Wish(command=["true"], on={field: (wanted,)}, for_s=20.0), lambda line: None, clock) as act:
        act._put = lambda what: what and runs.append(what[1]["held_s"])
        assert spoken(act, *[(wanted, 3), (pause, 2)] * 6) == []  # 18 seconds in all
        assert spoken(act, (wanted, 3)) == [20.0]
        assert spoken(act, (pause, 19), (wanted, 30)) == [20.0]  # of the same once
        assert spoken(act, (pause, 20), (wanted, 19)) == [20.0]
        assert spoken(act, (other, 1), (wanted, 19)) == [20.0]
        assert spoken(act, (pause, 5), (wanted, 2)) == [20.0, 20.0]


def test_every_condition_must_hold_and_rooms_are_apart(keep):
    clock = Clock()
    with act_on(keep, clock, on={"device": ("attic",), "microphone": ("stalled", "absent")}) as act:
        act.hear(Message("cellar", "state", state("quiet", microphone="stalled"), True))
        act.hear(Message("attic", "state", state("quiet", microphone="ok"), True))
        act.hear(Message("attic", "state", state("quiet", microphone="absent"), False))
        act.hear(Message("attic", "state", state("quiet", microphone="stalled"), False))
        act.hear(Message("attic", "status", b"offline", False))
        wait_until(lambda: kept(keep))
    assert [(each["device"], each["microphone"]) for each in kept(keep)] == [("attic", "absent")]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{}", b"null", b"[" * 100_000, b'{"emotion": 5}'])
@pytest.mark.parametrize("kind", ["state", "event", "status", "health", "listening"])
def test_rubbish_runs_nothing(keep, kind, payload):
    with act_on(keep, Clock(), on={"emotion": ("angry",)}) as act:
        act.hear(Message("attic", kind, payload, False))
    assert kept(keep) == []


def test_one_runs_at_a_time_the_newest_wait_and_what_is_dropped_is_said(tmp_path):
    said: list[str] = []
    go_on = tmp_path / "go-on"
    program = f"import sys, time, os\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.02)\n"
    program += f"open({str(tmp_path / 'kept')!r}, 'a').write(sys.stdin.read())"
    with Act(Wish(command=[sys.executable, "-c", program]), said.append) as act:
        for number in range(MOST_WAITING + 6):
            act.hear(Message("attic", "event", event(f"label-{number}"), False))
            if not number:
                wait_until(lambda: act._running)
        assert sum("dropped" in line for line in said) == 5
        go_on.touch()
        wait_until(lambda: sum("done" in line for line in said) == MOST_WAITING + 1)
    labels = [each["emotion"] for each in kept(tmp_path / "x")]
    assert labels == ["label-0", *(f"label-{number}" for number in range(6, MOST_WAITING + 6))]


def test_what_takes_too_long_is_ended_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    pid.touch()
    command = ["sh", "-c", f"sleep 1000 & echo $! > {pid}; wait"]

    def ended() -> str:
        """Let it be ended; return its child, if it came so far on a busy core."""
        said: list[str] = []
        with Act(Wish(command=command, timeout_s=0.5), said.append) as act:
            act.hear(Message("attic", "event", event("sad"), False))
            wait_until(lambda: said)
        assert "was ended after 0.5 s" in said[0]
        return pid.read_text()

    child = int(wait_until(ended))
    wait_until(lambda: _gone(child))


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_end_waits_for_nobody(tmp_path):
    with Act(Wish(command=["sleep", "1000"]), lambda line: None) as act:
        act.hear(Message("attic", "event", event("sad"), False))
        wait_until(lambda: act._running)
    assert act._running.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.parametrize(("status", "says"), [(0, "done"), (3, "failed with status 3")])
def test_how_it_went_is_said(status, says):
    said: list[str] = []
    with Act(Wish(command=["sh", "-c", f"exit {status}"]), said.append) as act:  # does not even read
        act.hear(Message("attic", "event", event("sad"), False))
        wait_until(lambda: said)
    assert says in said[0]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--exec", "no-such-program"], 69, "no such program"),
        (["--exec", ""], 64, "expected a program"),
        (["--exec", "a 'b"], 64, "no closing quotation"),
        (["--exec", "true", "--json"], 64, "not allowed with"),
        (["--exec", "true", "--once"], 64, "--once and --exec"),
        (["--on", "emotion=angry"], 64, "--on belongs to --exec"),
        (["--exec", "true", "--for", "20s"], 64, "--for belongs to --on"),
        (["--exec", "true", "--on", "mode=angry"], 64, "expected e.g. emotion=angry"),
        (["--exec", "true", "--on", "emotion="], 64, "expected e.g. emotion=angry"),
        (["--exec", "true", "--on", "emotion=angry", "--for", "soon"], 64, "expected a time"),
        (["--timeout", "5s"], 64, "--timeout belongs to --exec"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments, status, says):
    command = [sys.executable, "-m", "edge", "watch", "--host", "127.0.0.1", "--port", str(free_port()), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == status
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


class _Ntfy(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.told = (self.path, self.headers["Title"], self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


SAID = json.dumps({"device": "attic", "emotion": "angry", "held_s": 20.4, "event": None, "state": None})


def test_the_recipe_for_ntfy():
    require_program("jq", "jq")
    require_program("curl", "curl")
    with HTTPServer(("127.0.0.1", 0), _Ntfy) as server:
        Thread(target=server.handle_request).start()
        recipe = [str(ROOT / "deploy" / "notify" / "ntfy.sh"), f"http://127.0.0.1:{server.server_port}/topic"]
        subprocess.run(recipe, input=SAID, text=True, check=True, timeout=PATIENCE_S)
        assert server.told == ("/topic", "roomtone", b"attic: angry for 20 s")


def test_the_recipe_for_apprise(tmp_path):
    """With a stand-in that keeps its arguments: apprise itself would send."""
    require_program("jq", "jq")
    stand_in = tmp_path / "apprise"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n')
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    recipe = [str(ROOT / "deploy" / "notify" / "apprise.sh"), "/etc/roomtone/apprise.yml"]
    subprocess.run(recipe, input=SAID, text=True, check=True, env=path, timeout=PATIENCE_S)
    assert (tmp_path / "told").read_text().splitlines() == [
        "--config=/etc/roomtone/apprise.yml", "--title=roomtone", "--body=attic: angry for 20 s"
    ]  # fmt: skip


def test_time_passes_without_messages(broker, keep):
    """`--for` is over in a room in which nothing more is said."""
    publish(broker.port, "roomtone/attic/state", state("angry"))
    with watching(broker, "--exec", str(keep), "--on", "emotion=angry", "--for", "1s"):
        wait_until(lambda: kept(keep))
    assert kept(keep)[0]["held_s"] >= 1.0


@pytest.mark.parametrize(
    ("on", "says"),
    [
        ({"emotion": ("angrry",)}, ["emotion=angrry: no sensor with the model here says that (did you mean angry?)"]),
        ({"emotion": ("sad", "Sad")}, ["emotion=Sad: no sensor with the model here says that (did you mean sad?)"]),
        ({"emotion": ("bored",)}, ["emotion=bored: no sensor with the model here says that (it says angry, "]),
        ({"mood": ("brigth",)}, ["mood=brigth: no sensor with the model here says that (did you mean bright?)"]),
        ({"mood": ("bright",)}, []),
        ({"status": ("onlin",)}, ["status=onlin: no sensor says that (did you mean online?)"]),
        ({"microphone": ("of",)}, ["microphone=of: no sensor says that (did you mean off?)"]),
        ({"emotion": ("angry", "quiet", "unknown"), "status": ("offline",)}, []),
        ({"microphone": ("ok", "off", "absent"), "device": ("kitchn",)}, []),  # who knows how a sensor is called
    ],
)
def test_a_word_that_no_sensor_says_is_told(on, says):
    found = list(doubts(Wish(command=["true"], on=on), EdgeConfig()))
    assert len(found) == len(says)
    assert all(line.startswith(f"--on {start}") for line, start in zip(found, says, strict=True)), found


def test_a_model_without_moods_says_none():
    wish, config = Wish(command=["true"], on={"mood": ("bright",)}), EdgeConfig(model=str(MOMENTS))
    (doubt,) = doubts(wish, config)
    assert doubt.startswith("--on mood=bright: no sensor with the model here says that (it says none)")


def test_it_is_told_before_the_waiting_and_a_model_that_cannot_be_read_changes_nothing(broker, keep, tmp_path):
    with watching(broker, "--exec", shlex.quote(str(keep)), "--on", "emotion=angrry") as process:
        assert process.stderr.readline().startswith("roomtone: --on emotion=angrry: no sensor")
    assert list(doubts(Wish(command=["true"], on={"emotion": ("x",)}), EdgeConfig(model=str(tmp_path / "none")))) == []
