"""What is in a corpus, and what is wrong with it: one page beside the table of clips."""

import base64
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np

from edge.errors import InputError, printable
from edge.features.mfcc import MfccSpec, mfcc
from edge.files import write_atomically
from edge.sound.recording import load_recording
from train.data.clip import Clip, counted
from train.data.index import Index
from train.data.measure import measured
from train.pages import pictures

SILENT_DBFS = -60.0  # a clip whose loudest 20 ms are below this
CLIPPED_SHARE = 1e-3  # a clip of which more than this stands at full scale


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """A corpus in figures; files are named by path."""

    clips: int
    hours: float
    labels: dict[str, dict[str, int]]
    speakers: dict[str, dict[str, int]]
    durations_s: dict[str, list[float]]
    rates_hz: dict[str, int]
    single: list[str]
    unreadable: list[str]
    silent: list[str]
    clipped: list[str]
    duplicates: list[list[str]]


def examine(index: Index, cache: str | Path) -> Findings:
    """Return what an index holds; its recordings' levels are in the cache since it was made."""
    silent, clipped = [], []
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    speakers: dict[str, Counter[str]] = defaultdict(Counter)
    durations: dict[str, list[float]] = defaultdict(list)
    for clip, found in zip(index.clips, measured([clip.path for clip in index.clips], cache), strict=True):
        labels[clip.corpus][clip.label] += 1
        speakers[clip.corpus][clip.speaker or "unknown"] += 1
        durations[clip.label].append(clip.duration_s)
        if isinstance(found, InputError):
            raise found  # it was readable a moment ago
        if found[1].loudest_dbfs < SILENT_DBFS:
            silent.append(printable(clip.path))
        if found[1].clipped_share > CLIPPED_SHARE:
            clipped.append(printable(clip.path))
    return Findings(
        clips=len(index.clips),
        hours=round(sum(clip.duration_s for clip in index.clips) / 3_600, 3),
        labels={corpus: dict(sorted(found.items())) for corpus, found in labels.items()},
        speakers={corpus: dict(sorted(found.items())) for corpus, found in speakers.items()},
        durations_s={label: _range(found) for label, found in sorted(durations.items())},
        rates_hz={str(rate): count for rate, count in Counter(clip.rate_hz for clip in index.clips).items()},
        single=[f"{label} of {corpus}" for corpus in labels for label, count in labels[corpus].items() if count == 1],
        unreadable=[str(one) for one in index.left_out],
        silent=silent,
        clipped=clipped,
        duplicates=[[printable(path) for path in paths] for paths in index.twins],
    )


def _range(durations_s: list[float]) -> list[float]:
    """Return the shortest, the median and the longest."""
    return np.percentile(durations_s, [0, 50, 100]).round(2).tolist()


def write(folder: Path, findings: Findings, clips: list[Clip], spec: MfccSpec) -> Path:
    """Write report.json and report.html with a picture per label; return the page's path."""
    first = {clip.label: clip for clip in reversed(clips)}
    made = {}
    for label, clip in sorted(first.items()):
        samples = load_recording(clip.path)
        made[label] = pictures.sound(f"{label}: {printable(Path(clip.path).name)}", samples, mfcc(samples, spec), spec)
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(findings), indent=1))
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page: dict[str, Any] = msgspec.to_builtins(findings)
    images = {label: base64.b64encode(content).decode() for label, content in made.items()}
    size = counted(findings.clips, "clip")
    html = environment.get_template("index_report.html.j2").render(**page, size=size, pictures=images)
    write_atomically(folder / "report.html", html.encode())
    return folder / "report.html"
