"""The whole chain from blocks to labels: determinism, what reaches the model, and silence."""

import itertools

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.commands.demo import RECORDING
from edge.features.baseline import Baseline
from edge.features.functionals import Functionals, names
from edge.features.mfcc import MfccExtractor
from edge.features.voice import DESCRIPTORS, voice_frames
from edge.hearing.pipeline import Pipeline
from edge.hearing.recent import Recent
from edge.labels import QUIET, UNKNOWN
from edge.model.artifact import load
from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, timed_blocks
from edge.sound.recording import load_recording, read_recording
from tests.support.artifacts import MOMENTS, UTTERANCE
from tests.support.sounds import corpus_clips

ARTIFACT, MODEL = load(MOMENTS)
MANIFEST = ARTIFACT.manifest


class Eavesdropper:
    """A model that keeps the frames of each utterance."""

    def __init__(self) -> None:
        self.utterances: list[list[np.ndarray]] = []

    def reset(self) -> None:
        self.utterances.append([])

    def process(self, frames: np.ndarray) -> np.ndarray:
        self.utterances[-1].append(frames)
        return np.full(len(MANIFEST.labels), 1 / len(MANIFEST.labels), np.float32)


def heard(chunks) -> tuple[list[np.ndarray], list[tuple], list[float]]:
    """Return the frames of each utterance, everything that was observed, and when each utterance began."""
    model = Eavesdropper()
    pipeline = Pipeline(model, MANIFEST)
    observed = [pipeline.process(block) for block in timed_blocks(chunks, started_at=0.0)]
    facts = [(o.at_s, o.label, o.confidence, o.speech, o.level_dbfs, o.snr_db, o.speech_ratio) for o in observed]
    onsets = [o.onset_s for before, o in itertools.pairwise(observed) if o.speaking and not before.speaking]
    return [np.concatenate(utterance) for utterance in model.utterances], facts, onsets


SOUND = np.concatenate(list(read_recording(RECORDING)))[: 12 * 16_000]
STEADY = load_recording(RECORDING)[: 12 * 16_000]  # as the laboratory has it: the same, without a constant offset


@pytest.fixture(scope="module")
def whole() -> tuple[list[np.ndarray], list[tuple], list[float]]:
    """What is heard of the sound in one piece."""
    return heard([SOUND])


@settings(max_examples=15)
@given(st.lists(st.one_of(st.integers(1, 40), st.integers(1, 5_000), st.integers(1, 160_000)), min_size=1, max_size=60))
def test_any_chunking_gives_bit_equal_features_and_equal_observations(whole, sizes):
    utterances, observed, _ = heard(np.split(SOUND, np.cumsum(sizes)[np.cumsum(sizes) < len(SOUND)]))
    assert observed == whole[1]
    assert len(utterances) == len(whole[0]) > 0
    for ours, theirs in zip(utterances, whole[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_utterance_reaches_the_model_whole_from_the_onset_that_is_told(whole):
    """Its frames are those of the sound itself, from a little before the moment at which it is said to begin."""
    utterances, observed, onsets = whole
    spec = MANIFEST.features
    assert len(onsets) == len(utterances)
    for onset_s, frames in zip(onsets, utterances, strict=True):
        begin = round(onset_s * spec.sample_rate_hz) - spec.overlap_samples
        np.testing.assert_array_equal(MfccExtractor(spec).process(STEADY[begin:])[: len(frames)], frames)
        detected_s = next(facts[0] for facts in observed if facts[3] and facts[0] > onset_s)
        assert 0 < detected_s - onset_s <= 0.9


@given(st.lists(st.integers(0, 1_280), min_size=1, max_size=40), st.integers(1, 12))
def test_recent_is_the_mean_of_the_last_counts(counts, length):
    recent = Recent(length)
    for number, count in enumerate(counts, start=1):
        assert recent.mean_with(count) == pytest.approx(np.mean(counts[max(0, number - length) : number]))


def observations(chunks) -> list:
    pipeline = Pipeline(MODEL, MANIFEST)
    return [pipeline.process(block) for block in timed_blocks(chunks, started_at=0.0)]


def test_the_demo_recording_is_heard_as_speech_and_pauses():
    observed = observations(read_recording(RECORDING))
    labels = [o.change.label for o in observed if o.change]
    assert labels.count(QUIET) >= 3
    assert len(set(labels)) >= 3
    assert set(labels) <= {*MANIFEST.labels, QUIET, UNKNOWN}
    for o in observed:
        assert 0 <= o.confidence <= 1
        assert o.scores is None or o.scores.sum() == pytest.approx(1, abs=1e-3)


def test_of_what_was_heard_before_a_gap_nothing_is_told_after_it():
    blocks = list(timed_blocks(read_recording(RECORDING), started_at=0.0))
    pipeline = Pipeline(MODEL, MANIFEST)
    for block in blocks[:100]:
        told = pipeline.process(replace(block, samples=np.sign(block.samples)))  # overdriven
    assert min(told.speech_ratio, told.clipped_ratio) > 0.1
    pipeline.interrupt(told.at_s)
    told = pipeline.process(replace(blocks[100], samples=np.zeros(BLOCK_SAMPLES, np.float32)))
    assert (told.speech_ratio, told.clipped_ratio, told.snr_db) == (0.0, 0.0, None)


def test_whoever_speaks_when_listening_resumes_is_listened_to():
    """Confidence 0 would say that nobody listens, until there is a label."""
    blocks = list(timed_blocks(read_recording(RECORDING), started_at=0.0))
    speaks = next(at for at, o in enumerate(observations(read_recording(RECORDING))) if o.speaking)
    pipeline = Pipeline(MODEL, MANIFEST)
    for block in blocks[: speaks + 20]:
        told = pipeline.process(block)
    assert told.speaking
    assert pipeline.interrupt(told.at_s).confidence == 0.0
    after = [pipeline.process(block) for block in blocks[speaks + 2 : speaks + 20]]
    assert after[0].speaking
    assert {o.label for o in after} > {QUIET}
    assert all(o.confidence > 0 for o in after)


def test_no_speech_no_emotion():
    rng = np.random.default_rng(0)
    for sound in (np.zeros(16_000 * 20, np.float32), rng.normal(0, 0.02, 16_000 * 20).astype(np.float32)):
        observed = observations([sound])
        assert {o.label for o in observed} == {QUIET}
        assert all(o.scores is None and o.probs is None for o in observed)


def test_two_runs_are_equal_to_the_last_bit():
    first, second = (observations(read_recording(RECORDING)) for _ in range(2))
    assert [(o.label, o.confidence, o.since_s) for o in first] == [(o.label, o.confidence, o.since_s) for o in second]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.probs, b.probs)


def test_real_clips_end_in_quiet_when_silence_follows():
    for path in corpus_clips(8):
        sound = load_recording(path)
        observed = observations([sound / np.abs(sound).max() * 0.5, np.zeros(16_000 * 2, np.float32)])
        assert observed[-1].label == QUIET
        assert any(o.speaking for o in observed), path
        assert observed[-1].since_s <= len(sound) / 16_000 + 1.0 + BLOCK_S


def test_a_model_that_hears_utterances_says_what_the_laboratory_would():
    """Against whole-recording frames, functionals and baseline computed apart, and the bare interpreter."""
    artifact, model = load(UTTERANCE)
    manifest, spec = artifact.manifest, artifact.manifest.features
    sound = load_recording(RECORDING)[: 40 * 16_000]
    pipeline = Pipeline(model, manifest)
    observed = [pipeline.process(block) for block in timed_blocks([sound], started_at=0.0)]
    samples = np.concatenate([block.samples for block in timed_blocks([sound], started_at=0.0)])
    # Frames of the sensor's blocks begin `overlap_samples` before each: so many samples into the recording, a hop's.
    skip = (BLOCK_SAMPLES - spec.overlap_samples) % spec.hop_samples
    frames = voice_frames(samples[skip:], spec)
    flux = spec.coefficients + DESCRIPTORS.index("flux")
    run = Interpreter(model_content=artifact.graph).get_signature_runner()
    baseline, chosen = Baseline(manifest.baseline), [names(spec).index(name) for name in manifest.functionals]
    answers, begin, before = 0, 0, None
    for number, o in enumerate(observed):
        if o.speaking:
            begin = round(o.onset_s * 16_000) - spec.overlap_samples
            first, end = (begin - skip) // spec.hop_samples, (number + 1) * BLOCK_SAMPLES
            utterance = frames[first : 1 + (end - skip - spec.window_samples) // spec.hop_samples].copy()
            utterance[0, flux] = voice_frames(samples[begin : begin + spec.window_samples], spec)[0, flux]
            functionals = Functionals(spec)
            functionals.process(utterance)
            before = functionals.values()[chosen]
        elif before is not None:  # the hang-over's last block ended it: it was none of the utterance
            baseline.hear(before)
            before = None
        if o.probs is not None:
            answers += 1
            expected = run(utterance=baseline.against(before)[None])["probs"][0]
            np.testing.assert_allclose(o.probs, expected, atol=1e-4)
    assert answers > 40
    assert pipeline.room_utterances == baseline.utterances >= 5
