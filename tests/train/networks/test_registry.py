"""What a network needs besides its file, without building one: a name, sizes, figures counted by hand."""

import ast

from tests.support.sounds import ROOT
from tests.train.networks.by_hand import MULTIPLY_ADDS, PARAMETERS
from train.networks.registry import NAMES
from train.sizes import Networks

OTHERS = {"speech", "utterance"}  # which are trained by verbs of their own
SHARED = {"recurrent"}  # what three of them are built of


def builds(node: ast.stmt) -> bool:
    """Whether a statement is what makes its module a network's."""
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "build" for target in node.targets)
    return isinstance(node, ast.FunctionDef) and node.name == "build"


def test_whatever_is_built_here_has_a_name_and_sizes():
    files = (ROOT / "train" / "networks").glob("*.py")
    built = {path.stem for path in files if any(map(builds, ast.parse(path.read_text()).body))} - SHARED
    assert built - OTHERS == set(NAMES), "the files of train/networks, and NAMES of train/networks/registry.py"
    assert built == set(Networks.__struct_fields__), "the files of train/networks, and Networks of train/sizes.py"


def test_every_network_was_counted_by_hand():
    assert set(PARAMETERS) == set(MULTIPLY_ADDS) == set(NAMES), "count it in tests/train/networks/by_hand.py"
