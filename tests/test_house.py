"""The house: which room may use which, that no arrow runs up and none in a circle, and how much a room and a file hold.

Read from the code itself (ast), imports inside functions included: nobody hides an arrow in one.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.sounds import ROOT

# From the ground up: a room may use those before it in its own house, and every room of the houses before.
# `edge` knows nobody; train knows edge; convert knows both.
HOUSES = {
    "edge": (
        "errors", "pulse", "entry", "chatter", "labels", "files", "credentials", "strict_yaml", "environment",
        "section", "addresses", "config", "state_folder", "instances", "sound", "features", "model", "lessons",
        "hearing", "voice", "delivery", "history", "updates", "daemon", "commands", "__main__",
    ),
    "train": ("sizes", "recipes", "config", "data", "augmentation", "networks", "fitting", "rooms", "study", "pages",
              "loading", "commands", "__main__"),
    "convert": ("config", "graph", "verification", "make", "report", "unheard", "yardsticks", "strangers", "taught",
                "__main__"),
}  # fmt: skip
# Side by side on the path of a sound: these know less than their floor would allow.
STRANGERS = {
    "edge.sound": {"edge.labels", "edge.state_folder"},
    "edge.features": {"edge.sound"},
    "edge.lessons": {"edge.sound", "edge.features"},
    "edge.voice": {"edge.sound", "edge.features", "edge.model", "edge.lessons", "edge.hearing"},
    "edge.delivery": {"edge.sound", "edge.features", "edge.model", "edge.lessons", "edge.hearing"},
    "edge.history": {"edge.sound", "edge.features", "edge.model", "edge.lessons", "edge.hearing"},
    "edge.updates": {"edge.sound", "edge.features", "edge.lessons", "edge.hearing", "edge.history"},
}
MOST_FILES, MOST_LINES = 16, 250


def modules(root: Path) -> dict[str, Path]:
    """Return the files of the houses by dotted name; a package goes by its own name."""
    found = {}
    for house in HOUSES:
        for path in sorted((root / house).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield what a file imports, anywhere in it: one of `known` where it is one of ours, else the package's name."""
    for name in named(path.read_text()):
        assert not name.startswith("."), f"{path}: a relative import"
        while name not in known and "." in name:
            name = name.rpartition(".")[0]
        yield name


@cache
def named(source: str) -> list[str]:
    """Return the dotted names that a file's text imports, anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def room_of(module: str) -> str:
    """Return the room of a module: `edge.sound` of `edge.sound.blocks`, `edge.config` of itself."""
    return ".".join(module.split(".")[:2])


def faults(root: Path) -> list[str]:
    """Return every arrow that the house does not allow, in words."""
    known = modules(root)
    floors = {f"{house}.{room}": (floor, number) for floor, (house, rooms) in enumerate(HOUSES.items())
              for number, room in enumerate(rooms)}  # fmt: skip
    said = [f"{name}: in no room of the table" for name in known if "." in name and room_of(name) not in floors]
    for name, path in known.items():
        for target in imported(path, known):
            if target.partition(".")[0] not in HOUSES or "." not in target or "." not in name:
                continue
            here, there = room_of(name), room_of(target)
            if here not in floors or there not in floors or here == there:
                continue
            if floors[there] > floors[here] or there in STRANGERS.get(here, ()):
                said.append(f"{name} -> {target}")
    return said


def test_no_arrow_runs_up():
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("edge/sound/blocks.py", "from edge.hearing.gate import LevelGate"),
        ("edge/hearing/gate.py", "def later():\n    from edge.daemon import run"),
        ("edge/delivery/link.py", "import edge.model.graph"),
        ("edge/config.py", "from train.config import TrainConfig"),
        ("train/data/index.py", "from convert import make"),
        ("train/fitting/fit.py", "from train.study.compare import table"),
        ("edge/kitchen.py", ""),
    ],
)
def test_and_one_that_did_would_be_seen(tmp_path, file, line):
    for path in modules(ROOT).values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    assert faults(tmp_path) == []
    changed = tmp_path / file
    changed.write_text((changed.read_text() if changed.exists() else "") + f"\n{line}\n")
    assert len(faults(tmp_path)) == 1


def lacking(root: Path) -> Iterator[str]:
    """Yield every name that a file of ours imports from another of ours which does not have it.

    Some files bring TensorFlow: here none is run to see it.
    """
    known = modules(root)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                has = defined(known[node.module].read_text())
                for alias in node.names:
                    if f"{node.module}.{alias.name}" not in known and alias.name not in has:
                        yield f"{name}: {node.module} has no {alias.name}"


@cache
def defined(source: str) -> set[str]:
    """Return the names that a file's text defines or imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_what_is_imported_is_there(tmp_path):
    assert list(lacking(ROOT)) == []
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "sizes.py").write_text("class Ann: ...\n")
    (tmp_path / "train" / "tiny.py").write_text("def build():\n    from train.sizes import Ann, Tiny\n")
    assert list(lacking(tmp_path)) == ["train.tiny: train.sizes has no Tiny"]


def test_no_file_leads_back_to_itself():
    known = modules(ROOT)
    # A package's own name holds nothing but its docstring and, in edge, the version.
    graph = {name: {target for target in imported(path, known) if target in known and target != name}
             for name, path in known.items()}  # fmt: skip
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_sensor_needs_only_what_a_pi_installs():
    """Its packages are those of pyproject.toml; optional ones are named with their one file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {"ai-edge-litert": "ai_edge_litert", "PyAudio": "pyaudio", "PyYAML": "yaml", "paho-mqtt": "paho"}
    wanted = (requirement.partition(">")[0] for requirement in project["dependencies"])
    allowed = {named.get(name, name) for name in wanted} | {"edge", *sys.stdlib_module_names}
    extra = {"edge.commands.plot": {"matplotlib"}, "edge.model.runtime": {"tflite_runtime"},
             "edge.history.export": {"pyarrow"}, "edge.history.postgres": {"psycopg"},
             "edge.history.metrics": {"prometheus_client"}, "edge.history.exposition": {"prometheus_client"},
    }  # fmt: skip
    known = {name: path for name, path in modules(ROOT).items() if name.partition(".")[0] == "edge"}
    for name, path in known.items():
        packages = {target.partition(".")[0] for target in imported(path, known)}
        assert packages <= allowed | extra.get(name, set()), name


def test_a_room_holds_few_files_and_a_file_one_thing():
    folders: dict[Path, int] = {}
    for path in modules(ROOT).values():
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
        lines = len(path.read_text().splitlines())
        assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines: what does it hold?"
    for folder, files in folders.items():
        assert files <= MOST_FILES, f"{folder.relative_to(ROOT)} has {files} files: is it one room?"


def test_a_rooms_own_file_says_what_it_is_and_nothing_else():
    for path in (path for path in modules(ROOT).values() if path.name == "__init__.py"):
        if path.parent.parent == ROOT:
            continue  # a house's own has its version
        tree = ast.parse(path.read_text())
        assert len(tree.body) == 1, path
        assert ast.get_docstring(tree).endswith("."), path
