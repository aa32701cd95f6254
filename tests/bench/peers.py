"""What a person could run instead of roomtone, and the floor beneath it: `python -m tests.bench.peers NAME SOUND.npy`.

Each peer is a process of its own. It gets ready (imports, loads, warms up), hears the sound once, and prints one JSON
object: seconds to its first result, CPU seconds per second of sound, memory. The sound is float32 at 16 kHz.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.support.memory import peak_mb

RATE_HZ = 16_000
BLOCK, BLOCK_MS = 1_280, 80
GRAPHS = Path("runs/bench")

Hear = Callable[[np.ndarray], None]


class Peer(NamedTuple):
    """get_ready: imports and returns what hears a sound, within a context of its own. what: it is, for people."""

    get_ready: Callable[[], AbstractContextManager[Hear]]
    what: str


def every(samples: np.ndarray, window: int, hop: int, answer: Callable[[np.ndarray], object]) -> None:
    """Call `answer` on the last `window` samples, every `hop`."""
    for end in range(window, len(samples) + 1, hop):
        answer(samples[end - window : end])


def roomtone(*, lessons: int = 0) -> AbstractContextManager[Hear]:
    """Blocks in, observations out; where there are lessons, as they make of them."""
    from edge.hearing.pipeline import Pipeline
    from edge.model.artifact import DEFAULT_MODEL, load
    from edge.sound.blocks import timed_blocks
    from tests.support.lessons import teach_anything

    artifact, model = load(DEFAULT_MODEL)
    pipeline = Pipeline(model, artifact.manifest)
    if lessons:
        teach_anything(artifact, pipeline, lessons)

    def hear(samples: np.ndarray) -> None:
        for block in timed_blocks([samples], started_at=0.0):
            pipeline.process(block)

    return nullcontext(hear)


def roomtone_in(block_ms: int, answer_ms: int) -> AbstractContextManager[Hear]:
    """All of it in blocks of another length, a multiple of 80 ms, of the same recording; and answers as far apart."""
    from edge.sound import blocks

    times = block_ms // BLOCK_MS  # before anything else is imported that takes the length of a block from there
    blocks.BLOCK_SAMPLES, blocks.BLOCK_S = times * blocks.BLOCK_SAMPLES, times * blocks.BLOCK_S
    blocks.reblock.__defaults__ = (blocks.BLOCK_SAMPLES,)
    from msgspec.structs import replace

    from edge.hearing.gate import NetworkGate
    from edge.hearing.pipeline import Pipeline
    from edge.model import utterance
    from edge.model.artifact import DEFAULT_MODEL, SPEECH_MODEL, read_artifact
    from edge.model.graph import load_model

    utterance.ANSWER_BLOCKS = answer_ms // block_ms
    models = []
    for path in (DEFAULT_MODEL, SPEECH_MODEL):
        artifact = read_artifact(path)
        features = replace(artifact.manifest.features, block_frames=times * artifact.manifest.features.block_frames)
        manifest = replace(artifact.manifest, features=features)
        models.append((load_model(artifact.graph, manifest), manifest))
    (model, manifest), (speech, _) = models
    pipeline = Pipeline(model, manifest, speech_gate=NetworkGate(speech))

    def hear(samples: np.ndarray) -> None:
        for block in blocks.timed_blocks([samples], started_at=0.0):
            pipeline.process(block)

    return nullcontext(hear)


def study() -> AbstractContextManager[Hear]:
    """The study's way: every half second librosa's MFCC of the last two, and `keras.Model.predict`."""
    import librosa

    from train.networks import registry
    from train.sizes import Cnn

    model = registry.module("cnn").build(Cnn(), frames=100, coefficients=40, labels=7)

    def answer(window: np.ndarray) -> object:
        return model.predict(librosa_mfcc(librosa, window)[None], verbose=0)

    return nullcontext(lambda samples: every(samples, *WINDOW, answer))


def librosa_tflite() -> AbstractContextManager[Hear]:
    """The same windows and the same network, in TFLite."""
    import librosa

    invoke = invoker("study-cnn-float32")
    return nullcontext(
        lambda samples: every(samples, *WINDOW, lambda window: invoke(librosa_mfcc(librosa, window)[None]))
    )


def yamnet(precision: str) -> Callable[[], AbstractContextManager[Hear]]:
    """A MobileNet-v1 of YAMNet's size on 0.975 s every 0.4875 s, behind its usual front end."""

    def get_ready() -> AbstractContextManager[Hear]:
        import librosa

        invoke = invoker(f"yamnet-shaped-{precision}")

        def answer(window: np.ndarray) -> object:
            mel = librosa.feature.melspectrogram(
                y=window, sr=RATE_HZ, n_fft=512, win_length=400, hop_length=160, n_mels=64,
                fmin=125, fmax=7500, power=1.0, center=False,
            )  # fmt: skip
            patch = np.log(mel.T[:96] + 0.001)
            return invoke(np.resize(patch, (96, 64))[None, :, :, None])

        return nullcontext(lambda samples: every(samples, 15_600, 7_800, answer))

    return get_ready


def light_sernet() -> AbstractContextManager[Hear]:
    """A CNN of Light-SERNet's size on the last three seconds every half second, int8, behind librosa."""
    import librosa

    invoke = invoker("light-sernet-shaped-int8")

    def answer(window: np.ndarray) -> object:
        mfcc = librosa.feature.mfcc(
            y=window, sr=RATE_HZ, n_mfcc=40, n_fft=1024, win_length=1024, hop_length=256, center=False
        )
        return invoke(np.resize(mfcc.T.astype(np.float32), (184, 40))[None, :, :, None])

    return nullcontext(lambda samples: every(samples, 48_000, 8_000, answer))


def floor() -> AbstractContextManager[Hear]:
    """One batched rfft per block and one bare invoke per step of both graphs that speech needs, nothing else.

    Both, because who leaves one out has another sensor. No state is carried, nothing goes in and nothing comes out.
    """
    from edge.model.artifact import DEFAULT_MODEL, SPEECH_MODEL, read_artifact
    from edge.model.runtime import interpreter

    invokes = []
    for path in (DEFAULT_MODEL, SPEECH_MODEL):
        artifact = read_artifact(path)
        made, manifest = interpreter(artifact.graph), artifact.manifest
        for detail in made.get_input_details():
            made.set_tensor(detail["index"], np.zeros(detail["shape"], np.float32))
        per_block = manifest.features.block_frames
        invokes += [made.invoke] * (per_block // (manifest.step_frames or per_block))  # a window is asked once
    frames = np.zeros((4, 512), np.float32)

    def hear(samples: np.ndarray) -> None:
        for _ in range(len(samples) // BLOCK):
            np.fft.rfft(frames, axis=1)
            for invoke in invokes:
                invoke()

    return nullcontext(hear)


def our_mfcc() -> AbstractContextManager[Hear]:
    from edge.features.mfcc import MfccExtractor, MfccSpec

    extractor = MfccExtractor(MfccSpec())

    def hear(samples: np.ndarray) -> None:
        for start in range(0, len(samples) - BLOCK + 1, BLOCK):
            extractor.process(samples[start : start + BLOCK])

    return nullcontext(hear)


def speech_gate() -> AbstractContextManager[Hear]:
    """Ours and the speech gate on each block of it, as if all of it were worth a look."""
    from edge.features.mfcc import MfccExtractor, MfccSpec
    from edge.hearing.gate import load_speech_gate

    extractor, gate = MfccExtractor(MfccSpec()), load_speech_gate(MfccSpec())

    def hear(samples: np.ndarray) -> None:
        for start in range(0, len(samples) - BLOCK + 1, BLOCK):
            block = samples[start : start + BLOCK]
            gate.process(block, extractor.process(block))

    return nullcontext(hear)


def kaldi_mfcc() -> AbstractContextManager[Hear]:
    """kaldi-native-fbank's online MFCC, fed the same blocks, as many coefficients as ours."""
    import kaldi_native_fbank as knf

    options = knf.MfccOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither = RATE_HZ, 0.0
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 32.0, 20.0
    options.mel_opts.num_bins, options.num_ceps = 40, 40
    online = knf.OnlineMfcc(options)

    def hear(samples: np.ndarray) -> None:
        for start in range(0, len(samples) - BLOCK + 1, BLOCK):
            before = online.num_frames_ready
            online.accept_waveform(RATE_HZ, samples[start : start + BLOCK])
            for number in range(before, online.num_frames_ready):
                online.get_frame(number)

    return nullcontext(hear)


def librosa_per_hop() -> AbstractContextManager[Hear]:
    """librosa, asked for each frame when its samples are there."""
    import librosa

    return nullcontext(lambda samples: every(samples, 512, 320, lambda window: librosa_mfcc(librosa, window)))


WINDOW = (2 * RATE_HZ, RATE_HZ // 2)


def librosa_mfcc(librosa, window: np.ndarray) -> np.ndarray:
    """Return float32 (frames, 40), at most 100 frames, of 32 ms every 20 ms."""
    mfcc = librosa.feature.mfcc(y=window, sr=RATE_HZ, n_mfcc=40, n_fft=512, hop_length=320, n_mels=40, center=False)
    mfcc = mfcc.T.astype(np.float32)
    return mfcc if len(mfcc) == 1 else np.concatenate([mfcc[:1].repeat(100 - len(mfcc), axis=0), mfcc])


def invoker(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of a graph's only input to its only output."""
    from edge.model.runtime import interpreter

    made = interpreter((GRAPHS / f"{name}.tflite").read_bytes())
    into, out = made.get_input_details()[0]["index"], made.get_output_details()[0]["index"]

    def invoke(values: np.ndarray) -> np.ndarray:
        made.set_tensor(into, values)
        made.invoke()
        return made.get_tensor(out)

    return invoke


PEERS = {
    "roomtone": Peer(roomtone, "blocks in, observations out, default artifact"),
    "roomtone, taught": Peer(partial(roomtone, lessons=70), "the same, after 70 lessons (more cost no more)"),
    "study": Peer(study, "librosa.feature.mfcc and keras predict every 0.5 s"),
    "librosa + TFLite": Peer(librosa_tflite, "the same windows and network in TFLite"),
    "YAMNet-shaped": Peer(yamnet("float32"), "MobileNet-v1, 0.975 s every 0.4875 s, float32"),
    "YAMNet-shaped int8": Peer(yamnet("int8"), "the same, int8"),
    "Light-SERNet-shaped int8": Peer(light_sernet, "463 k-parameter CNN, 3 s every 0.5 s"),
    "floor": Peer(floor, "per block an rfft and an invoke of each graph, nothing else"),
    "MFCC: ours": Peer(our_mfcc, "edge/features/mfcc.py, by block"),
    "MFCC: ours, and the speech gate": Peer(speech_gate, "edge/hearing/gate.py, by block"),
    "MFCC: kaldi-native-fbank": Peer(kaldi_mfcc, "online, by block"),
    "MFCC: librosa": Peer(librosa_per_hop, "librosa.feature.mfcc, by frame"),
}
# Of blocks.py: ms of a block, and from one answer to the next.
SIZES = {
    f"{block_ms} ms, an answer each {answer_ms} ms": (block_ms, answer_ms)
    for answer_ms in (80, 160, 320, 640, 1_280)
    for block_ms in sorted({BLOCK_MS, answer_ms})
}


def main() -> None:
    name, path = sys.argv[1:]
    get_ready = partial(roomtone_in, *SIZES[name]) if name in SIZES else PEERS[name].get_ready
    samples = np.load(path)
    began_s = time.monotonic()
    with get_ready() as hear:
        hear(samples[: 4 * RATE_HZ])
        first_s = time.monotonic() - began_s
        os.getppid()  # by which whoever counts instructions (guard.py) sees where the sound begins, and ends
        cpu_s = time.process_time()
        hear(samples)
        cpu_s = time.process_time() - cpu_s
        os.getppid()
    seconds = len(samples) / RATE_HZ
    print(json.dumps({"cpu_per_audio_s": cpu_s / seconds, "first_result_s": first_s, "rss_mb": peak_mb()}))


if __name__ == "__main__":
    main()
