"""A whole Debian machine for the tests: booted by its own systemd in systemd-nspawn, as root, thrown away afterwards.

Base systems and bundles are made once and kept under ROOMTONE_MACHINES (default /var/tmp/roomtone-machines).
The machines run the Debian that ROOMTONE_SUITE names (bookworm or trixie).
"""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.bundles import seal
from tests.support.patience import MACHINE_PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.system import require_program

CACHE = Path(os.environ.get("ROOMTONE_MACHINES", "/var/tmp/roomtone-machines"))
SUITE = os.environ.get("ROOMTONE_SUITE", "bookworm")
_UP = {"running", "degraded"}


def require_root() -> None:
    """Skip where machines cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap and systemd-nspawn")


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Have one process at a time look for what of a kind is kept, and make it where it is missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@alone("base")
def base(suite: str = SUITE, arch: str = "amd64", *, include: str = "systemd,systemd-sysv,dbus,python3") -> Path:
    """Return the folder of a bare system, made by debootstrap the first time."""
    folder = CACHE / f"base-{suite}-{arch}-{len(include)}"
    if not (folder / ".ready").exists():
        program = require_program("debootstrap", "debootstrap")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        more = [f"--include={include}"] if include else []
        subprocess.run([program, "--variant=minbase", f"--arch={arch}", *more, suite, str(folder)],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        (folder / ".ready").touch()
    return folder


def source(folder: Path) -> Path:
    """Put the last commit into a folder, to be changed there."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


@alone("bundle")
def bundle(suite: str = SUITE, arch: str = "amd64") -> Path:
    """Return the unpacked bundle of the last commit, made the first time."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    folder = CACHE / f"bundle-{suite}-{arch}-{commit[:12]}"
    if not folder.exists():
        for old in CACHE.glob(f"bundle-{suite}-{arch}-*"):
            shutil.rmtree(old)
        making = CACHE / f"making-{os.getpid()}"
        making.mkdir(parents=True)
        subprocess.run([ROOT / "deploy" / "bundle.sh", "--suite", suite, "--arch", arch, "--out", making],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        subprocess.run(["tar", "-xf", next(making.glob("*.tar")), "-C", str(making)], check=True)
        os.rename(next(making.glob("roomtone-*/")), folder)
        shutil.rmtree(making)
    return folder


def variant(
    bundle: Path, target: Path, number: str, changes: dict[str, str], scratch: Path, key: Path | None = None
) -> Path:
    """Copy a bundle with another version of roomtone in it: `changes` are texts put before a module's own code. key:
    what it is signed with."""
    changed = source(scratch)
    (changed / "edge" / "__init__.py").write_text(f'"""."""\n\n__version__ = "{number}"\n')
    for name, text in changes.items():
        path = changed / name
        path.write_text(text + path.read_text())
    shutil.copytree(bundle, target)
    for wheel in (target / "wheels").glob("roomtone-*.whl"):
        wheel.unlink()
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
                    "-w", target / "wheels", changed], check=True, capture_output=True)  # fmt: skip
    (target / "VERSION").write_text(f"{number}+test\n")
    seal(target, key)
    return target


def _group_of_its_own(name: str) -> Path:
    """Make a control group below that of this process. In a shared one, machines would end each other's services."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    mount = next(where for _, where, kind, *_ in mounts if kind == "cgroup2")
    here = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    made = Path(f"{mount}/{here}/{name}")
    made.mkdir()
    return made


def _removed(group: str) -> bool:
    """Remove a control group, unless a process of it is still ending."""
    try:
        os.rmdir(group)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


class Machine:
    """A booted machine; a context manager. Its network is this machine's, its kernel too."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder = folder
        self._group: Path | None = None
        subprocess.run(["cp", "-a", "--reflink=auto", f"{base}/.", str(folder)], check=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        self._group = _group_of_its_own(f"machine-{os.getpid()}-{id(self)}")
        self._boot()
        return self

    def power_cut(self) -> None:
        """End everything in the machine at once, and boot it again. (What it had written but not synced stays.)"""
        os.kill(self._pid, signal.SIGKILL)
        self._process.wait(60)
        self._boot()

    def _boot(self) -> None:
        program = require_program("systemd-nspawn", "systemd-container")
        self._process = subprocess.Popen(
            # bpf and all capabilities, so that IPAddressDeny= is enforced in there as on a machine of its own.
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', self._group,
             program, "--quiet", "--register=no", "--keep-unit", "--capability=all", "--system-call-filter=bpf",
             "--directory", str(self.folder), "--boot"],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + MACHINE_PATIENCE_S
        while time.monotonic() < deadline:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            self._pid = int(children[0]) if children else 0
            if self._pid and self.run("systemctl is-system-running", check=False).stdout.strip() in _UP:
                return
            time.sleep(0.5)
        self.__exit__(None, None, None)
        raise RuntimeError(f"the machine did not boot within {MACHINE_PATIENCE_S:.0f} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for group, _, _ in os.walk(self._group, topdown=False):
            wait_until(lambda: _removed(group))  # noqa: B023

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the machine, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._pid), "-m", "-u", "-i", "-p", "-C", "-r", "-w", "env", "-i", "LANG=C.UTF-8",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "sh", "-c", command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MACHINE_PATIENCE_S,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.journal()}")
        return done

    def owns(self, pid: int) -> bool:
        """Whether a process (of this machine's numbering) runs in the machine."""
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self._pid}/ns/pid")

    def journal(self, room: str = "roomtone*") -> str:
        """What the services said, or that of one room."""
        return self.run(f"journalctl -u '{room}' -o cat --no-pager -n 80", check=False).stdout

    def show(self, name: str, room: str = "roomtone") -> str:
        """Return a property of a room's service."""
        return self.run(f"systemctl show -P {name} {room}").stdout.strip()

    def wait_for(self, condition, what: str):
        """Return what `condition()` gives as soon as it is true."""
        return wait_until(condition, lambda: f"{what}\n{self.journal()}", patience_s=MACHINE_PATIENCE_S, every_s=0.5)

    @contextmanager
    def drop_in(self, lines: str, room: str = "roomtone") -> Iterator[None]:
        """Run a room's service with further settings while the context lasts."""
        path = f"/etc/systemd/system/{room}.service.d/test.conf"
        self.put(path, f"[Service]\n{lines}\n")
        self.run(f"systemctl daemon-reload; systemctl restart {room}", check=False)
        try:
            yield
        finally:
            self.run(f"rm -f {path}; systemctl daemon-reload; systemctl restart {room}", check=False)

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in the machine."""
        target = self.folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def copy(self, folder: Path, path: str) -> None:
        """Copy a folder into the machine."""
        shutil.copytree(folder, self.folder / path.lstrip("/"), symlinks=True)
