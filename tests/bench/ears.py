"""How well the sensor tells speech from everything else: `make ears`, on the corpora (ROOMTONE_CORPORA).

Ambience: ESC-10, clips joined by cross-fades; no label is true there, so every emotion event is false. Onsets: clips of
held-out speakers in pink noise at a given SNR, with pauses. The truth about onset and offset is the clip's own level
against that noise, and nothing of ours. Prints a table, and writes everything as JSON.

`--speech` takes artifacts of the speech gate, and each class of ESC-10 is judged by one that never heard it (as the
artifact's own manifest says), or by the bundled one on the fold that no training hears; or `pymicro-vad`, to compare.
"""

import argparse
import json
import math
import random
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from edge.config import Gate
from edge.hearing.gate import load_speech_gate
from edge.hearing.observation import Observation
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET, UNKNOWN
from edge.model.artifact import DEFAULT_MODEL, SPEECH_MODEL, load, read_artifact
from edge.sound.blocks import SAMPLE_RATE_HZ, timed_blocks
from edge.sound.recording import load_recording
from tests.bench import asked
from tests.support.sounds import CORPORA

FADE_S = 0.5
LEVEL_DBFS = -26.0  # of active speech
FOUND_S = 0.3
QUIET_S = 1.0
FIRST_S = 1.0
PAUSES_S = (1.5, 4.0)
LEAD_S = 6.0
HELD_OUT_FOLD = "5"  # of ESC-10 (train/augmentation/augment.py)
RAVDESS_TEST = ("21", "22", "23", "24")
_NOISE_SAMPLES = 120 * SAMPLE_RATE_HZ
_TEN_MS = SAMPLE_RATE_HZ // 100


PYMICRO_VAD = "pymicro-vad"
# What its probabilities mean, found as the defaults were for the bundled one (edge/config.py).
PYMICRO_VAD_SETTINGS = Gate(speech_probability=0.5, doubtful_probability=0.3, certain_probability=0.9, certain_ms=320)


def observe(model_file: Path, sound: np.ndarray, speech: str) -> list[Observation]:
    """Return what the sensor makes of a sound, block by block, with a speech artifact or pymicro-vad."""
    artifact, model = load(model_file)
    if speech == PYMICRO_VAD:
        from tests.bench.micro_vad import MicroVadGate

        pipeline = Pipeline(model, artifact.manifest, gate=PYMICRO_VAD_SETTINGS, speech_gate=MicroVadGate())
    else:
        gate = load_speech_gate(artifact.manifest.features, Path(speech))
        pipeline = Pipeline(model, artifact.manifest, speech_gate=gate)
    return [pipeline.process(block) for block in timed_blocks([sound], started_at=0.0)]


def joined(sounds: list[np.ndarray]) -> np.ndarray:
    """Return sounds one after the other, each faded into the next with constant power."""
    fade = round(FADE_S * SAMPLE_RATE_HZ)
    rise = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    whole = sounds[0]
    parts = []
    for sound in sounds[1:]:
        parts.append(whole[:-fade])
        whole = np.concatenate([whole[-fade:] * rise[::-1] + sound[:fade] * rise, sound[fade:]])
    return np.concatenate([*parts, whole])


def poisson_upper(count: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a Poisson mean of which `count` was seen (3.0 for none)."""

    def at_most(mean: float) -> float:
        return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))

    low, high = 1e-9, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(middle) > 1 - confidence else (low, middle)
    return high


def deaf_to(name: str, artifacts: list[str]) -> str:
    """Return the first speech artifact that was not trained on a class of noise. Raises SystemExit if all were."""
    for artifact in artifacts:
        if artifact == PYMICRO_VAD or name not in read_artifact(artifact).manifest.provenance.metrics["noise"]:
            return artifact
    raise SystemExit(f"ears: every speech artifact given was trained on {name}; use --folds 5, or add one without it")


def ambience(model_file: Path, clips: int | None, folds: str, speech: list[str]) -> dict:
    """Return false events and false utterances on ESC-10, by class and in all."""
    classes = {}
    for folder in sorted(path for path in (CORPORA / "ESC-10").iterdir() if path.is_dir()):
        judge = speech[0] if folds == HELD_OUT_FOLD else deaf_to(folder.name, speech)
        files = [path for path in sorted(folder.glob("*.ogg")) if path.name[0] in folds]  # a name begins with its fold
        sound = joined([load_recording(path) for path in files[:clips]])
        observed = observe(model_file, sound, judge)
        changes = [o.change.label for o in observed if o.change and o.change.label != QUIET]
        classes[folder.name] = {
            "speech_gate": Path(judge).name,
            "seconds": round(len(sound) / SAMPLE_RATE_HZ, 1),
            "utterances": _utterances(observed),
            "utterance_seconds": round(0.08 * sum(o.speaking for o in observed), 1),
            "emotion_events": sum(label != UNKNOWN for label in changes),
            "unknown_events": changes.count(UNKNOWN),
            "labels": dict(Counter(changes)),
        }
    names = ("seconds", "utterances", "utterance_seconds", "emotion_events", "unknown_events")
    total = {name: round(sum(one[name] for one in classes.values()), 1) for name in names}
    hours = total["seconds"] / 3600
    total["hours"] = round(hours, 4)
    for what in ("emotion_events", "utterances"):
        total[f"{what}_per_hour"] = round(total[what] / hours, 2)
        total[f"{what}_per_hour_95_bound"] = round(poisson_upper(int(total[what])) / hours, 2)
    return {"classes": classes, "total": total}


def _utterances(observed: list[Observation]) -> int:
    before = [False, *(o.speaking for o in observed)]
    return sum(o.speaking and not spoke for spoke, o in zip(before, observed, strict=False))


def pink(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of power 1 whose density falls with frequency, from 20 Hz on: what a quiet room sounds like."""
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(samples)) / np.sqrt(np.maximum(hz, 20.0))
    noise = np.fft.irfft(np.where(hz < 20.0, 0, spectrum), samples)
    return noise / np.sqrt(np.mean(noise**2))


def laid_into_noise(clips: list[Path], snr_db: float, seed: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return the sound, and when each clip's speech begins and ends, in seconds.

    Active speech is what lies within 30 dB of a clip's loudest 10 ms; it begins with the first 30 ms, and ends with the
    last, that are louder than the noise: before that nobody could hear it.
    """
    rng = np.random.default_rng(seed)
    noise_power = 10 ** ((LEVEL_DBFS - snr_db) / 10)
    parts, spans, at = [np.zeros(round(LEAD_S * SAMPLE_RATE_HZ))], [], round(LEAD_S * SAMPLE_RATE_HZ)
    for path in clips:
        sound = load_recording(path).astype(np.float64)
        power = np.mean(sound[: len(sound) // _TEN_MS * _TEN_MS].reshape(-1, _TEN_MS) ** 2, axis=1)
        gain = 10 ** (LEVEL_DBFS / 10) / power[power > power.max() * 1e-3].mean()
        loud = power * gain > noise_power
        runs = np.flatnonzero(loud[:-2] & loud[1:-1] & loud[2:])
        begin, end = at + runs[0] * _TEN_MS, at + (runs[-1] + 3) * _TEN_MS
        spans.append((begin / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ))
        pause = round(rng.uniform(*PAUSES_S) * SAMPLE_RATE_HZ)
        parts += [sound * np.sqrt(gain), np.zeros(pause)]
        at += len(sound) + pause
    clean = np.concatenate(parts)
    noise = np.resize(pink(_NOISE_SAMPLES, rng), len(clean))  # it is periodic, so its end fits its beginning
    return (clean + noise * np.sqrt(noise_power)).astype(np.float32), spans


def onsets(model_file: Path, clips: list[Path], snr_db: float, speech: str) -> dict:
    """Return how soon speech is found and given a label, where its onset is dated, and how soon pauses are quiet."""
    sound, spans = laid_into_noise(clips, snr_db, seed=1)
    observed = observe(model_file, sound, speech)
    detected_s, dated_s, quiet_s, first_s = [], [], [], []
    for index, (begin_s, end_s) in enumerate(spans):
        after = next((o for o in observed if o.at_s > begin_s and o.speaking and o.at_s < end_s + QUIET_S), None)
        detected_s.append(after.at_s - begin_s if after else math.inf)
        dated_s.append(after.onset_s - begin_s if after else math.inf)
        next_s = spans[index + 1][0] if index + 1 < len(spans) else len(sound) / SAMPLE_RATE_HZ
        quiet = next((o.at_s for o in observed if o.at_s > end_s and o.label == QUIET and not o.speaking), math.inf)
        quiet_s.append(quiet - end_s if quiet < next_s else math.inf)
        said = (o.at_s for o in observed if begin_s < o.at_s < end_s + QUIET_S and o.change and o.change.label != QUIET)
        first_s.append(next(said, math.inf) - begin_s)
    detected, dated, pause, first = map(np.array, (detected_s, dated_s, quiet_s, first_s))
    inside = sum(end_s + QUIET_S - begin_s + 0.5 for begin_s, end_s in spans)
    noise = [o for o in observed if not any(b - 0.5 < o.at_s < e + QUIET_S for b, e in spans)]
    return {
        "clips": len(clips),
        "snr_db": snr_db,
        "detected_within_300_ms": _share(detected <= FOUND_S),
        "dated_within_300_ms": _share(np.abs(dated) <= FOUND_S),
        "given_a_label": _share(np.isfinite(first)),
        "first_label_within_1_s": _share(first <= FIRST_S),
        "first_label_ms": _percentiles(first),
        "missed": int(np.isinf(detected).sum()),
        "detection_ms": _percentiles(detected),
        "dated_ms": _percentiles(dated),
        "pause_quiet_within_1_s": _share(pause <= QUIET_S),
        "quiet_ms": _percentiles(pause),
        "utterances": _utterances(observed),
        "false_utterances": _utterances(noise),
        "noise_seconds": round(len(sound) / SAMPLE_RATE_HZ - inside, 1),
    }


def _share(hits: np.ndarray) -> float:
    return round(float(hits.mean()), 4)


def _percentiles(seconds: np.ndarray) -> dict[str, int | None]:
    known = seconds[np.isfinite(seconds)]
    return {f"p{p}": round(1_000 * float(np.percentile(known, p))) if len(known) else None for p in (5, 50, 90, 95)}


def held_out(corpus: str, count: int | None) -> list[Path]:
    """Return clips of speakers on whom no setting of the gates was chosen: TESS YAF, RAVDESS actors 21 to 24."""
    if corpus == "TESS":
        paths = sorted((CORPORA / "TESS").glob("YAF_*/*.flac"))
    else:
        paths = [path for actor in RAVDESS_TEST for path in sorted((CORPORA / "RAVDESS" / f"Actor_{actor}").glob("*"))]
    return random.Random(zlib.crc32(corpus.encode())).sample(paths, min(len(paths), count or len(paths)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the sensor's ears on the corpora.")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--speech", nargs="+", default=[str(SPEECH_MODEL)],
                        help=f"speech artifacts, or {PYMICRO_VAD} (the bundled one)")  # fmt: skip
    parser.add_argument("--clips", type=int, default=200, help="clips per speech corpus, 0 for all (200)")
    parser.add_argument("--ambience", type=int, default=0, help="clips per class of ESC-10, 0 for all (0)")
    parser.add_argument("--folds", default=HELD_OUT_FOLD, help="of ESC-10: those that no model given heard (5)")
    parser.add_argument("--snr-db", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path("runs/ears.json"))
    options = parser.parse_args()
    asked.corpora("TESS", "RAVDESS", "ESC-10")
    out = asked.file(options.out)
    manifest = load(options.model)[0].manifest
    found = {
        "model": manifest.model_id,
        "trained_on": [corpus.name for corpus in manifest.provenance.corpora],
        "speech": [Path(speech).name for speech in options.speech],
        "folds": options.folds,
        "ambience": ambience(options.model, options.ambience or None, options.folds, options.speech),
        "onset": {
            corpus: onsets(options.model, held_out(corpus, options.clips or None), options.snr_db, options.speech[0])
            for corpus in ("TESS", "RAVDESS")
        },
    }
    out.write_text(json.dumps(found, indent=1) + "\n")
    _print(found)
    return 0


def _print(found: dict) -> None:
    print(f"{found['model']}, speech by {', '.join(found['speech'])}; trained on {', '.join(found['trained_on'])}")
    row = "{:<16}{:>9}{:>12}{:>11}{:>9}"
    print(row.format("ambience", "seconds", "utterances", "emotions", "unknown"))
    for name, one in [*found["ambience"]["classes"].items(), ("all", found["ambience"]["total"])]:
        print(row.format(name, one["seconds"], int(one["utterances"]), int(one["emotion_events"]),
                         int(one["unknown_events"])))  # fmt: skip
    total = found["ambience"]["total"]
    print(f"{total['hours']} h; 95 % bounds per hour: emotion events {total['emotion_events_per_hour_95_bound']}, "
          f"utterances {total['utterances_per_hour_95_bound']}")  # fmt: skip
    for corpus, one in found["onset"].items():
        print(
            f"{corpus} at {one['snr_db']:g} dB, {one['clips']} clips: detected within 300 ms "
            f"{one['detected_within_300_ms']:.1%} (median {one['detection_ms']['p50']} ms), dated within 300 ms "
            f"{one['dated_within_300_ms']:.1%}, missed {one['missed']}, "
            f"given a label or unknown {one['given_a_label']:.1%}, within 1 s {one['first_label_within_1_s']:.1%} "
            f"(95 %: {one['first_label_ms']['p95']} ms), pauses quiet within 1 s "
            f"{one['pause_quiet_within_1_s']:.1%}, false utterances {one['false_utterances']} "
            f"in {one['noise_seconds']} s of noise"
        )


if __name__ == "__main__":
    asked.answer(main)
