"""A state folder on a disk that fills up, or turns read-only, under a running sensor that is being taught."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.test_teaching import answer, command, said, spoken
from tests.support.daemon import Daemon
from tests.support.subscriber import Subscriber


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, where the sensor keeps what it knows."""
    folder = tmp_path / "state"
    folder.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
    mounted = subprocess.run(small, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs to mount a disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    written = subprocess.run(["dd", "if=/dev/zero", f"of={disk}/others", "bs=4k"], capture_output=True, text=True)
    assert "No space left" in written.stderr


def empty(disk: Path) -> None:
    (disk / "others").unlink()


def remount(how: str) -> Callable[[Path], None]:
    return lambda disk: subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


TROUBLES = {
    "full": (fill, empty, "No space left on device"),
    "read-only": (remount("ro"), remount("rw"), "Read-only file system"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_it_is_said_sensing_goes_on_and_no_acknowledged_lesson_is_lost(broker, tmp_path, disk, trouble):
    begin, end, reason = TROUBLES[trouble]

    def kept() -> dict[str, str]:
        lessons = json.loads(next(disk.glob("lessons-room/*.json")).read_text())["lessons"]
        return {each["event_id"]: each["label"] for each in lessons}

    acknowledged: dict[str, str] = {}
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:

        def teach(label: str) -> dict:
            """Teach what is said next, and return the answer."""
            known, before = len(spoken(watcher)), answer(watcher).get("ts")
            watcher.wait_for(lambda w: len(spoken(w)) > known)
            event = spoken(watcher)[-1]["event_id"]
            command(broker.port, {"event_id": event, "label": label})
            watcher.wait_for(lambda w: answer(w).get("ts") not in (None, before))
            if answer(watcher)["done"]:
                acknowledged[event] = label
            return answer(watcher)

        assert teach("sad")["done"]
        assert teach("happy")["done"]
        begin(disk)
        refused = teach("angry")
        assert not refused["done"]
        assert reason in refused["reason"]
        assert reason in said(watcher)["problem"]
        assert said(watcher)["count"] == 2
        assert kept() == acknowledged
        command(broker.port, {"event_id": "last"}, topic="forget")
        watcher.wait_for(lambda w: answer(w)["command"] == "forget")
        if answer(watcher)["done"]:  # where there is room for a shorter file
            acknowledged.popitem()
        assert kept() == acknowledged
        command(broker.port, {"sensitivity": 70}, topic="settings/set")
        watcher.wait_for(lambda w: reason in (w.on("settings")[-1].json["problem"] or ""))
        command(broker.port, "OFF", topic="listening/set")
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "off")
        command(broker.port, "ON", topic="listening/set")
        end(disk)
        assert teach("fear")["done"]  # and it goes on hearing
        assert said(watcher)["problem"] is None
        assert kept() == acknowledged
        daemon.kill()
        assert "Traceback" not in daemon.log
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port):
        watcher.wait_for(lambda w: said(w).get("count") == len(acknowledged))
        assert {each["event_id"]: each["label"] for each in said(watcher)["recent"]} == acknowledged
