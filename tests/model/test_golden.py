"""The golden sound by its formula, and what replay lets pass."""

import msgspec
import numpy as np
import pytest
import scipy.stats

from edge.errors import ArtifactError
from edge.features.mfcc import MfccSpec
from edge.model.artifact import read_artifact
from edge.model.golden import Golden, GoldenSound, uniform_noise
from edge.model.graph import load_model
from edge.model.manifest import Manifest
from edge.model.replay import FEATURE_TOLERANCE_DB, FUNCTIONAL_TOLERANCE, observe, record, replay
from edge.model.utterance import ANSWER_BLOCKS, UtteranceModel
from tests.features.test_mfcc import librosa_mfcc
from tests.support.artifacts import STEP, STEP_INT8, UTTERANCE, WINDOW

SPEC = MfccSpec()
FRAMES = read_artifact(STEP).manifest  # of a model that hears frames
HEARING = read_artifact(UTTERANCE)


class Stub:
    """A model whose answers are known: the softmax of the block's last coefficients, scaled."""

    embedding = None

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.resets = scale, 0

    def reset(self) -> None:
        self.resets += 1

    def process(self, frames: np.ndarray) -> np.ndarray:
        logits = frames[-1, 1:8] * 0.05 * self.scale
        exponents = np.exp(logits - logits.max())
        return (exponents / exponents.sum()).astype(np.float32)


def golden(tolerance: float = 1e-4, same_argmax: bool = False) -> Golden:
    return record(Stub(), FRAMES, GoldenSound(), probs_tolerance=tolerance, same_argmax=same_argmax)


def with_golden(golden: Golden, manifest: Manifest | None = None) -> Manifest:
    return msgspec.structs.replace(manifest or FRAMES, golden=golden)


def hearing() -> UtteranceModel:
    return load_model(HEARING.graph, HEARING.manifest)


def counted(first: int, count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint32) + np.uint32(first)


def test_the_sound_is_its_formula():
    sound = GoldenSound(duration_s=0.5, harmonics=3)
    t = np.arange(8_000) / 16_000
    pitch_hz = 110 + (260 - 110) / 0.5 * t
    phase = 2 * np.pi * (np.cumsum(pitch_hz) - pitch_hz[0]) / 16_000  # numerically; the code integrates exactly
    voice = sum(np.sin(k * phase) / k for k in (1, 2, 3))
    noise = uniform_noise(counted(1, 8_000)) * 0.002
    made = sound.samples(16_000)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made - noise, 0.1 * (0.5 - 0.5 * np.cos(2 * np.pi * 3.5 * t)) * voice, atol=2e-2)
    assert np.abs(made).max() < 1


def test_it_is_made_in_pieces_and_each_sample_once(monkeypatch):
    made, pieces = GoldenSound._at, []
    monkeypatch.setattr(GoldenSound, "_at", lambda sound, of, rate_hz: pieces.append(of) or made(sound, of, rate_hz))
    assert len(GoldenSound(duration_s=0.6).samples(16_000)) == 9_600
    np.testing.assert_array_equal(np.concatenate(pieces), np.arange(9_600))
    assert max(map(len, pieces)) == 4_096


def test_the_noise_is_murmurhash3_s_finalizer_of_a_count():
    # fmix32 of 1 and of 0xFFFFFFFF + 1 = 0, as the author's own code gives them
    np.testing.assert_array_equal(uniform_noise(counted(1, 1)), [0x514E28B7 / 2**31 - 1])
    np.testing.assert_array_equal(uniform_noise(counted(0xFFFFFFFF, 2))[1:], [-1.0])
    long = uniform_noise(counted(7, 100_000))
    assert scipy.stats.kstest(long, "uniform", args=(-1, 2)).pvalue > 0.01
    assert np.abs(np.correlate(long, long[:1_000], "valid")[1:]).max() / 333 < 0.2  # white


@pytest.mark.usefixtures("compiled_librosa")
def test_its_features_in_a_manifest_are_librosa_s():
    for path in (WINDOW, STEP, STEP_INT8):
        stored = read_artifact(path).manifest.golden
        expected = librosa_mfcc(stored.sound.samples(16_000))[:: stored.every_frames]
        np.testing.assert_allclose(np.array(stored.features), expected, atol=1e-3)


def test_replay_of_the_same_model_differs_by_rounding_only():
    assert replay(Stub(), with_golden(golden())) < 1e-5


def test_what_is_recorded_is_of_that_sound_to_a_thousandth_of_a_decibel_and_a_hundred_thousandth():
    sound = GoldenSound(duration_s=0.8, harmonics=4)
    made = record(Stub(), FRAMES, sound, probs_tolerance=0.01, same_argmax=True)
    assert (made.sound, made.every_frames, made.probs_tolerance, made.same_argmax) == (sound, 20, 0.01, True)
    seen = observe(Stub(), FRAMES, sound)
    for told, exact, digits in ((made.features, seen.features[::20], 3), (made.probs, seen.probs, 5)):
        assert np.abs(np.array(told) - exact).max() <= 0.51 * 10**-digits
        assert {len(str(number).partition(".")[2]) for row in told for number in row} <= set(range(digits + 1))
    assert made.embedding is None is made.embedding_tolerance


def test_every_block_from_onset_is_compared():
    model = Stub()
    frames, probs, _ = observe(model, FRAMES, GoldenSound())
    assert probs.shape == (len(frames) // SPEC.block_frames, 7)
    assert model.resets == 2


def test_another_model_is_refused():
    with pytest.raises(ArtifactError, match="probabilities differ by"):
        replay(Stub(scale=1.02), with_golden(golden()))


def test_nan_is_refused():
    with pytest.raises(ArtifactError, match="probabilities differ by nan"):
        replay(Stub(scale=np.nan), with_golden(golden()))


@pytest.mark.parametrize(
    "changed",
    [{"hop_samples": 310}, {"high_hz": 7_900.0}, {"window_samples": 500}, {"power_floor": 1e-3}, {"low_hz": 50.0}],
)
def test_another_front_end_is_refused(changed):
    front_end = msgspec.structs.replace(SPEC, **changed)
    other = msgspec.structs.replace(with_golden(golden(tolerance=0.05)), features=front_end)
    with pytest.raises(ArtifactError, match="golden replay: "):
        replay(Stub(), other)


def test_features_may_differ_by_the_last_bits_only():
    stored = golden()
    for difference, refused in ((FEATURE_TOLERANCE_DB * 0.9, False), (FEATURE_TOLERANCE_DB * 1.1, True)):
        shifted = msgspec.structs.replace(stored, features=(np.array(stored.features) + difference).tolist())
        if refused:
            with pytest.raises(ArtifactError, match="features differ by"):
                replay(Stub(), with_golden(shifted))
        else:
            replay(Stub(), with_golden(shifted))


def test_another_winner_is_refused_within_the_tolerance_too():
    stored = golden(tolerance=0.05, same_argmax=True)
    assert (stored.same_argmax, golden().same_argmax) == (True, False)
    probs = np.array(stored.probs)
    first, second = np.argsort(probs[5])[::-1][:2]
    probs[5, [first, second]] = probs[5, [second, first]]
    swapped = msgspec.structs.replace(stored, probs=probs.tolist())
    with pytest.raises(ArtifactError):
        replay(Stub(), with_golden(swapped))


def test_a_tie_may_fall_either_way():
    stored = golden(tolerance=0.05, same_argmax=True)
    probs = np.array(stored.probs)
    ordered = np.sort(probs, axis=1)
    row = int(np.argmin(ordered[:, -1] - ordered[:, -2]))
    second, first = np.argsort(probs[row])[-2:]
    middle = probs[row, [first, second]].mean()
    probs[row, first], probs[row, second] = middle - 1e-3, middle + 1e-3
    assert np.abs(probs - stored.probs).max() < 0.05
    replay(Stub(), with_golden(msgspec.structs.replace(stored, probs=probs.tolist())))


@pytest.mark.parametrize(
    "wrong",
    [{"probs": []}, {"features": []}, {"probs": [[1.0]]}, {"features": [[1.0] * 39]}, {"every_frames": 11}],
)
def test_a_golden_that_fits_nothing_is_refused(wrong):
    with pytest.raises(ArtifactError):
        replay(Stub(), with_golden(msgspec.structs.replace(golden(), **wrong)))


def test_a_room_is_heard_twice_first_unknown_then_known_by_the_sound_itself():
    model, manifest = hearing(), HEARING.manifest
    sound = manifest.golden.sound
    features, probs, _ = observe(model, manifest, sound)
    blocks = int(sound.duration_s / 0.08)
    answers = 1 + (blocks - 1) // ANSWER_BLOCKS
    assert features.shape == (2, len(manifest.functionals))
    assert probs.shape == (2 * answers, len(manifest.labels))
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(probs[:answers] - probs[answers:]).max() > 0.01
    assert model.utterances == 0
    model.reset(np.zeros(1_280, np.float32))
    model.process(sound.samples(16_000))
    model.hear()
    np.testing.assert_array_equal(observe(model, manifest, sound).probs, probs)  # whatever the room was
    assert replay(model, manifest) < 1e-4


def test_functionals_may_differ_by_the_last_bits_only():
    model, manifest = hearing(), HEARING.manifest
    for difference, refused in ((FUNCTIONAL_TOLERANCE * 0.9, False), (FUNCTIONAL_TOLERANCE * 1.1, True)):
        features = np.array(manifest.golden.features)
        features[1, 7] += difference
        shifted = with_golden(msgspec.structs.replace(manifest.golden, features=features.tolist()), manifest)
        if refused:
            with pytest.raises(ArtifactError, match=r"features differ by .* deviations"):
                replay(model, shifted)
        else:
            replay(model, shifted)


def moved(values: list[float], by: float) -> list[float]:
    return [values[0] + by, *values[1:]]


@pytest.mark.parametrize(
    "changed",
    [
        lambda manifest: {"functionals": manifest.functionals[::-1]},
        lambda manifest: {"functionals": [*manifest.functionals[:2][::-1], *manifest.functionals[2:]]},
        lambda manifest: {"baseline": replaced(manifest, mean=moved(manifest.baseline.mean, 1.0))},
        lambda manifest: {"baseline": replaced(manifest, within=moved(manifest.baseline.within, 1.0))},
        lambda manifest: {"baseline": replaced(manifest, between=moved(manifest.baseline.between, 1.0))},
        lambda manifest: {"features": msgspec.structs.replace(SPEC, hop_samples=312)},
        lambda manifest: {"features": msgspec.structs.replace(SPEC, high_hz=7_900.0)},
    ],
)
def test_another_baseline_order_or_front_end_is_noticed(changed):
    manifest = msgspec.structs.replace(HEARING.manifest, **changed(HEARING.manifest))
    with pytest.raises(ArtifactError, match="golden replay: "):
        replay(load_model(HEARING.graph, manifest), manifest)


def replaced(manifest: Manifest, **changes):
    return msgspec.structs.replace(manifest.baseline, **changes)


def test_other_weights_are_noticed():
    values = np.frombuffer(HEARING.graph[: len(HEARING.graph) // 4 * 4], np.float32).copy()
    weights = np.flatnonzero((np.abs(values) > 0.05) & (np.abs(values) < 1))
    assert len(weights) > 300
    values[weights] *= 1.05
    graph = values.tobytes() + HEARING.graph[len(values) * 4 :]
    with pytest.raises(ArtifactError, match="probabilities differ by"):
        replay(load_model(graph, HEARING.manifest), HEARING.manifest)
