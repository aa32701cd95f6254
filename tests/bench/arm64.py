"""Instructions of an arm64 userland on another machine: a bundle's packages and wheels, unpacked, under qemu-user.

Nothing is installed and nothing of the packages runs, but Python, with the repository's own code. No Raspberry Pi was
measured: an instruction is no unit of time, and a Cortex-A72 without SVE is what is emulated.
"""

import os
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.cost import ONE_THREAD
from tests.support.sounds import ROOT

QEMU = "qemu-aarch64"
_PLUGIN = Path(__file__).with_name("count.c")
_COUNTED = re.compile(r"^counted (\d+)$", re.MULTILINE)
# What the runtime finds of this machine's caches under /sys, and no arm64 has, crashes it.
_WITHOUT_SYS = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none /sys && exec "$@"', "sh")


@contextmanager
def unpacked(bundle: Path | None) -> Iterator[Callable[[str, Path], int] | None]:
    """Give what counts a peer's instructions for a sound, while the context lasts; None without a bundle."""
    if bundle is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        root, wheels, plugin = folder / "root", folder / "wheels", folder / "count.so"
        with tarfile.open(bundle) as packed:
            packed.extractall(folder / "bundle", filter="data")
        for package in (folder / "bundle").glob("*/debs/*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        for wheel in (folder / "bundle").glob("*/wheels/*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(wheels)
        subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", plugin, _PLUGIN], check=True)
        emulated = [*_WITHOUT_SYS, QEMU, "-L", root, "-plugin", plugin, next((root / "usr/bin").glob("python3.*"))]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{wheels}", "PYTHONHASHSEED": "0",
                       "PYTHONDONTWRITEBYTECODE": "1", "QEMU_CPU": "cortex-a72", **ONE_THREAD}  # fmt: skip

        def count(peer: str, sound: Path) -> int:
            command = [*emulated, "-m", "tests.bench.peers", peer, sound]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            found = _COUNTED.findall(done.stderr)
            if done.returncode or not found:
                raise SystemExit(f"guard: {peer} on arm64 failed:\n{done.stderr[-2_000:]}")
            return int(found[-1])

        yield count
