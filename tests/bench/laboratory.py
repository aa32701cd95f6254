"""How the laboratory grows: index, store, memory and what an epoch spends on its input, by the number of clips.

python -m tests.bench.laboratory --clips 10000 25000 100000 --out tests/bench/reports

The clips are a second of noise each, made in a temporary folder, no two alike; of their features and of the nine
variants that training hears, arrays of the right size stand in (to compute a million would take a day, and is timed by
itself). Everything else is the laboratory's own: the index as `train index` makes it, the store, and batches of an
epoch by the recipe of the bundled network. Each step is a process of its own; times are of its CPU, memory is its peak.
Sizes that were measured before stay in the report.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edge.features.mfcc import MfccSpec
from edge.section import load_section
from tests.bench import asked
from tests.bench.growth import power
from tests.support.sounds import ROOT
from train.config import LABELS, TrainConfig
from train.data.clip import Clip
from train.pages.tables import markdown

RATE_HZ = 16_000
CLIPS_PER_VOICE = 100
BATCHES = 40  # of an epoch
SECONDS = 1.0
REPORT = ROOT / "tests" / "bench" / "reports" / "laboratory.json"


def write_clips(folder: Path, count: int) -> None:
    """Write so many WAV files, <label>/<voice>/N.wav."""
    rng = np.random.default_rng(0)
    noise = (3_000 * rng.standard_normal(4 * RATE_HZ)).astype("<i2")
    for number in range(count):
        place = folder / LABELS[number % len(LABELS)] / f"v{number // CLIPS_PER_VOICE:04}"
        place.mkdir(parents=True, exist_ok=True)
        start = int(rng.integers(3 * RATE_HZ))
        samples = noise[start : start + int(SECONDS * RATE_HZ)].copy()
        samples[:2] = divmod(number, 1 << 15)  # no two alike
        with wave.open(str(place / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(samples.tobytes())


def measured(*command: object) -> dict[str, float]:
    """Run a program and return its CPU seconds and peak memory; what it prints last as JSON is among them."""
    process = subprocess.Popen([sys.executable, "-m", *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process.stdout:
        printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"laboratory: {' '.join(map(str, command))} failed")
    last = printed.strip().splitlines()[-1] if printed.strip() else ""
    said = json.loads(last) if last.startswith("{") else {}
    return {"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1_000} | said


def of_size(count: int, folder: Path) -> dict[str, Any]:
    """Return what so many clips take, step by step."""
    write_clips(folder / "clips", count)
    config = folder / "config.yaml"
    text = (ROOT / "config.yaml").read_text()
    config.write_text(text.replace("cache: runs/cache ", f"cache: {folder / 'cache'} "))
    given = ("--config", config)
    found = {"index": measured("train", "index", folder / "clips", "--out", folder / "index", *given)}
    steps = ("features", "epoch")
    found |= {step: measured("tests.bench.laboratory", "--step", step, folder) for step in steps}
    files = [path for path in (folder / "cache").rglob("*") if path.is_file() and path.suffix != ".sqlite"]
    return found | {"store_files": len(files), "store_gb": sum(path.stat().st_size for path in files) / 1e9}


def features(folder: Path) -> dict[str, float]:
    """Fill the store with arrays in the place of features, and return what reading one takes."""
    config, spec, clips = _given(folder)
    cache, variants = _cache(config), _variants(config, spec)
    from train.data.features import clip_frames

    began = time.process_time()
    for number, clip in enumerate(clips):
        cache.of(clip.corpus).get(_key(clip, spec), lambda number=number: _array(number, spec))
        for variant in range(1, config.augmentation.variants):
            variants.frames(clip, variant)
    filled = time.process_time() - began
    rng, began = np.random.default_rng(0), time.process_time()
    for number in rng.integers(len(clips), size=5_000):
        float(clip_frames(clips[number], spec, cache)[0, 0])
    return {"put_us": 1e6 * filled / len(clips) / config.augmentation.variants,
            "get_us": 1e6 * (time.process_time() - began) / 5_000}  # fmt: skip


def epoch(folder: Path) -> dict[str, float]:
    """Prepare a training of all clips and return what preparing takes, and input's share of an epoch's CPU."""
    config, spec, clips = _given(folder)
    from train.data.split import Split
    from train.fitting.batches import Batches
    from train.fitting.fit import logits_of, network_for
    from train.fitting.job import job_of, steps_of
    from train.fitting.objective import compiled
    from train.fitting.prepare import Prepared

    _variants(config, spec)
    split = Split(protocol="bench", fold="0", seed=0, train=list(range(len(clips))), validation=[], test=[])
    job = job_of("causal_cnn", "default", split, config)
    began = time.process_time()
    data = Prepared(clips, split, job.recipe, config, spec, _cache(config), seed=0, network=job.network)
    prepared = time.process_time() - began
    model = network_for(job, job.settings, data.normalization, spec, frames=data.window_frames, labels=config.labels)
    trained = compiled(model, job.recipe, steps=steps_of(split, job.recipe))

    class Some(Batches):
        def __len__(self) -> int:
            return min(BATCHES, super().__len__())

    taken = []
    for number in range(2):  # the first makes the graph
        batches = Some(data, number, job.recipe.batch_size, contrast=bool(job.recipe.contrast))
        began = time.process_time()
        trained.fit(batches, epochs=1, shuffle=False, verbose=0)
        taken.append((batches.seconds, time.process_time() - began))
    logits_of(model, next(data.parts("train")))
    drawing, whole = taken[1]
    return {"prepare_s": prepared, "input_share": drawing / whole, "input_ms_per_clip": 1e3 * drawing / BATCHES / 64}


def _given(folder: Path) -> tuple[TrainConfig, MfccSpec, list[Clip]]:
    from train.data import index

    config = load_section(folder / "config.yaml", "train", TrainConfig)
    return config, load_section(folder / "config.yaml", "features", MfccSpec), index.scan(
        [folder / "index" / "index.csv"], config
    ).clips  # fmt: skip


def _cache(config: TrainConfig):
    from train.data.features import Cache

    return Cache(config.cache)


def _key(clip: Clip, spec: MfccSpec) -> str:
    from train.data.features import clip_key

    return clip_key(clip, spec)


def _variants(config: TrainConfig, spec: MfccSpec):
    """Return the variants of training, with arrays in the place of computed ones."""
    from train.augmentation.augment import Variants

    Variants._made = lambda self, clip, variant: _array(int(clip.sha256[:12], 16) + variant, spec)
    return Variants(config.augmentation, spec, _cache(config), trim=True)


def _array(seed: int, spec: MfccSpec) -> np.ndarray:
    shape = (round(SECONDS * spec.frames_per_s) - 1, spec.coefficients)
    return np.random.Generator(np.random.SFC64(seed)).standard_normal(shape, np.float32)


FIGURES = {  # of a row: what, where it is found, digits
    "index, s of CPU": ("index", "cpu_s", 1),
    "index, MB": ("index", "peak_mb", 0),
    "an array written, us": ("features", "put_us", 0),
    "an array read, us": ("features", "get_us", 0),
    "training prepared, s": ("epoch", "prepare_s", 1),
    "training, MB": ("epoch", "peak_mb", 0),
    "input, % of an epoch": ("epoch", "input_share", 1),
}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the figures by number of clips, and how they grow: the power of the number of clips."""
    rows = []
    for count, one in found.items():
        cells = [f"{_figure(one, name):.{digits}f}" for name, (_, _, digits) in FIGURES.items()]
        rows.append([f"{int(count):,}", str(one["store_files"]), f"{one['store_gb']:.2f}", *cells])
    for (few, one), (many, other) in pairwise(found.items()):
        grown = [power(int(few), int(many), _figure(one, name), _figure(other, name)) for name in FIGURES]
        rows.append([f"{int(few):,} to {int(many):,}", "", "", *grown])
    return markdown(["clips", "files of the store", "GB", *FIGURES], rows)


def _figure(one: dict[str, Any], name: str) -> float:
    step, figure, _ = FIGURES[name]
    return one[step][figure] * (100 if figure.endswith("share") else 1)


def picture(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw seconds and memory by number of clips, both on logarithmic scales, beside growth in proportion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = [int(count) for count in found]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for place, names, unit in (
        (axes[0], ("index, s of CPU", "training prepared, s"), "s of CPU"),
        (axes[1], ("index, MB", "training, MB"), "MB at most"),
    ):
        for name in names:
            values = [_figure(one, name) for one in found.values()]
            (line,) = place.loglog(counts, values, marker="o", label=name)
            straight = [values[0] * count / counts[0] for count in counts]
            place.loglog(counts, straight, linestyle=":", color=line.get_color(), label="in proportion")
        place.set(xlabel="clips", ylabel=unit)
        place.legend()
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure how the laboratory grows.")
    parser.add_argument("--clips", type=asked.number, nargs="+", default=[10_000, 25_000, 100_000])
    parser.add_argument("--out", type=Path, default=REPORT.parent)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        step, folder = options.step
        print(json.dumps({"features": features, "epoch": epoch}[step](Path(folder))))
        return 0
    report = asked.folder(options.out) / REPORT.name
    found = json.loads(report.read_text()) if report.exists() else {}
    for count in sorted(options.clips):
        with tempfile.TemporaryDirectory(prefix="roomtone-laboratory-") as folder:
            found[str(count)] = of_size(count, Path(folder))
        found = {size: found[size] for size in sorted(found, key=int)}
        report.write_text(json.dumps(found, indent=1) + "\n")
        picture(found, report.with_suffix(".png"))
        print(table(found), flush=True)
    return 0


if __name__ == "__main__":
    asked.answer(main)
