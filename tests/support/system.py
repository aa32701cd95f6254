"""System programs the tests run for real."""

import os
import shutil
from typing import NoReturn

import pytest


def require_program(name: str, package: str) -> str:
    """Return the program's path; where it is missing the test is skipped, and fails in CI."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found:
        return found
    lacking(f"{name} is not installed (Debian package {package})")


def killed_at(call: str, number: int) -> tuple[str, ...]:
    """Return what to put before a command so that it is killed as it enters the n-th such system call.

    Without strace's --seccomp-bpf, with which it kills nobody (6.1).
    """
    strace = require_program("strace", "strace")
    return strace, "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"


def lacking(message: str) -> NoReturn:
    """Skip the test for want of something that this machine lacks; in CI, fail."""
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
