"""A card in an emulated machine: its own kernel, initrd and system, on qemu's virtual board. No emulator has a Pi's.

Killed, qemu is a power cut to the system on the card: what it had not given to the card yet is gone. Its clock goes by
the instructions that it has executed, 500 million a second: where this machine is busy, that one's seconds are longer,
and nothing in it comes too late.
"""

import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.patience import wait_until
from tests.support.system import require_program

PI_PATIENCE_S = 900.0  # a start takes a minute or two on a machine of its own
HOST = "10.0.2.2"  # this machine's loopback, as the emulated one sees it
READY = re.compile(r"Started.*roomtone\.service")
_PCAP, _FRAME = struct.Struct("=IHHiIII"), struct.Struct("=IIII")  # how a record of a network begins, and each packet
_EVENT = re.compile(rb'/event.{0,80}?"event_id": ?"([0-9a-f-]{36})"', re.DOTALL)
_SECTOR = 512


class Card:
    """A copy of the image, which is written to, in a file; partitions by their number from 1."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.file = folder / "card.img"
        self._folder = folder
        subprocess.run(["cp", "--sparse=always", image, self.file], check=True)
        sfdisk = require_program("sfdisk", "fdisk")
        told = subprocess.run([sfdisk, "--json", self.file], check=True, capture_output=True).stdout
        self._parts = json.loads(told)["partitiontable"]["partitions"]

    def _fat(self, program: str, *words: str | Path) -> subprocess.CompletedProcess:
        at = f"{self.file}@@{self._parts[0]['start'] * _SECTOR}"
        return subprocess.run([require_program(program, "mtools"), "-i", at, *words], check=True, capture_output=True)

    def files(self) -> list[str]:
        """The names in the FAT partition's first folder."""
        return self._fat("mdir", "-b", "::").stdout.decode().replace("::/", "").split()

    def read(self, name: str) -> bytes:
        return self._fat("mtype", f"::{name}").stdout

    def write(self, name: str, text: str) -> None:
        """Write a file as somebody would who has put the card into a computer."""
        written = self._folder / "written"
        written.write_text(text)
        self._fat("mcopy", "-o", written, f"::{name}")

    def partition(self, number: int) -> Path:
        """Return a copy of a partition, as the last power cut left it."""
        part, copy = self._parts[number - 1], self._folder / f"partition-{number}"
        subprocess.run(["dd", f"if={self.file}", f"of={copy}", "bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse",
                        f"skip={part['start'] * _SECTOR}", f"count={part['size'] * _SECTOR}", "status=none"],
                       check=True)  # fmt: skip
        return copy

    def waiting(self) -> set[str]:
        """Return the ids of the events that wait on the state partition, as its next start will find them."""
        copy, events = self.partition(3), self._folder / "events"
        # As at its next start: the journal is gone through, and what was open is let go. More to mend would be a fault.
        done = subprocess.run(["e2fsck", "-fp", copy], capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        shutil.rmtree(events, ignore_errors=True)
        events.mkdir()
        subprocess.run(["debugfs", "-R", f"rdump /roomtone {events}", copy], check=True, capture_output=True)
        found: set[str] = set()
        for path in events.rglob("outbox*.sqlite"):
            with sqlite3.connect(path) as store:
                found |= {row[0] for row in store.execute("SELECT event_id FROM event")}
        return found


class Pi:
    """The card, switched on while the context lasts. sound: the environment in which ALSA is a virtual microphone."""

    def __init__(self, card: Card, folder: Path, *, sound: dict[str, str] | None = None) -> None:
        self.console, self.wire = folder / "console", folder / "wire.pcap"
        kernel, initrd = folder / "kernel", folder / "initrd"
        names = card.files()
        for start, target in (("vmlinuz", kernel), ("initrd.img", initrd)):
            if not target.exists():
                target.write_bytes(card.read(next(name for name in names if name.startswith(start))))
        line = card.read("cmdline.txt").decode().strip() + " console=ttyAMA0 systemd.show_status=1"
        qemu = require_program("qemu-system-aarch64", "qemu-system-arm")
        self.console.write_bytes(b"")
        self._command = [
            qemu, "-machine", "virt", "-cpu", "cortex-a72", "-icount", "shift=1", "-m", "1024",
            "-kernel", kernel, "-initrd", initrd, "-append", line,
            "-drive", f"if=none,id=card,format=raw,file={card.file}", "-device", "virtio-blk-pci,drive=card",
            "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-object", f"filter-dump,id=wire,netdev=net,file={self.wire}",
            "-audiodev", "alsa,id=sound" if sound else "none,id=sound",
            "-device", "intel-hda", "-device", "hda-micro,audiodev=sound",
            "-display", "none", "-monitor", "none", "-serial", f"file:{self.console}", "-no-reboot",
        ]  # fmt: skip
        self._env = sound or dict(os.environ)

    def __enter__(self) -> Self:
        self.began_s = time.monotonic()
        self._process = subprocess.Popen(list(map(str, self._command)), env=self._env, stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """Cut the power."""
        self._process.kill()
        self._process.wait()

    def said(self) -> str:
        """What its console has shown, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.console.read_text(errors="replace"))

    def events_sent(self) -> dict[str, float]:
        """Return the events that left it for a broker, and how many of its seconds before its last packet."""
        sent: dict[str, float] = {}
        words, at, now_s = self.wire.read_bytes(), _PCAP.size, 0.0
        while at + _FRAME.size <= len(words):
            seconds, microseconds, length, _ = _FRAME.unpack_from(words, at)
            at, now_s = at + _FRAME.size, seconds + microseconds / 1e6
            for found in _EVENT.findall(words[at : at + length]):
                sent.setdefault(found.decode(), now_s)
            at += length
        return {event: now_s - at_s for event, at_s in sent.items()}

    def is_ready(self) -> bool:
        return bool(READY.search(self.said()))

    def ready(self) -> float:
        """Wait until the sensor has told systemd that it is ready (READY=1). Returns the seconds that took."""
        wait_until(
            lambda: self.is_ready() or self._process.poll() is not None,
            lambda: self.said()[-3000:], patience_s=PI_PATIENCE_S, every_s=0.2,
        )  # fmt: skip
        assert self._process.poll() is None, f"it went out by itself:\n{self.said()[-3000:]}"
        return time.monotonic() - self.began_s
