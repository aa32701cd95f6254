"""Which device is meant, and what the kernel knows about one that PortAudio leaves out."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge.sound.portaudio.devices import card_of, choose, why_missing


def kernel(folder: Path) -> tuple[Path, Path]:
    """Lay out /proc/asound and /dev/snd as Linux does for a sound output, and a USB microphone that is held by us."""
    proc, dev = folder / "proc", folder / "dev"
    sub = proc / "card1" / "pcm0c" / "sub0"
    sub.mkdir(parents=True)
    dev.mkdir()
    (proc / "cards").write_text(
        " 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones\n"
        "                      bcm2835 Headphones\n"
        " 1 [Device         ]: USB-Audio - USB PnP Sound Device\n"
        "                      C-Media Electronics Inc. USB PnP Sound Device at usb-3f980000.usb-1.2, full speed\n"
    )
    (sub / "status").write_text(f"state: RUNNING\nowner_pid   : {os.getpid()}\ntrigger_time: 0.0\n")
    (dev / "pcmC1D0c").touch()
    (dev / "pcmC0D0p").touch()
    return proc, dev


@pytest.mark.parametrize(
    ("selector", "reason"),
    [("device", "busy"), ("pnp", "busy"), (None, "busy"), ("headphones", "absent"), ("1", "absent")],
)
def test_a_card_that_portaudio_leaves_out_is_told_apart_from_none(
    tmp_path: Path, selector: str | None, reason: str
) -> None:
    proc, dev = kernel(tmp_path)
    told, detail = why_missing(selector, proc=proc, dev=dev).args
    assert told == reason
    assert (f"process {os.getpid()}" in detail) == (reason == "busy")


@pytest.mark.parametrize(
    ("unit", "folder"),
    [
        ("roomtone", "system.slice"),
        ("roomtone@living-room", "system.slice/system-roomtone.slice"),
        (None, "user.slice"),
    ],
)
def test_who_holds_a_card_is_named_by_its_service_where_it_is_one_of_ours(
    tmp_path: Path, unit: str | None, folder: str
) -> None:
    """By its control group: in a service's sandbox, the process itself is not to be seen."""
    proc, dev = kernel(tmp_path)
    for name in ("roomtone", "roomtone@attic", unit or "somebody"):
        group = tmp_path / ("system.slice" if name == "roomtone" else folder) / f"{name}.service"
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.threads").write_text(f"1\n{os.getpid()}\n" if name == unit else "1\n17\n")
    program = unit or Path("/proc/self/comm").read_text().strip()
    assert why_missing("pnp", proc=proc, dev=dev, groups=tmp_path).args == (
        "busy", f"USB PnP Sound Device is held by {program}, process {os.getpid()}"
    )  # fmt: skip


def test_which_card_is_meant_is_known_while_somebody_holds_it(tmp_path: Path) -> None:
    proc, dev = kernel(tmp_path)
    for selector, card in {"pnp": "Device", "DEVICE": "Device", None: "Device", "headphones": None, "x": None}.items():
        assert card_of(selector, proc=proc, dev=dev) == card
    (dev / "pcmC0D0c").touch()  # a second one: which is the default?
    assert card_of(None, proc=proc, dev=dev) is None
    assert card_of("headphones", proc=proc, dev=dev) == "Headphones"


def test_a_card_that_may_not_be_opened_is_denied() -> None:
    # Root may open everything: the question is asked by nobody, in a folder that nobody may enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        proc, dev = kernel(Path(folder))
        (dev / "pcmC1D0c").chmod(0)
        program = f"""
import os, pathlib
from edge.sound.portaudio.devices import why_missing
if os.getuid() == 0:
    os.setuid(65534)
print(why_missing(None, proc=pathlib.Path({str(proc)!r}), dev=pathlib.Path({str(dev)!r})).args[0])
"""
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "denied"


DEVICES = [
    {"index": 0, "name": "bcm2835 Headphones: -", "card_id": "Headphones"},
    {"index": 2, "name": "USB PnP Sound Device: Audio", "card_id": "Device"},
    {"index": 3, "name": "USB PnP Sound Device: Audio", "card_id": "Device_1"},
    {"index": 7, "name": "default", "card_id": None},
]


@pytest.mark.parametrize(
    ("selector", "default_index", "index"),
    [
        (None, 7, 7),
        (None, None, 0),
        ("usb pnp", 7, 2),
        ("Device_1", 7, 3),
        ("device", 7, 2),
        ("default", 0, 7),
        ("7", 7, None),
        ("hw:1,0", 7, None),
    ],
)
def test_a_device_is_chosen_by_part_of_its_name_or_card_id_never_by_index(
    selector: str | None, default_index: int | None, index: int | None
) -> None:
    found = choose(DEVICES, selector, default_index)
    assert (found["index"] if found else None) == index
