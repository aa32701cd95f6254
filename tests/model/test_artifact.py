"""One file that is whole or refused: what any zip tool, both runtimes and 500 mutants say of it."""

import hashlib
import io
import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from edge.config import load_edge
from edge.errors import ArtifactError
from edge.model.artifact import MAX_FILE_BYTES, load, pack, read_artifact, unpack, write_artifact
from edge.model.manifest import decode, encode
from tests.support.artifacts import DEFAULT, STEP, STEP_INT8, UTTERANCE, WINDOW, packed, parts
from tests.support.runtimes import both_runtimes, run_python

ALL = [WINDOW, STEP, STEP_INT8, UTTERANCE, DEFAULT]
MUTANTS = 500


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_zip_tool_reads_it_and_its_hash_is_over_graph_and_manifest(path):
    data = path.read_bytes()
    with zipfile.ZipFile(path) as box:
        assert box.testzip() is None
        text, digest = box.read("manifest.json"), box.read("sha256").decode()
        graph = data[: min(info.header_offset for info in box.infolist())]
    expected = hashlib.sha256(len(graph).to_bytes(8, "little") + graph + text).hexdigest()
    assert read_artifact(path).digest == digest == expected


@both_runtimes
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_loads_and_replays_in_both_runtimes(runtime, path):
    done = run_python(runtime, ["-m", "edge.commands.cli", "model", "verify", str(path)])
    assert done.returncode == 0, done.stderr
    assert "golden replay verified" in done.stdout
    assert not done.stderr


@both_runtimes
def test_the_bare_runtime_loads_the_file_with_its_zip(runtime):
    module = runtime.replace("-", "_") + ".interpreter"
    code = f"from {module} import Interpreter; print(*Interpreter(model_path={str(STEP)!r}).get_signature_list())"
    assert run_python(runtime, ["-c", code]).stdout.strip() == "serve"


@both_runtimes
def test_500_mutants_are_refused_or_identical(runtime, tmp_path):
    done = run_python(runtime, ["-m", "tests.model.mutants", str(tmp_path)])
    doing = (tmp_path / "doing").read_text() if (tmp_path / "doing").exists() else "start"
    assert done.returncode == 0, f"at mutant {doing}: {done.stderr}"
    found = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["mutants"] == MUTANTS
    assert found["runtime"] == runtime
    assert found["outcomes"]["refused"] + found["outcomes"]["the same graph and manifest"] == MUTANTS
    assert found["outcomes"]["refused"] > 0.95 * MUTANTS


def test_the_same_content_gives_the_same_bytes():
    artifact = read_artifact(WINDOW)
    assert pack(artifact.graph, artifact.manifest) == pack(artifact.graph, artifact.manifest) == WINDOW.read_bytes()


@pytest.mark.parametrize("name", ["", "Default", "a b", "tiny\n", "-tiny", "a" * 65, "tiny/.."])
def test_a_name_that_would_not_do_on_the_wire_or_in_a_path_is_refused(name):
    graph, manifest = parts(WINDOW)
    with pytest.raises(ArtifactError, match=r"manifest: .*name"):
        unpack(packed(graph, manifest | {"name": name}))


def test_a_manifest_survives_being_written_and_read():
    manifest = read_artifact(STEP).manifest
    assert decode(encode(manifest)) == manifest


def test_writing_leaves_the_old_file_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    old, new = read_artifact(WINDOW), read_artifact(STEP)
    write_artifact(path, old.graph, old.manifest)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_artifact(path, new.graph, new.manifest)
    assert path.read_bytes() == WINDOW.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: copy it again"),
        (b"hello, this is a text file", "not a TFLite model"),
        (parts(WINDOW)[0], "damaged or cut short"),
        (WINDOW.read_bytes()[:-1], "damaged or cut short"),
    ],
)
def test_what_is_no_artifact_is_said_in_one_line(tmp_path, content, message):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_a_folder_a_pipe_and_a_giant_are_refused(tmp_path):
    pipe, giant = tmp_path / "pipe", tmp_path / "giant"
    subprocess.run(["mkfifo", pipe], check=True)
    with giant.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for path, message in ((tmp_path / "none", "no such"), (tmp_path, "not a file"), (pipe, "not a file"),
                          (giant, "larger")):  # fmt: skip
        with pytest.raises(ArtifactError, match=message):
            read_artifact(path)


def test_a_member_that_lies_about_its_size_unpacks_no_further_than_the_limit():
    graph, _ = parts(WINDOW)
    data = bytearray(packed(graph, b" " * 2**25))
    with zipfile.ZipFile(io.BytesIO(data)) as box:
        size = box.getinfo("manifest.json").file_size.to_bytes(4, "little")
    data = bytes(data).replace(size, (100).to_bytes(4, "little"))
    with pytest.raises(ArtifactError):
        unpack(data)


def test_the_bundled_model_is_small_and_its_card_tells_its_own_figures():
    manifest = read_artifact(DEFAULT).manifest
    card = (DEFAULT.parent / "README.md").read_text()
    assert DEFAULT.stat().st_size <= 500_000
    assert manifest.model_id in card
    metrics = manifest.provenance.metrics
    assert f"{metrics['test_accuracy']:.1%}".replace("%", " %") in card
    for label, recall in metrics["test_recall"].items():
        assert re.search(rf"\*{label}\* \| {recall * 100:.1f} %", card), label
    calibration = metrics["calibration"]
    text = " ".join(card.split())
    assert f"From a probability of {manifest.decision.enter:.2f} on" in text
    assert f"{calibration['precision_at_enter'] * 100:.0f} % of the labels so said were right" in text
    assert f"one was said of {calibration['coverage_at_enter'] * 100:.0f} % of the clips" in text
    for corpus in manifest.provenance.corpora:
        assert corpus.name in card
        assert corpus.licence in card


def test_the_open_model_is_named_by_a_word_and_has_learned_of_what_anybody_may_use(tmp_path):
    (tmp_path / "config.yaml").write_text("edge: {model: open}")
    named = load_edge(tmp_path / "config.yaml").model
    manifest = read_artifact(named).manifest
    assert Path(named).stat().st_size <= 300_000
    assert [(corpus.name, corpus.licence) for corpus in manifest.provenance.corpora] == [("CREMA-D", "ODbL 1.0")]
    assert "surprise" not in manifest.labels
    assert manifest.model_id in (DEFAULT.parent / "README.md").read_text()
    (tmp_path / "open").write_bytes(b"")
    (tmp_path / "config.yaml").write_text("edge: {model: ./open}")
    assert Path(load_edge(tmp_path / "config.yaml").model) == tmp_path / "open"  # a file of that name has a path
