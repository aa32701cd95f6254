"""The form that hears utterances: against the bare interpreter, given what the functionals and the baseline say."""

import msgspec
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edge.errors import ArtifactError
from edge.features.baseline import Baseline
from edge.features.functionals import Functionals, names
from edge.features.mfcc import MfccExtractor
from edge.features.voice import VoiceExtractor, voice_frames
from edge.model.artifact import read_artifact, unpack
from edge.model.graph import load_model
from edge.model.pace import check_pace
from edge.model.utterance import ANSWER_BLOCKS, UtteranceModel
from tests.support.artifacts import STEP, UTTERANCE, WINDOW, packed, parts
from tests.support.sounds import chirp

ARTIFACT = read_artifact(UTTERANCE)
MANIFEST = ARTIFACT.manifest
SPEC = MANIFEST.features
BLOCK = SPEC.block_samples
SOUNDS = [chirp(seconds=20 * BLOCK / 16_000, seed=seed) for seed in range(4)]


def loaded() -> UtteranceModel:
    return load_model(ARTIFACT.graph, MANIFEST)


def of_manifest(functionals: np.ndarray) -> np.ndarray:
    return functionals[[names(SPEC).index(name) for name in MANIFEST.functionals]]


def functionals(samples: np.ndarray) -> np.ndarray:
    """Of a whole sound, as the laboratory computes them: the manifest's, in its order."""
    heard = Functionals(SPEC)
    heard.process(voice_frames(samples, SPEC))
    return of_manifest(heard.values())


def by_hand(samples: np.ndarray, *past: np.ndarray) -> np.ndarray:
    """The answer after `samples` of an utterance, in a room in which the past was heard."""
    baseline = Baseline(MANIFEST.baseline)
    for sound in past:
        baseline.hear(functionals(sound))
    run = Interpreter(model_content=parts(UTTERANCE)[0]).get_signature_runner()
    known = np.float32(len(past) / (len(past) + 5))
    return run(utterance=np.concatenate([baseline.relative(functionals(samples)), [known]])[None])["probs"][0].copy()


def blocks_of(samples: np.ndarray) -> np.ndarray:
    return samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)


def hear(model: UtteranceModel, samples: np.ndarray) -> None:
    model.reset()
    for block in blocks_of(samples):
        model.process(block)
    model.hear()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4)


def whole_frames(blocks: int) -> int:
    """How many samples fill the frames that so many blocks complete."""
    frames = len(VoiceExtractor(SPEC).process(SOUNDS[0][: blocks * BLOCK]))
    return (frames - 1) * SPEC.hop_samples + SPEC.window_samples


@pytest.mark.parametrize("past", [0, 1, 3])
@pytest.mark.parametrize("blocks", [6, 12, 20])
def test_an_utterance_is_what_the_graph_says_of_it_in_its_room(past, blocks):
    model = loaded()
    for sound in SOUNDS[1 : 1 + past]:
        hear(model, sound)
    model.reset()
    answer = model.process(SOUNDS[0][: blocks * BLOCK])
    assert answer.dtype == np.float32
    assert answer.sum() == pytest.approx(1, abs=1e-5)
    heard = [sound[: whole_frames(20)] for sound in SOUNDS[1 : 1 + past]]
    close(answer, by_hand(SOUNDS[0][: whole_frames(blocks)], *heard))
    assert model.utterances == past


def test_the_room_matters_and_so_does_each_functional():
    alone, in_a_room = by_hand(SOUNDS[0]), by_hand(SOUNDS[0], *SOUNDS[1:])
    assert np.abs(alone - in_a_room).max() > 0.02


@pytest.mark.parametrize("onset", [1, 3, 7])
def test_the_first_answer_is_given_at_once_and_another_every_320_ms(onset):
    model = loaded()
    model.reset()
    sound = SOUNDS[0]
    assert model.process(sound[: onset * BLOCK]) is not None
    answered = [model.process(block) is not None for block in blocks_of(sound[onset * BLOCK :])[:12]]
    assert answered == [number % ANSWER_BLOCKS == 0 for number in range(1, 13)]
    assert ANSWER_BLOCKS * BLOCK == 0.32 * 16_000


def test_block_by_block_or_many_at_once_the_answers_are_the_same():
    one, many = loaded(), loaded()
    for start in range(0, 20 * BLOCK, BLOCK):
        by_block = one.process(SOUNDS[0][start : start + BLOCK])
        if start // BLOCK % ANSWER_BLOCKS == 0:
            many.reset()
            close(many.process(SOUNDS[0][: start + BLOCK]), by_block)


def test_whoever_asks_for_an_embedding_meanwhile_shifts_no_answer():
    asked, left_alone = loaded(), loaded()
    for number, block in enumerate(blocks_of(SOUNDS[0])):
        answers = asked.process(block), left_alone.process(block)
        assert (answers[0] is None) == (answers[1] is None)
        if answers[0] is not None:
            close(*answers)
        if number % 3:
            at_once = loaded()
            at_once.process(SOUNDS[0][: (number + 1) * BLOCK])
            close(asked.functionals, at_once.functionals)  # what its embedding is made of: of all that came so far


@pytest.mark.parametrize("rest", range(1, ANSWER_BLOCKS))
def test_what_came_after_the_last_answer_counts_for_the_room(rest):
    late, early, alike = loaded(), loaded(), loaded()
    blocks = blocks_of(SOUNDS[0])[: 1 + ANSWER_BLOCKS + rest]
    hear(late, blocks.ravel())
    hear(early, blocks[:-rest].ravel())
    alike.process(blocks.ravel())
    alike.hear()
    answers = []
    for model in (late, early, alike):
        model.reset()
        answers.append(model.process(SOUNDS[1]))
    close(answers[0], answers[2])
    assert np.abs(answers[0] - answers[1]).max() > 1e-4


def test_reset_begins_a_new_utterance_in_the_same_room():
    model, fresh = loaded(), loaded()
    for each in (model, fresh):
        hear(each, SOUNDS[1])
    model.process(SOUNDS[2][: 5 * BLOCK])
    model.reset()
    fresh.reset()
    np.testing.assert_array_equal(model.process(SOUNDS[0]), fresh.process(SOUNDS[0]))


def test_what_is_forgotten_was_never_heard():
    model = loaded()
    hear(model, SOUNDS[1])
    model.process(SOUNDS[2][: 5 * BLOCK])
    model.forget()
    assert model.utterances == 0
    np.testing.assert_array_equal(model.process(SOUNDS[0]), loaded().process(SOUNDS[0]))


def test_the_samples_before_an_utterance_tell_its_first_pitch():
    cut = 10 * BLOCK
    told, untold = loaded(), loaded()
    told.reset(SOUNDS[0][:cut])
    untold.reset(np.zeros(BLOCK, np.float32))
    first = SOUNDS[0][cut : cut + BLOCK]
    assert np.abs(told.process(first) - untold.process(first)).max() > 1e-4


def test_an_answer_is_not_overwritten_by_the_next():
    model = loaded()
    probs = model.process(SOUNDS[0])
    kept = probs.copy()
    model.reset()
    model.process(SOUNDS[1])
    np.testing.assert_array_equal(probs, kept)


def test_its_pace_is_that_of_a_second_of_sound_and_leaves_nothing_in_the_room():
    model = loaded()
    hear(model, SOUNDS[1])
    assert 0 < check_pace(ARTIFACT, model) < 0.5
    assert model.utterances == 0


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (UTTERANCE, {"functionals": None}, "functionals: belongs to the utterance form"),
        (UTTERANCE, {"baseline": None}, "baseline: belongs to the utterance form"),
        (UTTERANCE, {"functionals": [], "baseline": {"mean": [], "within": [], "between": []}}, "at least one"),
        (UTTERANCE, {"functionals": ["loudness"]}, "there is none called 'loudness'"),
        (UTTERANCE, {"functionals": ["mfcc_40_mean"]}, "there is none called 'mfcc_40_mean'"),
        (UTTERANCE, {"functionals": MANIFEST.functionals[:1] * len(MANIFEST.functionals)}, "none twice$"),
        (UTTERANCE, {"functionals": MANIFEST.functionals[1:]}, r"baseline.mean: expected \d+ values"),
        (UTTERANCE, {"normalization": parts(STEP)[1]["normalization"]}, "normalization: belongs to the window and the"),
        (UTTERANCE, {"window_frames": 40}, "window_frames: belongs to"),
        (UTTERANCE, {"step_frames": 4}, "step_frames: belongs to"),
        (UTTERANCE, {"states": {"h": [1, 8]}}, "states: belongs to the step form, and only there$"),
        (UTTERANCE, {"form": "step"}, "belongs to"),
        (STEP, {"form": "utterance"}, "belongs to"),
        (STEP, {"functionals": ["pitch_mean"]}, "functionals: belongs to the utterance form"),
        (WINDOW, {"baseline": parts(UTTERANCE)[1]["baseline"]}, "baseline: belongs to the utterance form"),
        (STEP, {"normalization": None}, "normalization: belongs to the window and the step form"),
        (STEP, {"moods": {"low": ["sad"], "quiet": ["happy"]}}, "moods: 'quiet' cannot be a mood of a model"),
        (STEP, {"moods": {"Low": ["sad"]}}, "moods: 'Low' cannot be a mood"),
        (STEP, {"moods": {"low": []}}, "moods: 'low' has no labels"),
        (STEP, {"moods": {"low": ["sad", "bored"]}}, "moods: 'bored' in 'low' is no label of the model"),
        (STEP, {"moods": {"low": ["sad"], "blue": ["sad"]}}, "moods: 'sad' stands twice"),
        (STEP, {"moods": {"low": ["sad", "sad"]}}, "moods: 'sad' stands twice"),
        (STEP, {"decision": {"mood_enter": 1.5}}, "mood_enter"),
        (STEP, {"decision": {"arousal_enter": -0.1}}, "arousal_enter"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(path, changes, message):
    graph, manifest = parts(path)
    with pytest.raises(ArtifactError, match=f"^manifest: .*{message}"):
        unpack(packed(graph, manifest | changes))


@pytest.mark.parametrize("field", ["mean", "within", "between"])
@pytest.mark.parametrize("wrong", [[], [0.0], [1e300], [1.0, None]])
def test_a_baseline_of_other_numbers_is_refused(field, wrong):
    graph, manifest = parts(UTTERANCE)
    baseline = manifest["baseline"]
    with pytest.raises(ArtifactError, match=r"manifest: .*baseline"):
        unpack(packed(graph, manifest | {"baseline": baseline | {field: wrong}}))
    if wrong and field != "mean":
        with pytest.raises(ArtifactError, match=r"manifest: .*baseline"):
            unpack(packed(graph, manifest | {"baseline": baseline | {field: [0.0, *baseline[field][1:]]}}))


def test_a_graph_of_other_functionals_is_refused():
    fewer = msgspec.structs.replace(MANIFEST, functionals=MANIFEST.functionals[1:])
    with pytest.raises(ArtifactError, match="input utterance is"):
        load_model(ARTIFACT.graph, fewer)
    with pytest.raises(ArtifactError, match="inputs are"):
        load_model(read_artifact(STEP).graph, MANIFEST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_samples": 400}, "a window of 200 samples is too short for a pitch"),
        ({"hop_samples": 322}, "hop_samples and window_samples are no multiples of 4"),
        ({"sample_rate_hz": 22_050}, "22050 is no multiple of that"),
    ],
)
def test_a_front_end_that_is_none_for_voices_is_refused(changes, message):
    with pytest.raises(ArtifactError, match=f"features: .*{message}"):
        load_model(
            ARTIFACT.graph, msgspec.structs.replace(MANIFEST, features=msgspec.structs.replace(SPEC, **changes))
        )


def test_mfccs_that_are_known_need_not_be_made_again():
    told, alone = loaded(), loaded()
    mfcc = MfccExtractor(SPEC)
    for model in (told, alone):
        model.reset(np.zeros(BLOCK, np.float32))
    mfcc.reset(np.zeros(BLOCK, np.float32))
    for block in blocks_of(SOUNDS[0]):
        answers = told.process(block, mfcc.process(block)), alone.process(block)
        np.testing.assert_array_equal(*answers)
