"""The wheel as somebody gets it who has no checkout: by pip into an empty environment, for every Python that is here.

Its packages come from the index, the newest that fit (`make test-wheel`).
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import edge
from tests.deploy.machine import source
from tests.support.system import require_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

PYTHONS = ("3.11", "3.12", "3.13")
SECONDS = 30
INSTALLED_WITHIN_S = 900


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The last commit's."""
    folder = tmp_path_factory.mktemp("wheel")
    called("python3", "-m", "venv", folder / "builder", cwd=folder)
    build = [folder / "builder" / "bin" / "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist"]
    called(*build, source(folder / "source"), cwd=folder)
    shutil.rmtree(folder / "source")
    (made,) = (folder / "dist").glob("*.whl")
    return made


def called(*command: str | Path, cwd: Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which nothing of a checkout or of this environment is to be found."""
    keeps = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=keeps | variables, capture_output=True, text=True,
                          timeout=INSTALLED_WITHIN_S)  # fmt: skip
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request, wheel, tmp_path_factory) -> Path:
    """The folder of programs of an environment that holds the wheel."""
    python = require_program(f"python{request.param}", f"python{request.param}")
    folder = tmp_path_factory.mktemp(f"python{request.param}-")
    if called(python, "-c", "pass", cwd=folder, check=False).returncode:
        pytest.skip(f"python{request.param} here is a version manager's stub")
    called(python, "-m", "venv", folder / "environment", cwd=folder)
    called(folder / "environment" / "bin" / "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "environment" / "bin"


def test_the_demo_of_an_installed_wheel_hears_its_recording(installed, tmp_path):
    require_program("mosquitto", "mosquitto")
    where = called(installed / "python", "-c", "import edge; print(edge.__file__)", cwd=tmp_path).stdout
    assert where.startswith(str(installed.parent))
    assert called(installed / "roomtone", "--version", cwd=tmp_path).stdout.split()[-1] == edge.__version__
    done = called(installed / "roomtone", "demo", "--seconds", str(SECONDS), cwd=tmp_path)
    assert done.stderr == ""
    assert re.match(r"page +http://127\.0\.0\.1:\d+/\?demo\n", done.stdout)
    assert len(set(re.findall(r"-> (\S+) +[01]\.\d\d$", done.stdout, re.MULTILINE))) >= 2


def test_without_mosquitto_it_names_the_package_in_one_line(installed, tmp_path):
    hidden = f"mount --bind /dev/null {require_program('mosquitto', 'mosquitto')}"
    unshare = [require_program("unshare", "util-linux"), "--map-root-user", "--mount", "sh", "-c"]
    if called(*unshare, hidden, cwd=tmp_path, check=False).returncode:
        pytest.skip("this kernel gives no namespace of mounts, in which mosquitto could be hidden")
    done = called(*unshare, f"{hidden} && exec {installed}/roomtone demo --seconds 5", cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (69, 1), done.stderr
    assert "apt install mosquitto" in done.stderr
