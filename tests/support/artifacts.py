"""Small artifacts for the tests, and how to take them apart and put them together again, rightly or wrongly."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from edge.model.artifact import DIGEST, MANIFEST, digest_of, unpack

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
WINDOW, STEP, STEP_INT8 = DATA / "tiny-window.tflite", DATA / "tiny-step.tflite", DATA / "tiny-step-int8.tflite"
UTTERANCE = DATA / "tiny-utterance.tflite"
MOMENTS = DATA / "frames.tflite"  # of real size: `make train-frames`, the sensor's until November 2026
DEFAULT = ROOT / "edge" / "model" / "bundled" / "default.tflite"


def parts(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return an artifact's graph, and its manifest as plain JSON."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as box:
        return unpack(data).graph, json.loads(box.read(MANIFEST))


def packed(graph: bytes, manifest: dict[str, Any] | bytes, *, digest: str | None = None) -> bytes:
    """Return an artifact of any content, its hash right unless another is given."""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    box = io.BytesIO(graph)
    with zipfile.ZipFile(box, "a", zipfile.ZIP_DEFLATED) as members:
        members.writestr(MANIFEST, text)
        members.writestr(DIGEST, digest or digest_of(graph, text))
    return box.getvalue()
