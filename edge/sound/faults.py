"""Why there is no sound, or no use in it: stable codes, the words people read, and what they can do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What a code means and its remedy, each one sentence without a full stop."""

    words: str
    remedy: str


REASONS = {
    # Nothing flows.
    "starting": Reason(words="waiting for the microphone to answer", remedy="give it a few seconds"),
    "off": Reason(words="listening is switched off", remedy="it stays so until somebody switches it on"),
    "quiet-hours": Reason(words="these are quiet hours", remedy="the microphone is closed until they end"),
    "absent": Reason(
        words="there is no such microphone",
        remedy="plug it in, or choose one that `roomtone devices` shows as edge.audio.microphone",
    ),
    "denied": Reason(
        words="the microphone may not be opened by this user",
        remedy="add the user to the group `audio` and log in anew",
    ),
    "busy": Reason(words="another program holds the microphone", remedy="end that program"),
    "rate-refused": Reason(
        words="the microphone takes no sample rate we know", remedy="choose another one as edge.audio.microphone"
    ),
    "stalled": Reason(
        words="the microphone stopped delivering sound",
        remedy="check its plug; where a sound server or a command serves it, look at that",
    ),
    "server-gone": Reason(words="the sound server does not answer", remedy="start PulseAudio or PipeWire again"),
    "host-error": Reason(words="the sound system reports an error", remedy="see the detail, and `roomtone devices`"),
    # Of a command (edge.audio.command).
    "not-started": Reason(
        words="the command that is to deliver sound cannot be started",
        remedy="install the program, or correct edge.audio.command",
    ),
    "ended": Reason(
        words="the command that delivers sound ended",
        remedy="it is started again; if it never stays, run it by hand as the sensor's user",
    ),
    "not-sound": Reason(
        words="what the command delivers is no sound",
        remedy="have it write WAV, FLAC or raw samples to its standard output, and nothing else",
    ),
    "flooding": Reason(
        words="the command delivers sound faster than time passes",
        remedy="have it keep the pace of the clock (ffmpeg: -re before -i); recordings: `roomtone run --input`",
    ),
    # Sound flows, but nobody can be heard in it (edge/sound/signal_check.py).
    "zeros": Reason(
        words="the microphone delivers digital silence", remedy="unmute it, or choose another source as default"
    ),
    "constant": Reason(words="the microphone delivers one constant value", remedy="unplug it and plug it in again"),
    "clipped": Reason(words="the microphone is overdriven", remedy="turn its capture level down (alsamixer)"),
}


def explain(reason: str, detail: str = "") -> str:
    """Return a reason in one line: the words, the detail where there is one, and the remedy."""
    known = REASONS[reason]
    return f"{known.words}{f' ({detail})' if detail else ''}: {known.remedy}"
