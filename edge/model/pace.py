"""Whether a model keeps up with real time on this machine."""

import time

from edge.errors import ArtifactError
from edge.model.artifact import Artifact
from edge.model.graph import Model
from edge.model.replay import observe

BUSIEST = 0.5  # seconds of computing per second of sound that a model may need


def check_pace(artifact: Artifact, model: Model) -> float:
    """Return the seconds of computing that a second of sound takes here. Raises ArtifactError where it is too much.

    A model computes in the thread that asks it (runtime.py): what others of the process do meanwhile is not its cost.
    """
    manifest = artifact.manifest
    start_s = time.thread_time()
    observe(model, manifest, manifest.golden.sound)
    heard_s = manifest.golden.sound.duration_s * (2 if manifest.form == "utterance" else 1)
    pace = (time.thread_time() - start_s) / heard_s
    if pace > BUSIEST:
        raise ArtifactError(f"too slow for this machine: {pace:.2f} s of computing for a second of sound")
    return pace
