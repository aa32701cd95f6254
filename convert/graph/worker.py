"""The child process in which TensorFlow's converter runs: `python -m convert.graph.worker FOLDER`.

The folder holds job.json and, for int8, samples.npz; the graph is left beside them.
"""

import sys
from pathlib import Path

import msgspec
import numpy as np

from train.fitting.runs import load_run
from train.networks import registry

JOB, SAMPLES, GRAPH = "job.json", "samples.npz", "graph.tflite"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to convert: the network of a run, its logits divided by `temperature`; `embeds`: whether the graph has an
    embedding among its outputs."""

    run: str
    form: str
    precision: str
    step_frames: int | None
    temperature: float
    embeds: bool


def main(folder: Path) -> None:
    """Convert the job in a folder."""
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    run = load_run(job.run)

    from convert.graph import export  # brings TensorFlow, which takes seconds

    model = run.model
    export.fold_temperature(model, job.temperature)
    # A ragged set of arrays: one per clip for a step network, a single one of windows or utterances otherwise.
    arrays = []
    if (folder / SAMPLES).exists():
        with np.load(folder / SAMPLES) as file:
            arrays = [file[name] for name in file.files]
    if job.form == "step":
        network = registry.module(run.record.network).step(model, frames=job.step_frames)
        serve, signature = export.step_endpoint(model, network, frames=job.step_frames, embeds=job.embeds)
        samples = export.step_samples(serve, signature, arrays)
    elif job.form == "utterance":
        serve, signature = export.utterance_endpoint(model)
        samples = export.utterance_samples(arrays[0]) if arrays else []
    else:
        serve, signature = export.window_endpoint(model, frames=run.record.window_frames, embeds=job.embeds)
        samples = export.window_samples(arrays[0]) if arrays else []
    graph = export.converted(model, serve, signature, precision=job.precision, samples=samples)
    (folder / GRAPH).write_bytes(graph)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
