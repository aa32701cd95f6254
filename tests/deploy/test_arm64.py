"""The bundle on a fresh arm64 Debian, emulated by qemu, without network: the same answers as on this machine.

Emulated timings say nothing about a Raspberry Pi.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from edge.model.artifact import read_artifact
from tests.deploy.machine import CACHE, base, bundle, require_root
from tests.support.artifacts import DEFAULT
from tests.support.sounds import CORPORA, ROOT
from tests.support.system import require_program

pytestmark = [pytest.mark.machine, pytest.mark.timeout(3_600)]

CLIPS = 12
BINFMT = Path("/proc/sys/fs/binfmt_misc")


class Userland:
    """A folder with another architecture's Debian in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: str) -> str:
        """Run a shell command in it, as root, without network. Returns its standard output."""
        return self.call("sh", "-c", command)

    def call(self, *command: str, **environment: str) -> str:
        """Run a program in it likewise."""
        done = subprocess.run(
            # Not systemd-nspawn, in which emulated programs crashed or hung; --net: without any network.
            ["unshare", "--net", "--mount", "--pid", "--fork", f"--mount-proc={self.folder}/proc",
             "chroot", self.folder, *command],
            # The default processor's SVE makes OpenBLAS 15 times slower under emulation.
            env={"QEMU_CPU": "cortex-a72", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                 "HOME": "/root", "LANG": "C.UTF-8", **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1_800,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def emulate() -> None:
    """Have the kernel run arm64 programs through qemu."""
    require_program("qemu-aarch64-static", "qemu-user-static")
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_text(Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_text())


@pytest.fixture(scope="module")
def userland() -> Userland:
    require_root()
    emulate()
    folder = CACHE / "arm64"  # and not where pytest tidies up while it still runs
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{base(arch='arm64', include='')}/.", folder], check=True)
    subprocess.run(["cp", "-r", bundle(arch="arm64"), folder / "srv" / "bundle"], check=True)
    made = Userland(folder)
    assert "aarch64" in made.run("uname -m")
    assert made.run("command -v python3 || echo none") == "none\n"
    before = megabytes(folder)
    began_s = time.monotonic()
    print(made.run("/srv/bundle/deploy/install.sh"))
    print(f"installed in {time.monotonic() - began_s:.0f} s (emulated); {megabytes(folder) - before} MB more on disk, "
          f"of them {made.run('du -sm /opt/roomtone').split()[0]} MB in /opt/roomtone")  # fmt: skip
    return made


def megabytes(folder: Path) -> int:
    return int(subprocess.run(["du", "-sxm", folder], check=True, capture_output=True, text=True).stdout.split()[0])


def test_the_golden_sound_is_replayed_within_its_tolerance(userland):
    assert "golden replay passed" in userland.run("roomtone check")
    assert userland.run("/opt/roomtone/current/bin/python -c 'from edge.model.runtime import NAME; print(NAME)'") == (
        "ai-edge-litert\n"
    )


def test_recordings_get_the_same_labels_and_the_same_probabilities(userland):
    corpus = sorted((CORPORA / "TESS-original").glob("*/*.wav"))[:CLIPS]
    recordings = [ROOT / "edge" / "commands" / "demo.flac", *corpus]
    folder = userland.folder / "srv" / "sounds"
    folder.mkdir()
    names = []
    for number, recording in enumerate(recordings):
        names.append(f"{number:02}{recording.suffix}")
        (folder / names[-1]).write_bytes(recording.read_bytes())
    began_s = time.monotonic()
    there = answers(userland.run(f"cd /srv/sounds && roomtone classify --json {' '.join(names)}"))
    print(f"{len(names)} recordings classified in {time.monotonic() - began_s:.0f} s (emulated)")
    here = answers(
        subprocess.run([ROOT / ".venv" / "bin" / "roomtone", "classify", "--json", *names], cwd=folder, check=True,
                       capture_output=True, text=True).stdout
    )  # fmt: skip
    tolerance = read_artifact(DEFAULT).manifest.golden.probs_tolerance
    largest = 0.0
    assert len(here) == len(there) > len(recordings)
    for ours, theirs in zip(here, there, strict=True):
        key = "emotion" if "emotion" in ours else "event_type"
        assert theirs[key] == ours[key]
        assert theirs.get("t_s") == ours.get("t_s")
        for label, probability in ours["scores"].items():
            largest = max(largest, abs(theirs["scores"][label] - probability))
    print(f"{len(here)} answers; probabilities differ by at most {largest:.4f}, the tolerance is {tolerance:.4f}")
    assert largest <= tolerance


def answers(text: str) -> list[dict]:
    """Return events and summaries alike."""
    return [line.get("summary", line) for line in map(json.loads, text.splitlines())]


def test_nothing_is_left_after_uninstalling(userland):
    userland.run("/opt/roomtone/current/install.sh --uninstall")
    left = userland.run("find / -xdev \\( -path /srv -o -path /proc -o -path /sys -o -path /var/log \\) -prune "
                        "-o -name '*roomtone*' -print")  # fmt: skip
    assert left == ""
