"""What in a folder is a recording, and what the folders around it say: the one scan for corpora and for noise."""

import os
import shlex
from collections import deque
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from edge.errors import InputError, printable
from train.data.clip import LeftOut
from train.data.corpora import Named

SUFFIXES = {
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".w64", ".rf64", ".nist", ".sph", ".voc", ".raw",
}  # fmt: skip
# Sound that no library here decodes.
_FOREIGN = {
    ".m4a", ".m4b", ".mp4", ".m4v", ".aac", ".webm", ".wma", ".3gp", ".amr", ".mka", ".mkv", ".mov", ".avi", ".wmv",
    ".ac3", ".ape", ".wv", ".weba", ".flv", ".ra",
}  # fmt: skip
# What systems leave behind beside what people put there; whatever begins with a dot, too (._x, .ipynb_checkpoints).
_LITTER = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
# Folders that say how a corpus was dealt, not who speaks.
_SIDES = {"train", "training", "valid", "validation", "val", "dev", "eval", "test", "testing"}


class Found(NamedTuple):
    """Recordings by their names, in order, and what was passed over."""

    files: list[Path]
    left_out: list[LeftOut]


def recordings(folder: Path) -> Found:
    """Return what is a recording anywhere in a folder. Links are followed, each folder once; litter is ignored."""
    files, left_out = [], []
    links = deque([folder])
    seen: set[tuple[int, int]] = set()
    # Links come last: a folder goes by its own place where it has one here.
    while links:
        for place, folders, names in os.walk(links.popleft(), onerror=lambda error: left_out.append(_closed(error))):
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            inside = sorted(name for name in folders if not _is_litter(name))
            links.extend(Path(place, name) for name in inside if os.path.islink(Path(place, name)))
            folders[:] = [name for name in inside if not os.path.islink(Path(place, name))]
            for path in (Path(place, name) for name in names if not _is_litter(name)):
                suffix = path.suffix.lower()
                if suffix in _FOREIGN:
                    kind = suffix[1:].upper()
                    help_ = f"`ffmpeg -i in{suffix} out.flac` makes a sound file of it"
                    left_out.append(LeftOut(path=str(path), why=f"{kind}, which cannot be read here: {help_}"))
                elif suffix in SUFFIXES:
                    files.append(path)
    return Found(sorted(files), sorted(left_out, key=lambda one: one.path))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _closed(error: OSError) -> LeftOut:
    return LeftOut(path=str(error.filename), why=f"a folder that cannot be opened ({error.strerror})")


def _if_corpora(root: Path, files: Iterable[Path]) -> str:
    """Return what to do if the folder was given in which corpora lie: name each of them."""
    parts = (path.relative_to(root).parts for path in files)
    inside = list(dict.fromkeys(root / folders[0] for *folders, _ in parts if folders))
    if len(inside) == 1:
        return f"If {inside[0].name} is a corpus, give {inside[0]}; "
    shown = " ".join(shlex.quote(str(folder)) for folder in inside[:3]) + (" ..." if len(inside) > 3 else "")
    return f"If the folders in {root} are corpora, give each of them ({shown}); "


def named_by_folder(files: Sequence[Path], root: Path, words: Set[str]) -> dict[Path, Named]:
    """Return what the folders around recordings say: <label>/[<speaker>/]clip.wav or <speaker>/<label>/clip.wav.

    words: what labels are called, in lower case. Files in no such folder are not among those returned. Raises
    InputError where two readings are possible: a guess would put a voice on two sides of a split.
    """
    corpus = os.path.basename(os.path.abspath(root))
    folders = {path: (corpus, *path.relative_to(root).parts[:-1]) for path in files}
    labelled = {
        path: [place for place, name in enumerate(parts) if name.strip().lower() in words]
        for path, parts in folders.items()
    }
    places = {path: found for path, found in labelled.items() if found}
    shared = set.intersection(*map(set, places.values())) if places else set()
    if len(shared) > 1:
        shared.discard(0)  # the corpus's own folder
    named = {}
    for path, found in places.items():
        parts = folders[path]
        if len(shared) == 1:
            found = list(shared)
        if len(found) > 1:
            names = " and ".join(parts[place] for place in found)
            raise InputError(f"{path}: {names} are both labels; rename one, or give a CSV with path,label,speaker")
        (place,) = found
        before = [name for name in parts[1:place] if name.lower() not in _SIDES]
        after = list(parts[place + 1 :])
        if before and after:
            raise InputError(
                f"{path}: is {before[-1]} or {after[0]} the speaker? {_if_corpora(root, places)}else put "
                "<label>/<speaker>/file or <speaker>/<label>/file, or give a CSV with path,label,speaker"
            )
        speaker = printable("/".join(before or after))  # of any bytes, but records and reports are UTF-8
        named[path] = Named(corpus=printable(corpus), speaker=speaker, word=parts[place], text="")
    return named
