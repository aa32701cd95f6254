"""The cache of features: right, whole, or made again."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.errors import UnavailableError
from edge.features.mfcc import MfccSpec, mfcc
from edge.sound.recording import load_recording
from tests.support.sounds import ROOT
from tests.support.tiny_corpus import write_corpus
from train.config import TrainConfig
from train.data.features import Cache, clip_key, utterance_frames
from train.data.index import scan

SPEC = MfccSpec()


@pytest.fixture
def clips(tmp_path):
    return scan([write_corpus(tmp_path, words=("dog",), seconds=0.3)], TrainConfig()).clips


def stored(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_frames_are_the_sensor_s_and_come_back_bit_equal(tmp_path, clips):
    cache = Cache(tmp_path / "cache")
    made = utterance_frames(clips, SPEC, cache)
    for clip, frames in zip(clips, made, strict=True):
        assert np.array_equal(frames, mfcc(load_recording(clip.path), SPEC))
    for clip in clips:
        Path(clip.path).unlink()
    again = utterance_frames(clips, SPEC, cache)
    assert all(np.array_equal(first, second) for first, second in zip(made, again, strict=True))


def test_content_and_spec_are_the_key(clips):
    keys = {clip_key(clip, SPEC) for clip in clips} | {clip_key(clip, MfccSpec(coefficients=13)) for clip in clips}
    assert len(keys) == 2 * len(clips)


@pytest.mark.parametrize("suffix", [".data", ".keys"])
@pytest.mark.parametrize("size", [0, 60, -1])
def test_a_file_cut_short_is_made_again(tmp_path, clips, size, suffix):
    (whole,) = utterance_frames(clips[:1], SPEC, Cache(tmp_path / "cache"))
    whole = whole.copy()  # what it was, not the file that is about to change
    (path,) = (path for path in stored(tmp_path / "cache") if path.suffix == suffix)
    path.write_bytes(path.read_bytes()[:size])
    (again,) = utterance_frames(clips[:1], SPEC, Cache(tmp_path / "cache"))
    assert np.array_equal(whole, again)
    Path(clips[0].path).unlink()
    (kept,) = utterance_frames(clips[:1], SPEC, Cache(tmp_path / "cache"))
    assert np.array_equal(whole, kept)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, clips):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="file/cache: the feature cache cannot be written"):
        utterance_frames(clips[:1], SPEC, Cache(tmp_path / "file" / "cache"))


def test_a_full_disk_while_caching(tmp_path):
    """A file system of 64 kB that is really full, in a mount namespace of the test's own."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root and mount namespaces to mount a small file system")
    write_corpus(tmp_path, seconds=0.5)
    text = (ROOT / "config.yaml").read_text().replace("cache: runs/cache", f"cache: {tmp_path}/small/cache")
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "small").mkdir()
    script = (
        f"mount -t tmpfs -o size=64k tmpfs {tmp_path}/small && "
        f"{sys.executable} -m train fit --network cnn --config {tmp_path}/config.yaml --data {tmp_path}/TESS; "
        f"echo $?; find {tmp_path}/small -name '*.part'"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["69"], done.stderr
    (error,) = [line for line in done.stderr.splitlines() if not line.startswith(("listening", "features"))]
    assert error.startswith(f"error: {tmp_path}/small/cache")  # what is measured, or the features: whichever comes last
    assert "(No space left on device)" in error or "(database or disk is full)" in error


def test_a_corpus_has_a_store_of_its_own(tmp_path, clips):
    kept = [msgspec.structs.replace(clip, corpus=corpus) for clip, corpus in zip(clips, ("A/1", "B"), strict=False)]
    utterance_frames(kept, SPEC, Cache(tmp_path / "cache"))
    stores = [path.relative_to(tmp_path / "cache").as_posix() for path in stored(tmp_path / "cache")]
    assert stores == ["of-a-1/000.data", "of-a-1/000.keys", "of-b/000.data", "of-b/000.keys"]


def test_what_was_kept_before_corpora_had_stores_is_found(tmp_path, clips):
    Cache(tmp_path / "cache").get(clip_key(clips[0], SPEC), lambda: np.full((3, 40), 7.0, np.float32))
    (found,) = utterance_frames(clips[:1], SPEC, Cache(tmp_path / "cache"))
    assert np.all(found == 7.0)
