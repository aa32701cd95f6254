"""What a file's first bytes say that it is, whatever its name says."""

import re
import struct
from collections.abc import Callable

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
    (rb"wvpk", "WavPack", True),
    (rb"MAC ", "Monkey's Audio", True),
    (rb"TTA1", "True Audio", True),
    (rb"DSD |FRM8", "DSD", True),
    (rb"\x00\x05\x16\x07", "what macOS keeps beside one (AppleDouble)", False),
    (rb"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file", False),
    (rb"\s*<(!DOCTYPE|html|\?xml)", "a page of the web", False),
    (rb"PK\x03\x04", "a zip archive: unpack it", False),
)
_PERHAPS_FOREIGN = (  # or anything else
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC", True),
    (rb"\x0b\x77", "AC-3", True),
)


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
        if re.match(magic, head, re.DOTALL | re.IGNORECASE):
            return what, convertible
    return None


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
    when recordings were joined end to end. Without that table it is read to its end. Arguments as of `mended_wav`."""
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
    return {begin + found.start(): bytes(4)} if size - begin > told + _MP3_TAGS_BYTES else {}


def mended_wav(head: bytes, rest: Callable[[int, int], bytes], size: int) -> dict[int, bytes]:
    """Return what to read at which place instead, where a WAV or RF64 says that it holds no sound though some follows.

    A recorder that was killed, or that wrote into a pipe, never came to say how much there is. `rest(place, count)`
    reads elsewhere in the file, which has `size` bytes (a huge number where nobody knows).
    """
    order = ">" if head[:4] == b"RIFX" else "<"
    place, large = 12, None
    while place + 8 <= len(head):
        name, length = head[place : place + 4], struct.unpack_from(f"{order}I", head, place + 4)[0]
        sound = place + 8
        if name == b"ds64":
            large = sound + 8  # of 64 bits, for the data
        if name == b"data":
            break
        place = sound + length + length % 2
    else:
        return {}
    follow = size - sound
    if large is not None and length == 0xFFFFFFFF and len(head) >= large + 8:
        told = struct.unpack_from("<Q", head, large)[0]
        # More than there is: of unknown length.
        return {} if 0 < told <= follow else {large: struct.pack("<Q", follow)}
    if length or follow <= 0 or _only_chunks(rest, order, sound, size):
        return {}
    return {place + 4: struct.pack(f"{order}I", min(follow, 0xFFFFFFFF))}


def _only_chunks(read: Callable[[int, int], bytes], order: str, place: int, size: int) -> bool:
    """Whether from here to the end there is nothing but further chunks of a file that is truly empty."""
    while place < size:
        header = read(place, 8)
        if len(header) < 8 or not re.fullmatch(rb"[ -~]{4}", header[:4]):
            return False
        length = struct.unpack_from(f"{order}I", header, 4)[0]
        place += 8 + length + length % 2
    return place <= size + 1


def last_ogg_page(head: bytes) -> bytes:
    """Return a page that ends the stream which `head` begins, an age later: a decoder that looks at the end for the
    length of what comes through a pipe finds it there (RFC 3533)."""
    serial = head[14:18]
    page = b"OggS\x00\x04" + struct.pack("<q", _AGE_SAMPLES) + serial + struct.pack("<II", 0x7FFFFFFF, 0) + b"\x00"
    return page[:22] + struct.pack("<I", _ogg_checksum(page)) + page[26:]


_AGE_SAMPLES = 1 << 48


def _ogg_checksum(page: bytes) -> int:
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x104C11DB7 if register & 0x80000000 else 0)
    return register
