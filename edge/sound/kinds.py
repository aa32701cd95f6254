"""What a file's first bytes say that it is, whatever its name says."""

import codecs
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from edge.errors import InputError

HEAD_BYTES = 1 << 16  # in which every header that counts here ends
TELLING_BYTES = 1_500  # enough to tell a kind
MP3 = "MP3"

# Magic numbers of what libsndfile reads; those of STREAMED kinds also where nobody can go back.
_KINDS = (
    (rb"RIF[FX]....WAVE", "WAV"),
    (rb"RF64....WAVE|BW64....WAVE", "RF64"),
    (rb"fLaC", "FLAC"),
    (rb"OggS", "Ogg"),
    (rb"ID3[\x02-\x04]", MP3),
    (rb"FORM....(AIF[FC]|8SVX|16SV)", "AIFF"),
    (rb"\.snd|dns\.", "AU"),
    (rb"riff\x2e\x91\xcf\x11", "W64"),
    (rb"caff\x00", "CAF"),
    (rb"Creative Voice File", "VOC"),
    (rb"NIST_1A", "NIST"),
    (rb" paf|fap ", "PAF"),
    (rb"PVF1\n", "PVF"),
    (rb"2BIT", "AVR"),
    (rb"MATLAB 5.0 MAT-file", "MAT"),
    (rb"ALawSoundFile\*\*", "WVE"),
    (rb"Extended Instrument: ", "XI"),
    (rb"\x64\xa3[\x01-\x04]\x00|\x00[\x01-\x04]\xa3\x64", "IRCAM"),
    (rb"\xf0\x7e.\x01", "SDS"),
)
STREAMED = {"WAV", "RF64", "FLAC", "Ogg", MP3, "AIFF", "AU", "W64"}

_MP3_TAGS_BYTES = 1 << 14  # what may stand behind the sound: words, no picture
# What people have and nothing here reads: what it is called, and whether ffmpeg makes sound of it.
_FOREIGN = (
    (rb"....ftyp", "MPEG-4 (M4A, MP4)", True),
    (rb"\x1a\x45\xdf\xa3", "WebM or Matroska", True),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA or ASF", True),
    (rb"#!AMR", "AMR", True),
    (rb"ADIF", "AAC", True),
    (rb"RIFF....AVI ", "AVI", True),
    (rb"FLV\x01", "Flash video", True),
    (rb"\x00\x00\x01\xba[\x21-\x7f]", "an MPEG video", True),
    (rb"G\x40[\x00\x11][\x10-\x3f].{184}G", "an MPEG transport stream", True),
    (rb"\.RMF\x00\x00", "RealMedia", True),
    (rb"wvpk", "WavPack", True),
    (rb"MAC ", "Monkey's Audio", True),
    (rb"TTA1", "True Audio", True),
    (rb"DSD |FRM8", "DSD", True),
    (rb"MThd\x00\x00\x00\x06", "MIDI: notes, no sound", False),
    (rb"\x00\x05\x16\x07", "what macOS keeps beside one (AppleDouble)", False),
    (rb"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file", False),
    (rb"\s*<(?i:!DOCTYPE|html|\?xml)", "a page of the web", False),
    (rb"PK\x03\x04", "a zip archive: unpack it", False),
    (rb"\x1f\x8b\x08[\x00-\x1f]|BZh[1-9]1AY&SY|\xfd7zXZ\x00|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|.{257}ustar",
     "an archive: unpack it", False),
    (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff(\xe0..JFIF|\xe1..(Exif|http)|\xdb\x00[\x43\x84]|\xee\x00\x0eAdobe)|GIF8[79]a|RIFF....WEBP|II\*\x00|MM\x00\*|BM.{4}\x00{4}.\x00\x00\x00|"
     rb"8BPS\x00\x01", "a picture", False),
    (rb"%PDF-", "a PDF document", False),
    (rb"\x7fELF|MZ.{58}[\x40-\xff]\x00\x00\x00", "a program", False),
    (rb"SQLite format 3\x00", "a database", False),
)  # fmt: skip
_PERHAPS_FOREIGN = (  # or anything else
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC", True),
    (rb"\x0b\x77", "AC-3", True),
)
_KNOWN = "WAV, FLAC, Ogg, MP3, AIFF, ..."
_TAKEN = f"`roomtone run --input -` takes a sound file ({_KNOWN}) or raw PCM (s16le, 16 kHz, mono)"
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def kind_of(head: bytes) -> str | None:
    """Return the name of the format that `head` (HEAD_BYTES of the file, or all of it) begins, None if unknown."""
    for magic, name in _KINDS:
        if re.match(magic, head, re.DOTALL):
            return name
    return MP3 if _is_mpeg(head) else None


def foreign(head: bytes, *, sure: bool = False) -> tuple[str, bool] | None:
    """Return what a file is that nothing here reads, and whether ffmpeg makes sound of it; None if unknown.

    sure: say nothing of what may also be raw samples by chance.
    """
    for magic, what, convertible in _FOREIGN + (() if sure else _PERHAPS_FOREIGN):
        if re.match(magic, head, re.DOTALL):
            return what, convertible
    return ("text", False) if _is_text(head) else None


def foreign_or_mpeg(head: bytes) -> bool:
    """Whether libsndfile is not even to be asked: it would hear MPEG audio in any bytes that begin like a frame."""
    return foreign(head) is not None or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0)


def refused(name: str, head: bytes, kind: str | None, why: str, *, stored: bool) -> InputError:
    """Return what a file is instead, and what helps: the kind of trouble first, this file's own in brackets."""
    no_sound = f"{name}: not a readable sound file"
    # What stands in a pipe has no name that could be told to ffmpeg.
    file, made = (shlex.quote(name), shlex.quote(f"{Path(name).stem}.flac")) if stored else ("pipe:0", "-f wav -")
    makes = f"`ffmpeg -i {file} {made}` makes one of it"
    if not head:
        return InputError(f"{no_sound}: it is empty" if stored else f"{no_sound}: nothing came")
    if kind:
        return InputError(f"{no_sound}, but a damaged or unknown {kind} ({why}); where it plays elsewhere, {makes}")
    what, convertible = foreign(head) or ("", False)
    if convertible:
        return InputError(f"{no_sound}, but {what} ({makes})")
    if what:
        return InputError(f"{no_sound}, but {what}{'' if stored else f' ({_TAKEN})'}")
    raw = f"of raw samples `ffmpeg -f s16le -ar 16000 -ac 1 -i {file} {made}` makes one"
    return InputError(f"{no_sound} (of no kind that is known; {f'{_KNOWN} are; {raw}' if stored else _TAKEN})")


def _is_text(head: bytes) -> bool:
    """Whether these bytes are nothing but printable UTF-8, and not one sample again and again."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head[:TELLING_BYTES])  # may be cut in a letter
    except UnicodeDecodeError:
        return False
    return len(set(text)) > 2 and not _NO_TEXT.search(text)


def _is_mpeg(head: bytes) -> bool:
    """Whether MPEG audio begins here: a frame that is followed by another (or is the whole file), as no noise is."""
    length = _mpeg_frame_bytes(head[:4])
    if length is None or len(head) < length:
        return False
    return len(head) < length + 4 or _mpeg_frame_bytes(head[length : length + 4]) is not None


_KBPS = {  # by layer, then by version 1 or not (ISO/IEC 11172-3 and 13818-3)
    (1, True): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (2, True): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, True): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, False): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, False): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (3, False): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # fmt: skip


def _mpeg_frame_bytes(header: bytes) -> int | None:
    """Return the length of the frame that this header of four bytes begins, None if it is no header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, which, padding = header[2] >> 2 & 3, header[2] >> 4, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or which in (0, 15):
        return None
    first = version == 3
    rate_hz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    bits = 1_000 * _KBPS[layer, first][which - 1]
    if layer == 1:
        return 4 * (12 * bits // rate_hz + padding)
    return (72 if layer == 3 and not first else 144) * bits // rate_hz + padding


def outgrown_mp3(rest: Callable[[int, int], bytes], size: int) -> dict[int, bytes]:
    """Return what to read at which place instead, where an MP3 goes on after what its own table (Xing, Info) counts: as
    when recordings were joined end to end. Without that table it is read to its end."""
    tag = rest(0, 10)
    begin = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    frame = rest(begin, 200)
    found = re.search(rb"(Xing|Info)\x00\x00\x00([\x00-\x0f])", frame)
    if not found or not found[2][0] & 2:  # it does not say how many bytes
        return {}
    place = found.end() + (4 if found[2][0] & 1 else 0)
    told = int.from_bytes(frame[place : place + 4], "big")
    end = begin + told
    joined = size > end + _MP3_TAGS_BYTES or (end > begin and kind_of(rest(end, TELLING_BYTES)) == MP3)
    return {begin + found.start(): bytes(4)} if joined else {}
