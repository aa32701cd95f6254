"""A network of one's own, for a test and all that it starts: in it there is nothing but loopback (as root)."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.system import require_program

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h


@contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """Put this thread, and every process and thread that it starts, into a network that has these addresses, too."""
    program = require_program("ip", "iproute2")
    libc = ctypes.CDLL(None, use_errno=True)

    def called(name: str, *arguments: int) -> None:
        if getattr(libc, name)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        called("unshare", _NEW_NETWORK)
        try:
            subprocess.run([program, "link", "set", "lo", "up"], check=True)
            for address in addresses:
                subprocess.run([program, "address", "add", f"{address}/32", "dev", "lo"], check=True)
            yield
        finally:
            called("setns", before, _NEW_NETWORK)
    finally:
        os.close(before)
