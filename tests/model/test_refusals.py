"""What is said of a model that is refused: every message whole, as people read it and look it up."""

import io
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from edge.errors import ArtifactError, ConfigError, InputError, RoomtoneError
from edge.files import PlaceError
from edge.model import pace, runtime, signatures
from edge.model.artifact import MAX_FILE_BYTES, Artifact, load, read_artifact, signed, unpack
from edge.model.embedding import Embedding
from edge.model.graph import load_model
from edge.model.record import NotPermittedError, instant
from edge.model.replay import replay
from tests.model.test_golden import Stub, golden, with_golden
from tests.support.artifacts import DEFAULT, MOMENTS, STEP, UTTERANCE, WINDOW, packed, parts

COPY = "copy it again"


def refused(does: Callable[[], Any], kind: type[RoomtoneError] = ArtifactError) -> str:
    """Return what is said where something is refused."""
    with pytest.raises(kind) as caught:
        does()
    return str(caught.value)


def zipped(graph: bytes, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a graph with a zip of any members."""
    box = io.BytesIO(graph)
    with zipfile.ZipFile(box, "a", method) as writing:
        for name, content in members:
            writing.writestr(name, content)
    return box.getvalue()


GRAPH, TOLD = parts(WINDOW)
HEARD = parts(UTTERANCE)[1]
WANTED = len(HEARD["functionals"])
SIXTY_FOUR = b"0" * 64


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", f"empty: {COPY}"),
        (b"hello, this is a text file", "not a TFLite model"),
        (GRAPH, f"damaged or cut short: its manifest cannot be found; {COPY}"),
        (
            packed(GRAPH, TOLD, digest="0" * 64),
            f"altered or damaged: the SHA-256 of graph and manifest does not match; {COPY}",
        ),
        (zipped(GRAPH, ("notes", b"")), "expected manifest.json and sha256 inside, found ['notes']"),
        (
            zipped(GRAPH, ("manifest.json", b"{}"), ("sha256", SIXTY_FOUR), method=zipfile.ZIP_STORED),
            "manifest.json: packed in another way than an artifact's",
        ),
        (
            zipped(GRAPH, ("manifest.json", b" " * (2**20 + 1)), ("sha256", SIXTY_FOUR)),
            "manifest.json: longer than 1048576 bytes",
        ),
        (zipped(GRAPH, ("manifest.json", b"{}"), ("sha256", SIXTY_FOUR + b"0")), "sha256: longer than 64 bytes"),
        (signed(WINDOW.read_bytes(), bytes(65)), "signature: longer than 64 bytes"),
        (
            zipped(GRAPH, ("manifest.json", b"{}"), ("sha256", b"\xff")),
            "damaged: its manifest cannot be read ('ascii' codec can't decode byte 0xff in position 0: ordinal not in "
            "range(128))",
        ),
    ],
)
def test_bytes(tmp_path, data, said):
    assert refused(lambda: unpack(data)) == said
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    assert refused(lambda: read_artifact(path)) == f"{path}: {said}"
    assert refused(lambda: load(path)) == f"{path}: {said}"


def test_a_member_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(GRAPH, ("manifest.json", b"{}"), ("sha256", b""), ("sha256", b""))
    said = "expected manifest.json and sha256 inside, found ['manifest.json', 'sha256']"
    assert refused(lambda: unpack(data)) == said


def test_a_member_is_unpacked_no_further_than_to_know_that_it_is_too_long():
    data = packed(GRAPH, b" " * 2**26)
    tracemalloc.start()
    try:
        assert refused(lambda: unpack(data)) == "manifest.json: longer than 1048576 bytes"
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_what_is_as_long_as_may_be_is_read():
    text = msgspec.json.encode(TOLD)
    artifact = unpack(packed(GRAPH, text + b" " * (2**20 - len(text))))
    assert artifact.manifest.name == TOLD["name"]
    assert unpack(signed(WINDOW.read_bytes(), bytes(64))).signature == bytes(64)


def test_files(tmp_path):
    giant, loop = tmp_path / "giant", tmp_path / "loop"
    loop.symlink_to(loop)
    giant.write_bytes(b"")
    assert refused(lambda: read_artifact(tmp_path)) == f"{tmp_path}: not a file"
    assert refused(lambda: read_artifact(tmp_path / "none")) == f"{tmp_path / 'none'}: no such model file"
    assert refused(lambda: load(tmp_path / "none")) == f"{tmp_path / 'none'}: no such model file"
    os.truncate(giant, MAX_FILE_BYTES)
    assert refused(lambda: read_artifact(giant)) == f"{giant}: not a TFLite model"
    os.truncate(giant, MAX_FILE_BYTES + 1)
    assert refused(lambda: read_artifact(giant)) == f"{giant}: larger than 16 MiB"
    assert refused(lambda: read_artifact(loop)) == f"{loop}: cannot be read (Too many levels of symbolic links)"


@pytest.mark.parametrize(
    ("told", "changes", "said"),
    [
        (TOLD, {"labels": ["sad"]}, "labels: expected two or more: there is nothing to tell apart"),
        (TOLD, {"labels": ["sad", "sad"]}, "labels: 'sad' stands twice"),
        (TOLD, {"moods": {"low": []}}, "moods: 'low' has no labels"),
        (
            TOLD,
            {"features": {**TOLD["features"], "sample_rate_hz": 22_050}},
            "features.sample_rate_hz: the sensor hears 16000 samples a second",
        ),
        (TOLD, {"window_frames": None}, "window_frames: belongs to the window form, and only there"),
        (TOLD, {"step_frames": 4}, "step_frames: belongs to the step form, and only there"),
        (
            TOLD,
            {"normalization": None},
            "normalization: belongs to the window and the step form, and only there",
        ),
        (TOLD, {"functionals": ["pitch_mean"]}, "functionals: belongs to the utterance form, and only there"),
        (TOLD, {"baseline": HEARD["baseline"]}, "baseline: belongs to the utterance form, and only there"),
        (
            TOLD,
            {"normalization": {"kind": "global", "mean": [0.0] * 40, "std": [1.0] * 39}},
            "normalization: expected 40 values in mean and std",
        ),
        (
            TOLD,
            {"normalization": {"kind": "global", "mean": [0.0] * 39, "std": [1.0] * 40}},
            "normalization: expected 40 values in mean and std",
        ),
        (HEARD, {"functionals": ["loudness"]}, "functionals: there is none called 'loudness'"),
        (HEARD, {"functionals": ["loudness", "taste"]}, "functionals: there is none called 'loudness'"),
        (HEARD, {"functionals": []}, "functionals: expected at least one, and none twice"),
        (
            HEARD,
            {"functionals": HEARD["functionals"][1:]},
            f"baseline.mean: expected {WANTED - 1} values, one per functional",
        ),
        (HEARD, {"states": {"h": [1, 8]}}, "states: belongs to the step form, and only there"),
        (
            TOLD,
            {"embedding": {"source": "moments", "dimensions": 8}},
            "embedding: needs a state 'moments' of [1, 9], half of it sums",
        ),
        (HEARD, {"embedding": {"source": "functionals", "dimensions": 3}}, "embedding: expected 3 functionals"),
    ],
)
def test_manifests(told, changes, said):
    assert refused(lambda: unpack(packed(GRAPH, told | changes))) == f"manifest: {said}"


def test_a_baseline_that_lacks_a_value_is_named():
    for field in ("mean", "within", "between"):
        shorter = HEARD | {"baseline": HEARD["baseline"] | {field: HEARD["baseline"][field][1:]}}
        said = refused(lambda told=shorter: unpack(packed(GRAPH, told)))
        assert said.startswith("manifest: ")
        assert "baseline" in said


def test_moments_of_an_odd_number_are_none():
    told = parts(MOMENTS)[1]
    states = told["states"] | {"moments": [1, 216]}
    wrong = told | {"states": states, "embedding": {"source": "moments", "dimensions": 215}}
    said = "manifest: embedding: needs a state 'moments' of [1, 216], half of it sums"
    assert refused(lambda: unpack(packed(GRAPH, wrong))) == said


def test_json_that_is_none_or_deeper_than_anybody_writes():
    assert refused(lambda: unpack(packed(GRAPH, b"{"))) == "manifest: Input data was truncated"
    assert refused(lambda: unpack(packed(GRAPH, b'{"a":' + b"[" * 100_000))).startswith("manifest: ")


@pytest.mark.parametrize(
    ("path", "changes", "said"),
    [
        (WINDOW, {"window_frames": 41}, "input mfcc is float32[1, 40, 40], the manifest says float32[1, 41, 40]"),
        (WINDOW, {"labels": ["a", "b"]}, "output probs is float32[1, 7], the manifest says float32[1, 2]"),
        (
            STEP,
            {"states": {}},
            "inputs are ['lstm_1_1', 'lstm_1_2', 'mfcc'], the manifest says ['mfcc']",
        ),
        (
            WINDOW,
            {"embedding": None},
            "outputs are ['embedding', 'probs'], the manifest says ['probs']",
        ),
        (
            WINDOW,
            {"embedding": Embedding(source="graph", dimensions=9)},
            "output embedding is float32[1, 8], the manifest says float32[1, 9]",
        ),
    ],
)
def test_graphs_that_do_not_fit(path, changes, said):
    artifact = read_artifact(path)
    manifest = msgspec.structs.replace(artifact.manifest, **changes)
    assert refused(lambda: load_model(artifact.graph, manifest)) == f"graph: {said}"


def test_a_front_end_that_hears_no_voices():
    artifact = read_artifact(UTTERANCE)
    spec = msgspec.structs.replace(artifact.manifest.features, hop_samples=322)
    said = refused(lambda: load_model(artifact.graph, msgspec.structs.replace(artifact.manifest, features=spec)))
    assert said == (
        "manifest: features: hop_samples and window_samples are no multiples of 4, which pitch is sought with"
    )


class Strange:
    """Stands in for an interpreter over a graph of another making."""

    def __init__(self, signatures: int) -> None:
        self._signatures = {f"serve{number}": {} for number in range(signatures)}

    def get_signature_list(self) -> dict[str, Any]:
        return self._signatures


@pytest.mark.parametrize("count", [0, 2])
def test_a_graph_has_one_signature(monkeypatch, count):
    monkeypatch.setattr(runtime, "interpreter", lambda graph: Strange(count))
    said = refused(lambda: load_model(b"", read_artifact(WINDOW).manifest))
    assert said == f"graph: expected one signature, found {count}"


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_of_what_the_runtime_says_the_first_line_is_told(monkeypatch, error):
    def fails(*_: Any) -> None:
        raise error("no such operator\nat line 17")

    artifact = read_artifact(WINDOW)
    with monkeypatch.context() as patched:
        patched.setattr(runtime, "interpreter", fails)
        said = refused(lambda: load_model(artifact.graph, artifact.manifest))
    assert said == "graph: ai-edge-litert cannot load it (no such operator)"
    monkeypatch.setattr("edge.model.artifact.replay", fails)
    assert refused(artifact.load) == "graph: ai-edge-litert cannot run it (no such operator)"


STORED = golden()
ROWS, FRAME_ROWS = len(STORED.probs), len(STORED.features)
OFF = {row: (np.array(getattr(STORED, row)) + by).tolist() for row, by in (("features", 1), ("probs", 0.1))}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": []}, "manifest: golden.features: expected rows of 40 numbers"),
        ({"features": [[1.0] * 39]}, "manifest: golden.features: expected rows of 40 numbers"),
        ({"probs": []}, "manifest: golden.probs: expected rows of 7 numbers"),
        ({"probs": [[1.0]]}, "manifest: golden.probs: expected rows of 7 numbers"),
        (
            {"features": STORED.features[1:]},
            f"golden replay: {FRAME_ROWS} frames compared, the manifest has {FRAME_ROWS - 1}",
        ),
        (
            {"probs": STORED.probs[1:]},
            f"golden replay: {ROWS} probabilities compared, the manifest has {ROWS - 1}",
        ),
        ({"features": OFF["features"]}, "golden replay: features differ by 1 dB: another front end than in training"),
        ({"probs": OFF["probs"]}, "golden replay: probabilities differ by 0.1, tolerance is 0.0001"),
    ],
)
def test_replays(changes, said):
    assert refused(lambda: replay(Stub(), with_golden(msgspec.structs.replace(STORED, **changes)))) == said


def test_a_sound_that_is_too_short_for_an_answer():
    class Mute(Stub):
        def process(self, frames: np.ndarray) -> None:
            return None

    assert refused(lambda: replay(Mute(), with_golden(STORED))) == "golden replay: the sound is too short for an answer"


def test_embeddings():
    artifact = read_artifact(WINDOW)
    stored = artifact.manifest.golden
    far = [stored.embedding[0] + 2.0, *stored.embedding[1:]]
    for changes, said in (
        ({"embedding": None}, "manifest: golden.embedding: missing, though the model declares an embedding"),
        ({"embedding_tolerance": None}, "manifest: golden.embedding: missing, though the model declares an embedding"),
        ({"embedding": stored.embedding[1:]}, "manifest: golden.embedding: expected rows of 8 numbers"),
        (
            {"embedding": far, "embedding_tolerance": 0.25},
            "golden replay: the embedding differs by 2, tolerance is 0.25",
        ),
    ):
        manifest = msgspec.structs.replace(artifact.manifest, golden=msgspec.structs.replace(stored, **changes))
        other = Artifact(graph=artifact.graph, manifest=manifest, digest=artifact.digest)
        assert refused(other.load) == said


def test_paces(monkeypatch):
    artifact, model = load(UTTERANCE)
    times = iter([10.0, 10.0 + 0.49 * 2 * artifact.manifest.golden.sound.duration_s])
    monkeypatch.setattr(pace.time, "thread_time", lambda: next(times))
    assert pace.check_pace(artifact, model) == pytest.approx(0.49)  # it is heard twice
    times = iter([10.0, 10.0 + 0.51 * 2 * artifact.manifest.golden.sound.duration_s])
    said = "too slow for this machine: 0.51 s of computing for a second of sound"
    assert refused(lambda: pace.check_pace(artifact, model)) == said


def test_what_the_rest_of_the_process_computes_is_none_of_a_model_s_pace():
    artifact, model = load(UTTERANCE)
    alone = pace.check_pace(artifact, model)
    done, page = threading.Event(), bytes(2**20)

    def busy():
        while not done.is_set():
            sha256(page)  # computes beside us: it holds no lock of Python's meanwhile

    others = [threading.Thread(target=busy) for _ in range(20)]
    for other in others:
        other.start()
    try:
        assert pace.check_pace(artifact, model) < 5 * alone  # of what all of them compute, it is a twentieth
    finally:
        done.set()
        for other in others:
            other.join()


def test_times():
    assert instant("2026-11-01T12:00:00.25+01:00") == "2026-11-01T11:00:00.250000+00:00"
    assert instant("2026-11-01T12:00:00") == "2026-11-01T12:00:00.000000+00:00"  # of no zone: universal time
    said = "manifest: provenance.created: expected a time (RFC 3339), got 'yesterday'"
    assert refused(lambda: instant("yesterday")) == said


@pytest.fixture
def signing(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A model, and a pair of keys."""
    path = tmp_path / "model.tflite"
    path.write_bytes(DEFAULT.read_bytes())
    return path, *signatures.keygen(tmp_path / "mine")


def test_keys(signing, tmp_path):
    path, private, public = signing
    gone = tmp_path / "gone"
    for file, said in (
        (public, "cannot be read (not a private key in PEM without a password)"),
        (gone, "cannot be read (No such file or directory)"),
    ):
        assert refused(lambda: signatures.sign(path, file), InputError) == f"{file}: {said}"  # noqa: B023
    where = "edge.model_store.trusted_keys: "
    made = "`roomtone model keygen` makes"
    for file, said in (
        (private, f"not a public key in PEM: {made} NAME.pub"),
        (gone, "cannot be read (No such file or directory)"),
    ):
        assert refused(lambda: signatures.public_key(file), ConfigError) == f"{where}{file}: {said}"  # noqa: B023
    other = ec.generate_private_key(ec.SECP256R1())
    pem = form.Encoding.PEM
    private.write_bytes(other.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption()))
    public.write_bytes(other.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo))
    said = f"{private}: not an Ed25519 key: make one with `roomtone model keygen`"
    assert refused(lambda: signatures.sign(path, private), InputError) == said
    said = f"{where}{public}: not an Ed25519 key: {made} one"
    assert refused(lambda: signatures.public_key(public), ConfigError) == said


def test_pairs_of_keys(tmp_path):
    signatures.keygen(tmp_path / "mine")
    said = f"{tmp_path / 'mine.key'}: exists already: a key is never overwritten"
    assert refused(lambda: signatures.keygen(tmp_path / "mine"), InputError) == said
    nowhere = tmp_path / "nowhere" / "mine"
    said = f"{nowhere}.key: cannot be written (No such file or directory)"
    assert refused(lambda: signatures.keygen(nowhere), PlaceError) == said


def test_what_cannot_be_signed(signing, tmp_path):
    path, private, _ = signing
    gone = tmp_path / "gone.tflite"
    assert refused(lambda: signatures.sign(gone, private), InputError) == f"{gone}: No such file or directory"
    path.write_bytes(b"")
    assert refused(lambda: signatures.sign(path, private)) == f"{path}: empty: {COPY}"


def test_who_signed(signing, tmp_path):
    path, private, public = signing
    other = signatures.keygen(tmp_path / "other")[1]
    artifact = read_artifact(path)
    with pytest.raises(NotPermittedError, match=r"^not signed: see `roomtone model sign`$") as caught:
        signatures.verify(artifact, [public])
    assert caught.value.permitted_by == "allow_unsigned"
    found = signatures.sign(path, private)
    said = "signed by none of the trusted keys"
    assert refused(lambda: signatures.verify(found, [])) == f"{said} (there are none)"
    assert refused(lambda: signatures.verify(found, [other, other])) == f"{said} ({other}, {other})"
