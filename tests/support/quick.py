"""The quick half of the tests, for `make check`: files that start no program and train nothing, read from themselves.

What a file imports and which fixtures it asks for tell; nobody keeps a list. A test of such a file that computes for
seconds is marked `heavy`: one that is not fails in the quick half (`check_cost`).
"""

import ast
from collections.abc import Container
from functools import cache
from pathlib import Path

_PROGRAMS = {"subprocess", "multiprocessing", "distributed", "keras", "tensorflow"}
_SUPPORT = {
    "broker", "chromium", "daemon", "ears", "home_assistant", "lab", "owner", "runtimes", "subscriber", "terminal",
    "virtual_microphone",
}  # fmt: skip
_FIXTURES = {"broker", "chromium", "room", "visit", "virtual_microphone"}
MOST_CPU_S = 5.0


@cache
def is_quick(file: Path) -> bool:
    """Return whether a file of tests belongs to the quick half."""
    used = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            used |= {name for alias in node.names for name in _tokens(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            used |= {name for alias in node.names for name in _tokens(f"{node.module}.{alias.name}")}
        elif isinstance(node, ast.FunctionDef):
            used |= {f"fixture {argument.arg}" for argument in node.args.args}
    slow = _PROGRAMS | {f"tests.support.{name}" for name in _SUPPORT} | {f"fixture {name}" for name in _FIXTURES}
    return not used & slow


def _tokens(module: str) -> set[str]:
    """Return a module's name and those of the packages it is in."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def check_cost(cpu_s: float) -> None:
    """Raise AssertionError for a test of the quick half that computes for too long; processor time, not the clock's."""
    assert cpu_s <= MOST_CPU_S, f"{cpu_s:.1f} s of processor time: mark it `heavy`, or make it compute less"


def check_light(loaded: Container[str]) -> None:
    """Raise AssertionError where a file of the quick half, or what it imports, brought TensorFlow into this process."""
    assert "tensorflow" not in loaded, "a file of the quick half brings TensorFlow: import it where it is used"
