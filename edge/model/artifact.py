"""The artifact: one `.tflite` file, the graph with a zip appended that holds its manifest and a hash over both.

Both runtimes load such a file unchanged and any zip tool reads it. The hash is checked before an interpreter sees the
bytes, because tflite-runtime crashes on damaged graphs and ai-edge-litert runs altered weights silently.
"""

import hashlib
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ArtifactError
from edge.files import write_atomically
from edge.model import runtime
from edge.model.graph import Model, load_model
from edge.model.manifest import Manifest, decode, encode
from edge.model.replay import replay
from edge.model.utterance import UtteranceModel

BUNDLED = Path(__file__).parent / "bundled"
DEFAULT_MODEL, SPEECH_MODEL = BUNDLED / "default.tflite", BUNDLED / "speech.tflite"

MANIFEST = "manifest.json"
DIGEST = "sha256"
SIGNATURE = "signature"  # may be missing; see edge/model/signatures.py
MAX_FILE_BYTES = 16 * 2**20
MAX_MANIFEST_BYTES = 2**20
_TFLITE_MAGIC = b"TFL3"  # at offset 4: the flatbuffer's file identifier

# What zipfile raises over damaged bytes, beside BadZipFile.
_ZIP_ERRORS = (NotImplementedError, RuntimeError, EOFError, ValueError, OSError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A verified graph and its manifest."""

    graph: bytes
    manifest: Manifest
    digest: str
    signature: bytes | None = None

    def load(self) -> Model | UtteranceModel:
        """Return a model that has replayed the golden sound. Raises ArtifactError if it behaves otherwise."""
        model = load_model(self.graph, self.manifest)
        try:
            replay(model, self.manifest)
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"graph: {runtime.NAME} cannot run it ({str(error).splitlines()[0]})") from error
        return model


def read_artifact(path: str | Path) -> Artifact:
    """Return the artifact in a file, its hash verified and its manifest checked; no interpreter is involved.

    Raises ArtifactError (one line with the path) for anything else than a whole, unaltered artifact.
    """
    data = content(path)
    try:
        return unpack(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def content(path: str | Path) -> bytes:
    """Return what is in a file that may be an artifact. Raises ArtifactError (one line with the path)."""
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise ArtifactError(f"{path}: not a file")
        if Path(path).stat().st_size > MAX_FILE_BYTES:
            raise ArtifactError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: no such model file") from error
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error


def load(path: str | Path) -> tuple[Artifact, Model | UtteranceModel]:
    """Return a file's artifact and its ready model. Raises ArtifactError (one line with the path)."""
    artifact = read_artifact(path)
    try:
        return artifact, artifact.load()
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def unpack(data: bytes) -> Artifact:
    """Return the artifact in `data`. Raises ArtifactError."""
    if not data:
        raise ArtifactError("empty: copy it again")
    if data[4:8] != _TFLITE_MAGIC:
        raise ArtifactError("not a TFLite model")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as box:
            members = {info.filename: info for info in box.infolist()}
            if set(members) - {SIGNATURE} != {MANIFEST, DIGEST} or len(members) != len(box.infolist()):
                raise ArtifactError(f"expected {MANIFEST} and {DIGEST} inside, found {sorted(members)}")
            graph = data[: min(info.header_offset for info in box.infolist())]
            text = _member(box, MANIFEST, MAX_MANIFEST_BYTES)
            digest = _member(box, DIGEST, 64).decode("ascii")
            signature = _member(box, SIGNATURE, 64) if SIGNATURE in members else None
    except zipfile.BadZipFile as error:
        raise ArtifactError("damaged or cut short: its manifest cannot be found; copy it again") from error
    except _ZIP_ERRORS as error:
        raise ArtifactError(f"damaged: its manifest cannot be read ({error})") from error
    if digest_of(graph, text) != digest:
        raise ArtifactError("altered or damaged: the SHA-256 of graph and manifest does not match; copy it again")
    return Artifact(graph=graph, manifest=decode(text), digest=digest, signature=signature)


def _member(box: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    """Return a member's content. Raises ArtifactError where it is longer than the limit, whatever its header says."""
    if box.getinfo(name).compress_type != zipfile.ZIP_DEFLATED:
        raise ArtifactError(f"{name}: packed in another way than an artifact's")
    with box.open(name) as member:
        content = member.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ArtifactError(f"{name}: longer than {limit_bytes} bytes")
    return content


def pack(graph: bytes, manifest: Manifest) -> bytes:
    """Return the bytes of an artifact file; the same graph and manifest always give the same bytes."""
    text = encode(manifest)
    return _append(graph, {MANIFEST: text, DIGEST: digest_of(graph, text).encode()})


def signed(data: bytes, signature: bytes) -> bytes:
    """Return an artifact's bytes with this signature (64 bytes) in place of any that it had. Raises ArtifactError."""
    graph = unpack(data).graph
    with zipfile.ZipFile(io.BytesIO(data)) as box:
        kept = {name: box.read(name) for name in (MANIFEST, DIGEST)}
    return _append(graph, {**kept, SIGNATURE: signature})


def _append(graph: bytes, contents: dict[str, bytes]) -> bytes:
    box = io.BytesIO(graph)
    with zipfile.ZipFile(box, "a", zipfile.ZIP_DEFLATED) as members:
        for name, content in contents.items():
            members.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return box.getvalue()


def write_artifact(path: str | Path, graph: bytes, manifest: Manifest) -> Artifact:
    """Write an artifact atomically (a crash leaves the old file or the new one) and return it."""
    data = pack(graph, manifest)
    write_atomically(path, data)
    return unpack(data)


def digest_of(graph: bytes, manifest_text: bytes) -> str:
    """Return the SHA-256 over graph and manifest, hexadecimal; the graph's length keeps the two apart."""
    return hashlib.sha256(len(graph).to_bytes(8, "little") + graph + manifest_text).hexdigest()
