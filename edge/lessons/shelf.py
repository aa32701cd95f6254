"""Where the lessons of a model are, for the sensor and for whoever types `roomtone teach`."""

import hashlib
from pathlib import Path

from edge.lessons.book import Book
from edge.model.artifact import Artifact


def book_of(artifact: Artifact, state: Path | None, device: str) -> Book | None:
    """Return the lessons that a device's model was given; None where nobody can teach the model.

    state: the state folder; None: they are kept in memory only.
    """
    manifest = artifact.manifest
    if manifest.embedding is None:
        return None
    # Of its graph, too: two models that are called alike may mean other things by the same numbers.
    model = f"{manifest.model_id}-{hashlib.sha256(artifact.graph).hexdigest()[:8]}"
    path = state and state / f"lessons-{device}" / f"{model}.json"
    return Book(path, model=model, labels=manifest.labels, dims=manifest.embedding.dimensions)
