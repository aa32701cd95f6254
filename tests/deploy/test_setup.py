"""Set-up: what deploy/setup.sh does where it cannot go on, and whether the locks hold what pyproject.toml asks for."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "locks"


@pytest.fixture
def bare_machine(tmp_path: Path) -> dict[str, str]:
    """An environment with bash, coreutils' few and this Python, and with neither apt nor a compiler."""
    for program in ("bash", "dirname", "env", "id"):
        (tmp_path / program).symlink_to(shutil.which(program))
    (tmp_path / "python3").symlink_to(sys.executable)
    return {"PATH": str(tmp_path), "CI": os.environ.get("CI", "")}


def set_up(environment: dict[str, str], what: str) -> subprocess.CompletedProcess[str]:
    script = [environment["PATH"] + "/bash", ROOT / "deploy" / "setup.sh", what]
    return subprocess.run(
        script, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_without_apt_it_names_what_is_missing_and_stops(bare_machine):
    done = set_up(bare_machine, "edge")
    assert done.returncode == 69
    missing = done.stdout.partition("missing system packages: ")[2].split()
    assert {"gcc", "libc6-dev", "portaudio19-dev"} <= set(missing)
    assert "there is no apt here" in done.stderr


def test_a_32_bit_python_is_refused_before_anything_is_installed(bare_machine, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.maxsize = 2**31 - 1\n")
    done = set_up(bare_machine | {"PYTHONPATH": str(tmp_path)}, "edge")
    assert (done.returncode, done.stdout) == (69, "")
    assert "is a 32-bit Python, and roomtone needs a 64-bit system" in done.stderr


@pytest.mark.parametrize(
    ("goal", "made"), [("setup", [".venv-edge"]), ("setup-dev", [".venv", ".venv-tflite-runtime"])]
)
def test_a_set_up_that_has_nothing_to_do_says_what_is_ready(goal, made):
    there = [option for folder in made for option in ("-o", f"{folder}/.ready")]  # as if made, whether it is or not
    # a make of its own: what a make that runs these tests hands down (a level above 0) has it print its folder
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *there, goal], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ready: ")
    assert all(folder in done.stdout for folder in made)


def test_where_there_is_no_python_it_is_one_of_the_missing_packages(bare_machine):
    (Path(bare_machine["PATH"]) / "python3").unlink()
    done = set_up(bare_machine, "edge")
    assert done.returncode == 69
    missing = done.stdout.partition("missing system packages: ")[2].split()
    assert {"python3", "python3-venv", "python3-dev", "gcc"} <= set(missing)


@pytest.mark.parametrize(
    ("python", "said"), [("no-such-python", "no no-such-python"), ("/bin/true", "needs Python 3.11, 3.12 or 3.13")]
)
def test_without_a_fitting_python_it_says_which_one_it_wants(bare_machine, python, said):
    done = set_up(bare_machine | {"PYTHON": python}, "edge")
    assert done.returncode == 69
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_environment_it_does_not_know_is_a_usage_error(bare_machine):
    assert set_up(bare_machine, "everything").returncode == 2


def pins(lock: str) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (LOCKS / lock).read_text().splitlines():
        pin = Requirement(line)
        found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def asked_for(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != project["name"]]


def every_extra() -> list[str]:
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_lock_pins_each_requirement_once_at_a_version_that_fits(version, machine):
    here = {"python_version": version, "python_full_version": f"{version}.9", "platform_machine": machine}
    lock = pins("requirements.txt")
    for requirement in asked_for(*every_extra()):
        if requirement.marker and not requirement.marker.evaluate(here):
            continue
        chosen = [
            pin for pin in lock[canonicalize_name(requirement.name)] if not pin.marker or pin.marker.evaluate(here)
        ]
        assert len(chosen) == 1, requirement
        (exact,) = chosen[0].specifier
        assert exact.operator == "=="
        assert requirement.specifier.contains(exact.version), requirement


def test_the_tflite_runtime_lock_differs_in_the_runtime_and_numpy_alone():
    common, old = pins("requirements.txt"), pins("tflite-runtime.txt")
    assert "ai-edge-litert" not in old
    assert old["tflite-runtime"][0].specifier.contains("2.14.0")
    assert Requirement("numpy<2").specifier.contains(re.sub("==", "", str(old["numpy"][0].specifier)))
    for requirement in asked_for():
        if requirement.name not in ("ai-edge-litert", "numpy"):
            name = canonicalize_name(requirement.name)
            assert old[name] == common[name]
