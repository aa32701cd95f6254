"""An artifact as a sensor runs it, measured: `python -m convert.verification.device ARTIFACT FRAMES.npz OUT.npz`.

Needs `edge` and numpy only, so that it also runs in the environment of the other runtime. FRAMES holds raw MFCC per
clip, or what a network of utterances is given of it. OUT gets `probs` (clips, labels), the answer at each clip's end,
and figures as JSON.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np

from edge.features.mfcc import MfccSpec
from edge.model import artifact, runtime
from edge.model.graph import Model, load_model
from edge.model.manifest import Manifest
from edge.model.replay import observe, replay
from edge.model.utterance import UtteranceModel

WARM_UP_PASSES, PASSES = 2, 12


def main(path: str, frames_path: str, out_path: str) -> None:
    """Run every clip through the artifact and time it."""
    began = time.perf_counter()
    packed = artifact.read_artifact(path)
    model = load_model(packed.graph, packed.manifest)
    load_s = time.perf_counter() - began
    golden = replay(model, packed.manifest)
    with np.load(frames_path) as file:
        clips = [file[name] for name in file.files]
    probs = np.zeros((len(clips), len(packed.manifest.labels)), np.float32)
    if isinstance(model, UtteranceModel):
        probs = np.array([model.answer(given) for given in clips])
        inference_s, per_audio_s = _times_of_utterances(model, clips, packed.manifest)
    else:
        for index, frames in enumerate(clips):
            model.reset()
            said = model.process(frames)
            if said is not None:
                probs[index] = said
        inference_s, per_audio_s = _times(model, max(clips, key=len), packed.manifest.features)
    figures = {
        "runtime": runtime.NAME,
        "version": version(runtime.NAME),
        "numpy": np.__version__,
        "load_ms": load_s * 1e3,
        "golden_difference": golden,
        "inference_us": float(np.median(inference_s)) * 1e6,
        "inference_p95_us": float(np.percentile(inference_s, 95)) * 1e6,
        "us_per_audio_s": per_audio_s * 1e6,
    }
    np.savez(out_path, probs=probs, figures=np.array(json.dumps(figures)))


def _times(model: Model, frames: np.ndarray, spec: MfccSpec) -> tuple[np.ndarray, float]:
    """Return the seconds of each call that gave an answer, and seconds per second of audio (median over passes).

    A clip is handed over in blocks as the pipeline does: normalization, state and inference all count.
    """
    blocks = [
        frames[start : start + spec.block_frames]
        for start in range(0, len(frames) - spec.block_frames + 1, spec.block_frames)
    ]
    calls, passes = [], []
    for _ in range(WARM_UP_PASSES + PASSES):
        model.reset()
        taken = []
        for block in blocks:
            began = time.perf_counter()
            said = model.process(block)
            taken.append((time.perf_counter() - began, said is not None))
        calls.append([seconds for seconds, answered in taken if answered])
        passes.append(sum(seconds for seconds, _ in taken))
    audio_s = len(blocks) * spec.block_frames / spec.frames_per_s
    return np.concatenate(calls[WARM_UP_PASSES:]), float(np.median(passes[WARM_UP_PASSES:])) / audio_s


def _times_of_utterances(
    model: UtteranceModel, given: list[np.ndarray], manifest: Manifest
) -> tuple[np.ndarray, float]:
    """Return the same: of the graph alone, and of the golden sound with its functionals and the baseline."""
    calls, passes = [], []
    for _ in range(WARM_UP_PASSES + PASSES):
        for one in given[:: max(1, len(given) // PASSES)]:
            began = time.perf_counter()
            model.answer(one)
            calls.append(time.perf_counter() - began)
        began = time.perf_counter()
        observe(model, manifest, manifest.golden.sound)
        passes.append(time.perf_counter() - began)
    return np.array(calls), float(np.median(passes[WARM_UP_PASSES:])) / (2 * manifest.golden.sound.duration_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
