"""Whom the sensor hears, and what fools it, with silero-vad beside it on the same sounds: `make ears-everybody`.

Heard: clips of voices that no training hears (config.yaml's speech_test, and ASED), one by one, as they are, in noise,
from 3 m away, and through narrow bands, with a second of nothing after them. A clip is heard where the sensor says
anything of it (a label, or `unknown`), and where silero has 0.25 s over .5. Onsets: the same clips in pink noise at
20 dB, with pauses. Not fooled: recordings kept out of the training (train.augmentation.sounds), joined by cross-fades.

What is measured is kept, line by line (--work), and not measured again; a figure goes by the hash of the gate and its
settings.
Writes everybody.json, and the table of it as everybody.md.
"""

import argparse
import hashlib
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from scipy.signal import fftconvolve

from edge.config import Gate
from edge.errors import RoomtoneError
from edge.hearing.gate import load_speech_gate
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET, UNKNOWN
from edge.model.artifact import DEFAULT_MODEL, SPEECH_MODEL, load
from edge.section import load_section
from edge.sound.blocks import SAMPLE_RATE_HZ, timed_blocks
from edge.sound.recording import load_recording
from tests.bench.ears import joined, laid_into_noise, poisson_upper
from tests.bench.everybody_table import table
from tests.bench.silero import SETTINGS, Silero, SileroGate
from tests.support.sounds import CORPORA, ROOT
from train.augmentation import channel
from train.augmentation.augment import sounds_in
from train.augmentation.rooms import ROOMS, impulse_response, rms
from train.augmentation.sounds import judging
from train.config import TrainConfig
from train.data import corpora
from train.data.clip import Clip
from train.data.index import scan
from train.study.protocols import splits

DATA = ("TESS", "RAVDESS", "CREMA-D", "nEMO", "voices")
SOUNDS = ("ESC-10", "ESC-50", "human-sounds", "music")
HUMAN = frozenset({"laughing", "coughing", "breathing", "snoring", "sneezing", "baby_cry", "person_sneeze"})
NOISE_DB, ONSET_SNR_DB = 10.0, 20.0
PARTS = ("heard", "onset", "fooled")
FOUND_S = 0.3
GRACE_S = 0.5
_CHILD = re.compile(r"age (\d+)")
_GROWN_UP = 16

Conditions = dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]


def voices(count: int) -> dict[str, list[Clip]]:
    """Return clips of each set of voices that no training hears, always the same ones."""
    config = _config()
    clips = scan([CORPORA / name for name in DATA], config, labelled=False).clips
    held = [clips[index] for index in splits("speech", clips, config)[0].test]
    held += [clip for name in corpora.NEVER_TRAINED for clip in scan([CORPORA / name], config).clips]
    sets: dict[str, list[Clip]] = {}
    for clip in held:
        age = _CHILD.search(clip.text)
        name = clip.corpus if not age else "children" if int(age[1]) < _GROWN_UP else "adults"
        sets.setdefault(name, []).append(clip)
    return {name: _some(of, count, name) for name, of in sorted(sets.items())}


def conditions() -> Conditions:
    """Return what happens to a clip before it is heard, by name."""
    files = sounds_in(str(CORPORA / "ESC-10"), _config().cache).files
    noise = [load_recording(path) for path in files if judging(path)]
    noise = [sound for sound in noise if rms(sound) > 1e-4]
    kept = [CORPORA / "rooms" / f"{name}.flac" for name in _config().protocols.speech_test_rooms]
    measured = channel.measured_responses(kept)
    simulated = impulse_response(*ROOMS["3 m"])

    def noisy(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        recorded = np.resize(noise[rng.integers(len(noise))], len(sound))
        loud = np.sqrt(np.mean(np.sort(sound.astype(np.float64) ** 2)[-len(sound) // 2 :]))
        return sound + recorded * (loud / max(rms(recorded), 1e-6) * 10 ** (-NOISE_DB / 20))

    def in_room(response: np.ndarray) -> Callable:
        return lambda sound, rng: fftconvolve(sound, response) * (0.35 / np.sqrt(np.sum(response**2)))

    def band(highest_hz: float) -> Callable:
        return lambda sound, rng: channel.banded(sound, highest_hz)

    return {
        "clean": lambda sound, rng: sound,
        "10 dB": noisy,
        "3 m, measured": lambda sound, rng: in_room(measured[rng.integers(len(measured))])(sound, rng),
        "3 m, simulated": in_room(simulated),
        **{f"{highest_hz / 1000:g} kHz": band(highest_hz) for highest_hz in (3_400.0, 4_000.0, 5_500.0)},
    }


class Sensor:
    """The sensor's own code with a gate."""

    def __init__(self, speech: Path) -> None:
        self._artifact, self._model = load(DEFAULT_MODEL)
        self._speech = speech

    def observed(self, sound: np.ndarray, gate=None) -> Iterator:
        """Yield what it makes of a sound, block by block."""
        manifest = self._artifact.manifest
        known = isinstance(gate, SileroGate)
        own = gate or load_speech_gate(manifest.features, self._speech)
        pipeline = Pipeline(self._model, manifest, gate=SETTINGS if known else None, speech_gate=own)
        for number, block in enumerate(timed_blocks([sound.astype(np.float32)], started_at=0.0)):
            if known:
                gate.at = number
            yield pipeline.process(block)

    def hears(self, sound: np.ndarray) -> bool:
        """Return whether it says anything of a sound: a label, or `unknown`."""
        return any(o.change and o.change.label != QUIET for o in self.observed(sound))


def heard(clips: list[Clip], change: Callable, hears: Callable[[np.ndarray], bool]) -> float:
    """Return the share of clips that are heard."""
    found = []
    for clip in clips:
        rng = np.random.default_rng(zlib.crc32(Path(clip.path).name.encode()))
        sound = np.clip(change(load_recording(clip.path), rng), -1, 1).astype(np.float32)
        found.append(hears(np.pad(sound, (0, SAMPLE_RATE_HZ))))
    return round(float(np.mean(found)), 4)


def onsets(clips: list[Clip], speaking: Callable[[np.ndarray], np.ndarray]) -> dict:
    """Return the share of onsets found in time, and at all: `speaking` gives when somebody began to speak, in s."""
    sound, spans = laid_into_noise([Path(clip.path) for clip in clips], ONSET_SNR_DB, seed=1)
    at = speaking(sound)
    delays = [next((begin - first for begin in at if first - GRACE_S < begin < last), np.inf) for first, last in spans]
    known = [delay for delay in delays if np.isfinite(delay)]
    return {
        "clips": len(clips),
        "within_300_ms": round(float(np.mean(np.array(delays) <= FOUND_S)), 4),
        "found": round(len(known) / len(delays), 4),
        "median_ms": round(1000 * float(np.median(known))) if known else None,
    }


def fooled(files: list[Path], sensor: Sensor, gate: SileroGate | None, sound: np.ndarray) -> dict:
    """Return what the sensor takes for speech in sounds that are none."""
    observed = list(sensor.observed(sound, gate))
    labels = [o.change.label for o in observed if o.change and o.change.label != QUIET]
    before = [False, *(o.speaking for o in observed)]
    return {
        "emotion_events": sum(label != UNKNOWN for label in labels),
        "unknown_events": labels.count(UNKNOWN),
        "segments": sum(o.speaking and not spoke for spoke, o in zip(before, observed, strict=False)),
        "segment_seconds": round(0.08 * sum(o.speaking for o in observed), 1),
    }


def sounds() -> dict[str, dict[str, list[Path]]]:
    """Return the recordings that are kept for judging: human sounds, music and all others, by class."""
    found: dict[str, dict[str, list[Path]]] = {"other sounds": {}, "human sounds": {}, "music": {}}
    for folder in SOUNDS:
        for path in sounds_in(str(CORPORA / folder), _config().cache).files:
            if judging(path):
                human = folder == "human-sounds" or path.parent.name in HUMAN
                kind = "music" if folder == "music" else "human sounds" if human else "other sounds"
                found[kind].setdefault(f"{folder}/{path.parent.name}", []).append(path)
    return found


class Notes:
    """Figures by what was measured, a line each, so that a run that was stopped goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._known = dict(json.loads(line) for line in lines)

    def get(self, measure: Callable[[], object], *key: object):
        name = " / ".join(map(str, key))
        if name not in self._known:
            self._known[name] = measure()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a") as file:
                file.write(json.dumps([name, self._known[name]]) + "\n")
        return self._known[name]


def measured(sensor: Sensor, hash_: str, notes: Notes, count: int, parts: list[str]) -> dict:
    """Return all figures; those of silero are the same whatever the gate."""
    silero, found = Silero(), {"heard": {}, "onset": {}, "not_fooled": {}}
    by = {hash_: ("sensor", sensor.hears), "silero": ("silero", silero.hears)}
    sets, changes = voices(count), conditions()
    for name, clips in sets.items():
        found["heard"][name] = {"clips": len(clips)}
        for condition, change in changes.items() if "heard" in parts else ():
            found["heard"][name][condition] = {
                title: notes.get(partial(heard, clips, change, hears), key, "heard", name, condition, len(clips))
                for key, (title, hears) in by.items()
            }
            print(name, condition, found["heard"][name][condition], flush=True)

    def sensor_onsets(sound: np.ndarray) -> list[float]:
        spoken = [(o.at_s, o.speaking) for o in sensor.observed(sound)]
        return [at for (at, now), (_, before) in zip(spoken[1:], spoken, strict=False) if now and not before]

    def silero_onsets(sound: np.ndarray) -> list[float]:
        over = np.array(list(silero.probabilities(sound))) > 0.5
        return [(at + 2) * silero.piece_s for at in np.flatnonzero(~over[:-1] & over[1:])]

    for name, clips in sets.items() if "onset" in parts else ():
        found["onset"][name] = {
            title: notes.get(partial(onsets, clips, how), key, "onset", name, len(clips))
            for key, title, how in ((hash_, "sensor", sensor_onsets), ("silero", "silero", silero_onsets))
        }
        print(name, found["onset"][name], flush=True)
    for kind, classes in sounds().items() if "fooled" in parts else ():
        for name, files in classes.items():
            found["not_fooled"].setdefault(kind, {})[name] = _class(name, files, sensor, hash_, silero, notes)
            print(kind, name, found["not_fooled"][kind][name], flush=True)
    found["totals"] = {kind: _total(classes) for kind, classes in found["not_fooled"].items()}
    return found


def _class(name: str, files: list[Path], sensor: Sensor, hash_: str, silero: Silero, notes: Notes) -> dict:
    sound = joined([load_recording(path) for path in files])
    one = {"seconds": round(len(sound) / SAMPLE_RATE_HZ, 1)}
    one["sensor"] = notes.get(lambda: fooled(files, sensor, None, sound), hash_, "fooled", name)

    def by_silero() -> dict:
        probabilities = np.array(list(silero.probabilities(sound)))
        inside = fooled(files, sensor, SileroGate(probabilities, silero.piece_s), sound)
        return inside | {"silero_segments": silero.segments(probabilities)}

    one["silero"] = notes.get(by_silero, "silero", "fooled", name)
    return one


def _total(classes: dict[str, dict]) -> dict:
    hours = sum(one["seconds"] for one in classes.values()) / 3600
    total: dict = {"hours": round(hours, 3)}
    for who in ("sensor", "silero"):
        sums = {key: sum(one[who][key] for one in classes.values()) for key in next(iter(classes.values()))[who]}
        events = sums["emotion_events"]
        sums |= {"emotion_events_per_hour": round(events / hours, 1)}
        total[who] = sums | {"per_hour_95_bound": round(poisson_upper(events) / hours, 1)}
    return total


def _config() -> TrainConfig:
    return load_section(ROOT / "config.yaml", "train", TrainConfig)


def _some(clips: list[Clip], count: int, name: str) -> list[Clip]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [clips[index] for index in sorted(rng.permutation(len(clips))[:count])]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure whom the sensor hears and what fools it, beside silero-vad.")
    parser.add_argument("--speech", type=Path, default=SPEECH_MODEL, help="an artifact; default: the bundled one")
    parser.add_argument("--clips", type=int, default=50, help="per set of voices (50)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--work", type=Path, default=Path("runs/ears-everybody.jsonl"), help="what is measured already")
    parser.add_argument("--out", type=Path, default=Path("runs/ears-everybody"), help="folder of the report")
    options = parser.parse_args()
    try:
        settings = msgspec.json.encode(Gate())
        hash_ = hashlib.sha256(options.speech.read_bytes() + settings).hexdigest()[:12]
        name = load(options.speech)[0].manifest.model_id
        found = measured(Sensor(options.speech), hash_, Notes(options.work), options.clips, options.parts)
    except (RoomtoneError, OSError) as error:
        print(f"ears: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 66)
    if set(options.parts) == set(PARTS):
        found = {"gate": name, **found}
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "everybody.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "everybody.md").write_text(table(found))
        print(table(found))
    else:
        print(json.dumps(found["totals"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
