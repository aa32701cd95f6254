"""The report of `make ears-everybody` as Markdown."""


def table(found: dict) -> str:
    """Return the report as Markdown."""
    names = [name for name in next(iter(found["heard"].values())) if name != "clips"]
    lines = [
        "# Whom the sensor hears, and what fools it",
        "",
        f"Speech gate `{found['gate']}`. Written by `make ears-everybody`, with [all figures](everybody.json).",
        "",
        "Heard: share of clips in which speech was found, by the sensor / by silero-vad. In bold: more than 2 points",
        "less than silero.",
        "",
        "| voices not trained on | clips | " + " | ".join(names) + " |",
        "|---|---:|" + "---:|" * len(names),
    ]
    for voice, row in found["heard"].items():
        cells = [f"{row[name]['sensor']:.2f} / {row[name]['silero']:.2f}" for name in names]
        low = [row[name]["sensor"] < row[name]["silero"] - 0.02 for name in names]
        cells = [f"**{cell}**" if less else cell for cell, less in zip(cells, low, strict=True)]
        lines.append(f"| {voice} | {row['clips']} | " + " | ".join(cells) + " |")
    lines += ["", "Onsets in pink noise at 20 dB: share found within 300 ms, and the median delay.", "",
              "| voices not trained on | sensor | median | silero | median |", "|---|---:|---:|---:|---:|"]  # fmt: skip
    for voice, row in found["onset"].items():
        cells = [f"{row[who]['within_300_ms']:.2f} | {row[who]['median_ms']} ms" for who in ("sensor", "silero")]
        lines.append(f"| {voice} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", fooled(found["totals"])]) + "\n"


def fooled(totals: dict) -> str:
    """Return the table of what fools the sensor."""
    lines = [
        "Not fooled: recordings that no training heard. In brackets: 95 % bound. The last column is silero-vad in",
        "front of the same network.",
        "",
        "| sounds | hours | emotion events an hour | segments | silero's segments | events an hour with silero |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, one in totals.items():
        own, other = one["sensor"], one["silero"]
        lines.append(
            f"| {kind} | {one['hours']:.2f} | {own['emotion_events_per_hour']} ({own['per_hour_95_bound']}) | "
            f"{own['segments']} | {other['silero_segments']} | {other['emotion_events_per_hour']} |"
        )
    return "\n".join(lines)
