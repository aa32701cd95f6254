"""The index: a table of clips, made from folders of known corpora, a folder per label, or anyone's CSV."""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path

import msgspec
import soundfile

from edge.errors import InputError
from train.config import TrainConfig
from train.data import corpora

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf"}


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording: what is said by whom, and how it feels."""

    path: str
    corpus: str
    speaker: str
    label: str
    text: str = ""
    duration_s: float = 0.0
    rate_hz: int = 0
    sha256: str = ""


COLUMNS = Clip.__struct_fields__
OWN_INDEX = "index.csv"  # of a corpus whose file names do not say everything


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Clips that can be used, and a line for each file that cannot."""

    clips: list[Clip]
    left_out: list[str]


def scan(data: Sequence[str | Path], config: TrainConfig, *, labelled: bool = True) -> Index:
    """Return the clips of folders and CSV files. Unreadable files are named in `left_out`.

    A folder with an index.csv of its own is read by that. labelled: False takes tables without labels, too; their
    clips have "" for one.

    Raises InputError where a folder or table is missing, has no sound, or has names that fit no scheme.
    """
    clips, left_out = [], []
    for given in data:
        path = Path(given)
        if path.is_dir():
            own = path / OWN_INDEX
            listed = _labelled(own, config, labelled=labelled) if own.is_file() else _folder(path, config)
            found = _checked(path, listed)
        elif path.exists():
            found = _checked(path, _labelled(path, config, labelled=labelled))
        else:
            raise InputError(f"{path}: no such folder or table")
        clips += found.clips
        left_out += found.left_out
    return Index(clips=clips, left_out=left_out)


def scan_table(path: str | Path, config: TrainConfig, *, side: str | None = None) -> Index:
    """Return the clips of a CSV for evaluation: `speaker` may be absent, and unmapped labels stay as they are.

    side: only rows whose column `side` says so. Raises InputError as `scan` does.
    """

    def label(where: object, word: str) -> str:
        try:
            return config.label(word) or word
        except ValueError:
            return word

    if not Path(path).is_file():
        raise InputError(f"{path}: no such table (a CSV with path,label[,speaker,corpus])")
    return _checked(Path(path), _table(Path(path), label, needed={"path", "label"}, side=side))


def _checked(source: Path, listed: Iterable[Clip]) -> Index:
    clips, left_out = [], []
    for clip in listed:
        try:
            clips.append(_measured(clip))
        except InputError as error:
            left_out.append(str(error))
    if not clips:
        first = f" ({left_out[-1]})" if left_out else ""
        raise InputError(f"{source}: no readable sound with a label{first}")
    return Index(clips=clips, left_out=left_out)


def write(path: str | Path, clips: Iterable[Clip]) -> None:
    """Write the index as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows([getattr(clip, column) for column in COLUMNS] for clip in clips)


def counts(clips: Iterable[Clip]) -> str:
    """Return clips per corpus and label in one line."""
    per = Counter((clip.corpus, clip.label) for clip in clips)
    corpora_seen = dict.fromkeys(corpus for corpus, _ in sorted(per))
    parts = []
    for corpus in corpora_seen:
        labels = ", ".join(f"{label} {count}" for (name, label), count in sorted(per.items()) if name == corpus)
        parts.append(f"{corpus}: {labels}")
    return "; ".join(parts)


def _folder(folder: Path, config: TrainConfig) -> list[Clip]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{folder}: no sound files in it")
    clips, unknown = [], []
    for path in files:
        named = corpora.parse(path.as_posix()) or _by_folder(path, folder, config)
        if named is None:
            unknown.append(path)
            continue
        label = _label(path, named.word, config)
        if label is not None:
            clips.append(Clip(path=str(path), corpus=named.corpus, speaker=named.speaker, label=label, text=named.text))
    if unknown:
        raise InputError(
            f"{folder}: {len(unknown)} of {len(files)} file names fit no known corpus and stand in no folder named "
            f"after a label (first: {unknown[0]}); give a CSV with path,label,speaker"
        )
    return clips


def _labelled(path: Path, config: TrainConfig, *, labelled: bool) -> list[Clip]:
    if labelled:
        return _table(path, lambda where, word: _label(where, word, config))
    needed = frozenset({"path", "speaker"})
    return _table(path, lambda where, word: _label(where, word, config) if word else "", needed=needed)


def _by_folder(path: Path, root: Path, config: TrainConfig) -> corpora.Named | None:
    """A folder per label: <label>/clip.wav, or <label>/<speaker>/clip.wav."""
    inside = path.relative_to(root.parent).parts[:-1]
    for depth, name in enumerate(inside):
        if name.lower() in config.words or name.lower() in config.labels:
            speaker = "/".join(inside[depth + 1 :])
            return corpora.Named(corpus=root.name, speaker=speaker, word=name, text="")
    return None


def _table(
    path: Path,
    label_of: Callable[[object, str], str | None],
    *,
    needed: Set[str] = frozenset({"path", "label", "speaker"}),
    side: str | None = None,
) -> list[Clip]:
    clips = []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            columns = set(table.fieldnames or ())
            if missing := (needed | ({"side"} if side else set())) - columns:
                raise InputError(
                    f"{path}: column {', '.join(sorted(missing))} is missing (path,label,speaker[,corpus])"
                )
            for row in table:
                label = label_of(f"{path}:{table.line_num}", row.get("label") or "")
                if label is None or (side and row["side"] != side):
                    continue
                sound = Path(row["path"] or "")
                if not sound.is_absolute() and not sound.exists():
                    sound = path.parent / sound
                corpus, speaker, text = row.get("corpus") or path.stem, row.get("speaker") or "", row.get("text") or ""
                clips.append(Clip(path=str(sound), corpus=corpus, speaker=speaker, label=label, text=text))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table in UTF-8 ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return clips


def _label(where: object, word: str, config: TrainConfig) -> str | None:
    try:
        return config.label(word)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _measured(clip: Clip) -> Clip:
    """Return the clip with its duration, rate and hash, read from the file. Raises InputError."""
    try:
        with open(clip.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        header = soundfile.info(clip.path)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{clip.path}: not a readable sound file ({error.error_string.rstrip('.')}); left out"
        ) from error
    except OSError as error:
        raise InputError(f"{clip.path}: cannot be read ({error.strerror}); left out") from error
    if not header.frames:
        raise InputError(f"{clip.path}: the recording is empty; left out")
    return msgspec.structs.replace(clip, duration_s=round(header.duration, 3), rate_hz=header.samplerate, sha256=digest)
