"""The README's table of artifacts, made from a committed report: nobody types a figure.

python -m convert.report.tables convert/reports/random.json          prints it as Markdown
"""

import json
import sys
from pathlib import Path
from typing import Any

from train.pages.tables import markdown


def artifact_table(found: dict[str, Any]) -> str:
    """Return network x form x precision: size, accuracy and agreement in each runtime, cost in the first."""
    rows = []
    for result in found["results"]:
        verified = result["verification"]
        first, *others = verified["devices"]
        name = f"{verified['network']} {verified['form']} {verified['precision']}"
        rows.append([
            name if result["path"] else f"{name} (refused: a gate failed)",
            f"{verified['file_bytes'] / 1000:.1f}",
            f"{verified['window_accuracy']:.4f}",
            f"{first['accuracy']:.4f}",
            *(f"{device['accuracy']:.4f}" for device in others),
            f"{100 * min(device['agreement'] for device in verified['devices']):.1f}",
            f"{first['us_per_audio_s']:.0f}",
        ])  # fmt: skip
    devices = [device["runtime"] for device in found["results"][0]["verification"]["devices"]]
    head = ["artifact", "kB", "Keras", *devices, "agreement, %", "µs per second of audio"]
    return markdown(head, rows)


if __name__ == "__main__":
    print(artifact_table(json.loads(Path(sys.argv[1]).read_text())))
