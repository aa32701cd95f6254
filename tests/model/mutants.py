"""500 damaged or altered artifacts, each tried as `roomtone model verify` and as a start would: a program of its own.

`python -m tests.model.mutants FOLDER` prints one JSON object. A mutant must be refused with one line and status 65, or
be the very same graph and manifest; and no interpreter may see the bytes of one whose hash is wrong.
"""

import contextlib
import io
import json
import random
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.errors import ArtifactError
from edge.model import runtime
from edge.model.artifact import DIGEST, MANIFEST, load, unpack
from tests.support.artifacts import STEP, STEP_INT8, UTTERANCE, WINDOW, packed, parts

SOURCES = [WINDOW, STEP, STEP_INT8, UTTERANCE]
Mutant = tuple[str, bytes, bool]  # kind, bytes, whether its hash was made right again


def mutants() -> Iterator[Mutant]:
    """Yield 500 mutants, always the same."""
    rng = random.Random(4)
    sources = SOURCES
    whole = {path: path.read_bytes() for path in sources}
    graphs = {path: parts(path) for path in sources}
    for number in range(60):
        data = whole[sources[number % 4]]
        yield "truncated", data[: rng.randrange(len(data))], False
    for kind, within in (("bit of the graph", True), ("bit of the zip", False)):
        for number in range(85):
            path = sources[number % 4]
            edge = len(graphs[path][0])
            yield (
                kind,
                _flipped(whole[path], rng.randrange(edge) if within else rng.randrange(edge, len(whole[path])), rng),
                False,
            )
    for number in range(30):
        data = whole[sources[number % 4]]
        at, size = rng.randrange(len(data)), rng.choice((1, 4, 64, 512))
        yield "bytes lost or put in", data[:at] + (data[at + size :] if number % 2 else bytes(size) + data[at:]), False
    for number in range(30):
        graph, manifest = graphs[sources[number % 4]]
        other = graphs[sources[(number + 1 + number % 3) % 4]][1]
        yield "manifest of another", packed(graph, other, digest=unpack(whole[sources[number % 4]]).digest), False
        if number < 20:
            yield "manifest of another, hash made right", packed(graph, other | {"name": f"tiny{number}"}), True
    for path in sources:
        graph, manifest = graphs[path]
        yield "no zip", graph, False
        yield "empty manifest", packed(graph, b""), True
        yield "a list for a manifest", packed(graph, b"[" * 5_000), True
        yield "over-long manifest", packed(graph, json.dumps(manifest).encode() + b" " * 2**20), True
        yield "manifest that unpacks to 64 MiB", packed(graph, b" " * 2**26, digest="0" * 64), False
        yield "a third member", _with_member(whole[path], "more", b"x"), False
        yield "its manifest twice", _with_member(whole[path], MANIFEST, json.dumps(manifest).encode()), False
        yield "stored, not deflated", _stored(graph, manifest), True
    for kind, changes in _wrong_manifests():
        for path in sources:
            graph, manifest = graphs[path]
            if (
                set(changes) & {"window_frames", "step_frames", "states"}
                and changes.get("form", manifest["form"]) != manifest["form"]
            ):
                continue
            if any(manifest[change.partition(".")[0]] is None for change in changes if "." in change):
                continue
            yield kind, packed(graph, _changed(manifest, changes)), True
    while True:
        graph, manifest = graphs[rng.choice((WINDOW, STEP))]
        yield "NaN weights, hash made right", packed(_nan_weights(graph, rng), manifest), True


def _wrong_manifests() -> Iterator[tuple[str, dict]]:
    yield "wrong window", {"window_frames": 41}
    yield "wrong step", {"step_frames": 8}
    yield "other form", {"form": "sideways"}
    yield "a label too few", {"labels": ["angry", "disgust", "fear", "happy", "neutral", "sad"]}
    yield "a label twice", {"labels": ["angry"] * 7}
    yield "fewer coefficients", {"features.coefficients": 20}
    yield "another hop", {"features.hop_samples": 160}
    yield "another window of the FFT", {"features.window_samples": 1_024}
    yield "another rate", {"features.sample_rate_hz": 8_000, "features.high_hz": 4_000}
    yield "an endless front end", {"features.hop_samples": 1}
    yield "a shifted mean", {"normalization.mean": [-100.0] * 40}
    yield "a mean beyond float32", {"normalization.mean": [1e300] * 40}
    yield "a standard deviation of nothing", {"normalization.std": [1e-300] * 40}
    yield "too short a mean", {"normalization.mean": [0.0]}
    yield "another normalization", {"normalization.kind": "none"}
    yield "another room's mean", {"baseline.mean": [0.0] * 51}
    yield "a baseline beyond float64", {"baseline.within": [1e-300] * 51}
    yield "too short a baseline", {"baseline.between": [1.0]}
    yield "functionals nobody has", {"functionals": ["loudness"] * 51}
    yield "functionals without a baseline", {"functionals": ["pitch_mean"], "baseline": None}
    yield "a mood of no label", {"moods": {"tense": ["cross"]}}
    yield "no golden probabilities", {"golden.probs": []}
    yield "other golden probabilities", {"golden.probs": [[1.0, 0, 0, 0, 0, 0, 0]] * 29}
    yield "golden probabilities beyond float32", {"golden.probs": [[1e300] * 7] * 29}
    yield "ragged golden features", {"golden.features": [[0.0]]}
    yield "any tolerance will do", {"golden.probs_tolerance": 1.0}
    yield "states of another shape", {"states": {"lstm_1_1": [1, 9], "lstm_1_2": [1, 9]}}
    yield "states the graph lacks", {"states": {"h": [1, 8]}}
    yield "another schema", {"schema": 2}
    yield "an unknown field", {"surprise": True}
    yield "a name with a line break", {"name": "tiny\nmodel"}


def _changed(manifest: dict, changes: dict) -> dict:
    manifest = json.loads(json.dumps(manifest))
    for path, value in changes.items():
        *parents, last = path.split(".")
        part = manifest
        for name in parents:
            part = part[name]
        part[last] = value
    return manifest


def _flipped(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _with_member(data: bytes, name: str, content: bytes) -> bytes:
    box = io.BytesIO(data)
    with zipfile.ZipFile(box, "a") as members, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice is what we want
        members.writestr(name, content)
    return box.getvalue()


def _stored(graph: bytes, manifest: dict) -> bytes:
    data = packed(graph, manifest)
    box = io.BytesIO(graph)
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(box, "a", zipfile.ZIP_STORED) as members:
        for name in (MANIFEST, DIGEST):
            members.writestr(name, source.read(name))
    return box.getvalue()


def _nan_weights(graph: bytes, rng: random.Random) -> bytes:
    """Return the graph with one float32 constant of weights all NaN: found as a long run of small, uneven numbers."""
    values = np.frombuffer(graph[: len(graph) // 4 * 4], np.float32)
    sizes = np.abs(values)
    weights = (sizes > 1e-4) & (sizes < 4)
    starts = [at for at in range(0, len(values) - 56, 8) if weights[at : at + 56].all()]
    changed = values.copy()
    at = rng.choice(starts)
    changed[at : at + 56] = np.nan
    return changed.tobytes() + graph[len(changed) * 4 :]


def main(folder: Path, count: int = 500) -> None:
    """Try every mutant and print what became of them."""
    from edge.commands.cli import main as roomtone

    reached = []
    interpreter = runtime.interpreter
    runtime.interpreter = lambda graph: (reached.append(graph), interpreter(graph))[1]
    same = {parts(path)[0]: unpack(path.read_bytes()).manifest for path in SOURCES}
    outcomes, faults = Counter(), []
    path = folder / "mutant.tflite"
    config = folder / "config.yaml"
    config.write_text(f"edge: {{model: {path}, state_folder: null, mqtt: {{host: 127.0.0.1, port: 9}}}}\n")
    for number, (kind, data, hash_is_right) in zip(range(count), mutants(), strict=False):
        (folder / "doing").write_text(f"{number} {kind}")  # read by the test if this process dies
        path.write_bytes(data)
        reached.clear()
        complaint = io.StringIO()
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
            status = roomtone(["--config", str(config), "model", "verify", str(path)])
            try:
                artifact, _ = load(path)
            except ArtifactError as error:
                artifact, refusal = None, str(error)
        lines = complaint.getvalue().splitlines()
        if artifact is None:
            with contextlib.redirect_stderr(started := io.StringIO()):
                start_status = roomtone(["--config", str(config), "run", "--input", "-"])
            if start_status != 65 or started.getvalue().splitlines() != lines:
                faults.append(f"{number} {kind}: at start status {start_status}, {started.getvalue()!r}")
        if artifact is not None:
            if status or same.get(artifact.graph) != artifact.manifest:
                faults.append(f"{number} {kind}: accepted, and it is not the original")
            outcomes["the same graph and manifest"] += 1
        else:
            outcomes["refused"] += 1
            if status != 65 or len(lines) != 1 or str(path) not in lines[0] or "\n" in refusal:
                faults.append(f"{number} {kind}: status {status}, {lines}")
            if reached and not hash_is_right:
                faults.append(f"{number} {kind}: an interpreter saw its bytes")
            outcomes["refused by what it does" if reached else "refused unseen by an interpreter"] += 1
    print(json.dumps({"runtime": runtime.NAME, "outcomes": outcomes, "faults": faults, "mutants": number + 1}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
