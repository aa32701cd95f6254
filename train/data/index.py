"""The index: a table of clips, made from folders of known corpora, a folder per label, or anyone's CSV."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path

import msgspec

from edge.errors import InputError, nearest, printable
from train.config import TrainConfig
from train.data import corpora, table
from train.data.clip import LEAST_WORDS, Clip, LeftOut, counted, left_out, reasons, words_of
from train.data.folders import named_by_folder, recordings
from train.data.labels import JudgedLabels, Labels
from train.data.measure import Tell, measured
from train.data.twins import once, said


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Clips that can be used, each sound once; what cannot, with its reason; paths that hold the same sound; and what
    is there only in part."""

    clips: list[Clip]
    left_out: list[LeftOut] = []
    twins: list[list[str]] = []
    in_part: list[LeftOut] = []

    def remarks(self, config: TrainConfig) -> list[str]:
        """Return, in a line each, what whoever trains on these clips has to know."""
        lines = reasons(self.left_out) + reasons(self.in_part, "heard in part")
        if self.twins:
            lines.append(said(self.twins))
        nameless = Counter(clip.corpus for clip in self.clips if not clip.speaker)
        left = ("only the protocol random remains, and its" if len(words_of(self.clips)) < LEAST_WORDS
                else "only the protocols random and word remain, and their")  # fmt: skip
        for corpus, count in nameless.items():
            lines.append(
                f"{corpus}: {counted(count, 'clip')} without a speaker, so nothing can be tested on voices that did "
                f"not train: {left} figures are far too good; put them in <label>/<speaker>/ or <speaker>/<label>/, or "
                "give a CSV with path,label,speaker"
            )
        if len(labels := {clip.label for clip in self.clips}) == 1:
            lines.append(f"every clip is {min(labels)}: there is nothing to tell apart; training needs two labels")
        if lacking := [label for label in config.labels if label not in labels]:
            lines.append(
                f"no clip is {' or '.join(lacking)}: a network cannot learn what it never hears; leave "
                f"{'them' if len(lacking) > 1 else 'it'} out of train.labels, or add clips"
            )
        return lines


def scan(
    data: Sequence[str | Path],
    config: TrainConfig,
    tell: Tell = lambda done, total, note: None,
    *,
    labelled: bool = True,
) -> Index:
    """Return the clips of folders and CSV files, each sound once, with what was left out.

    A folder with an index.csv (or votes.csv) of its own is read by that. labelled: False takes tables without labels,
    too; their clips have "" for one.

    Raises InputError where a folder or table is missing, has no sound, or has names that fit no scheme.
    """
    needed = table.NEEDED if labelled else {"path"}
    words = {*config.words, *config.labels}
    return _scanned(data, config, lambda: Labels(config, labelled), tell, needed=needed, words=words)


def scan_to_judge(
    data: Sequence[str | Path], config: TrainConfig, labels: Sequence[str], *, side: str | None = None
) -> Index:
    """Return the clips of folders and CSV files for a model that knows `labels`: words that are none of these, and that
    train.words does not lead to another, stay as they are.

    side: only rows whose column `side` says so. Raises InputError as `scan` does.
    """
    words = {*config.words, *config.labels, *labels}
    return _scanned(
        data, config, lambda: JudgedLabels(config, labels), lambda done, total, note: None, words=words, side=side
    )


def table_of(data: str | Path) -> Path | None:
    """Return the table that says what the clips of a folder or a table are; None where names and folders do."""
    path = Path(data)
    if not path.is_dir():
        return path
    return next((path / name for name in table.OWN_INDEXES if (path / name).is_file()), None)


def _scanned(
    data: Sequence[str | Path],
    config: TrainConfig,
    labels_of: Callable[[], Labels],
    tell: Tell,
    *,
    words: Set[str],
    needed: Set[str] = table.NEEDED,
    side: str | None = None,
) -> Index:
    listed, passed = [], []
    for path in map(Path, data):
        if not path.exists():
            raise InputError(f"{path}: no such folder or table (a CSV with path,label[,speaker,corpus])")
        labels = labels_of()
        if own := table_of(path):
            clips, other = _table(own, labels, needed=needed, side=side), []
        elif side:
            raise InputError(f"{path}: a folder has no sides: --side is for a run's split.csv")
        else:
            clips, other = _folder(path, labels, words)
        listed.append((path, clips))
        passed += other
    return _checked(listed, passed, config, tell)


def _checked(listed: list[tuple[Path, list[Clip]]], passed: list[LeftOut], config: TrainConfig, tell: Tell) -> Index:
    """Measure the clips of each source and keep each sound once. Raises InputError where a source has none."""
    paths = [clip.path for _, clips in listed for clip in clips]
    found = measured(paths, config.cache, tell)
    kept, in_part = [], []
    for source, clips in listed:
        whole, bad = [], []
        for clip in clips:
            one = next(found)
            if isinstance(one, InputError):
                bad.append(left_out(clip.path, one))
                continue
            sha256, measures = one
            if measures.remark:
                in_part.append(left_out(clip.path, InputError(measures.remark)))
            whole.append(msgspec.structs.replace(
                clip, duration_s=measures.duration_s, rate_hz=measures.rate_hz, sha256=sha256,
                sound_sha256=measures.sound_sha256,
            ))  # fmt: skip
        if not whole:
            reason = next(iter(reasons(bad)), "no rows").removeprefix("left out: ")
            raise InputError(f"{source}: no readable sound with a label in it: {reason}")
        kept += whole
        passed = passed + bad
    distinct = once(kept)
    return Index(clips=distinct.clips, left_out=passed + distinct.left_out, twins=distinct.twins, in_part=in_part)


def counts(clips: Iterable[Clip]) -> str:
    """Return clips per corpus and label in one line."""
    per = Counter((clip.corpus, clip.label) for clip in clips)
    corpora_seen = dict.fromkeys(corpus for corpus, _ in sorted(per))
    parts = []
    for corpus in corpora_seen:
        labels = ", ".join(f"{label} {count}" for (name, label), count in sorted(per.items()) if name == corpus)
        parts.append(f"{corpus}: {labels}")
    return "; ".join(parts)


def _table(
    path: Path, labels: Labels, *, needed: Set[str] = table.NEEDED, side: str | None = None
) -> list[Clip]:
    clips = [_also_by_name(clip) for clip in table.read(path, labels.of, needed=needed, side=side)]
    labels.require_known()
    return clips


def _also_by_name(clip: Clip) -> Clip:
    """Return the clip of a table with what its file's name says besides."""
    named = corpora.parse(Path(clip.path).as_posix())
    if named is None or named.corpus != clip.corpus:
        return clip
    return msgspec.structs.replace(
        clip, sex=clip.sex or named.sex, age=clip.age or named.age, intensity=clip.intensity or named.intensity
    )


def _folder(folder: Path, labels: Labels, words: Set[str]) -> tuple[list[Clip], list[LeftOut]]:
    found = recordings(folder)
    passed = [_of_kind(other) for other in found.left_out]
    named, nameless = {}, []
    for path in found.files:
        if kind := corpora.other_kind(path.as_posix()):
            passed.append(LeftOut(path=str(path), why=f"{kind}, not its speech"))
        elif one := corpora.parse(path.as_posix()):
            named[path] = one
        else:
            nameless.append(path)
    named |= named_by_folder(nameless, folder, words)
    if unknown := [path for path in nameless if path not in named]:
        raise InputError(
            f"{folder}: {len(unknown)} of {len(found.files)} file names fit no known corpus and stand in "
            f"no folder named after a label (first: {unknown[0]}){_misspelt(unknown, folder, words)}; name your labels "
            "in train.labels and train.words of the configuration, or give a CSV with path,label,speaker"
        )
    clips = []
    for path in sorted(named):
        one = named[path]
        label = labels.of(path, one.word)
        if label is None:
            passed.append(LeftOut(path=str(path), why=f"{one.word}, which train.words leaves out"))
        else:
            clips.append(Clip(
                path=str(path), corpus=one.corpus, speaker=one.speaker, label=label, text=one.text, sex=one.sex,
                age=one.age, intensity=one.intensity,
            ))  # fmt: skip
    labels.require_known()
    if not clips:
        reason = f": {'; '.join(line.removeprefix('left out: ') for line in reasons(passed))}" if passed else ""
        raise InputError(f"{folder}: no sound files in it{' that can be used' if passed else ''}{reason}")
    return clips, passed


def _misspelt(unknown: Iterable[Path], folder: Path, words: Iterable[str]) -> str:
    """Return in words which folder around these files is nearly called as a label is; empty where none is."""
    for name in dict.fromkeys(part for path in unknown for part in path.relative_to(folder).parts[:-1]):
        if like := nearest(name.strip().lower(), words):
            return f": folder {printable(name)}: {like}"
    return ""


def _of_kind(other: LeftOut) -> LeftOut:
    """Return a file of a format that cannot be read, as what it is of a known corpus where its name says so."""
    kind = corpora.other_kind(Path(other.path).as_posix())
    return LeftOut(path=other.path, why=f"{kind}, not its speech") if kind else other
