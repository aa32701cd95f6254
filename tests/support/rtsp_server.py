"""A camera on this machine: plays a sound file over RTSP (GStreamer), from its beginning for whoever comes.

`python3 rtsp_server.py PORT FILE`, by Debian's own Python, which has GStreamer. Each packet is told on standard output:
the Unix time at which it was sent, and the seconds of sound before it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

DEBIANS_PYTHON = "/usr/bin/python3"
NEEDS = ("Gst", "1.0"), ("GstRtspServer", "1.0")
PACKAGES = "gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, gstreamer1.0-plugins-good, python3-gi"


def serves_here() -> bool:
    """Whether this machine has what the server needs."""
    look = "import gi\n" + "".join(f"gi.require_version({name!r}, {version!r})\n" for name, version in NEEDS)
    look += "from gi.repository import Gst\nGst.init(None)\nassert Gst.ElementFactory.find('rtpL16pay')"
    try:
        return subprocess.run([DEBIANS_PYTHON, "-c", look], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Camera:
    """Runs the server while the context lasts."""

    def __init__(self, port: int, file: Path) -> None:
        self.address = f"rtsp://127.0.0.1:{port}/room"
        self._command = [DEBIANS_PYTHON, __file__, str(port), str(file)]

    def start(self) -> None:
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115 (a pipe would fill up)
        self._process = subprocess.Popen(self._command, stdout=self._told)
        from tests.support.patience import wait_until  # which the server itself cannot import

        wait_until(lambda: self._lines()[:1] == ["ready"])

    def stop(self) -> list[tuple[float, float]]:
        """End it as a cut cable would; return what it told: (Unix time of a packet, seconds of sound before it)."""
        self._process.kill()
        self._process.wait()
        return [tuple(map(float, line.split())) for line in self._lines() if line.count(" ") == 1]

    def _lines(self) -> list[str]:
        return os.pread(self._told.fileno(), os.fstat(self._told.fileno()).st_size, 0).decode().splitlines()

    def __enter__(self) -> "Camera":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()


def serve(port: str, file: str) -> None:
    import gi

    for name, version in NEEDS:
        gi.require_version(name, version)
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    mono = "audio/x-raw,rate=16000,channels=1"
    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory.set_launch(
        f"( filesrc location={file} ! decodebin ! audioconvert ! audioresample ! {mono} ! rtpL16pay name=pay0 pt=96 )"
    )

    def tell(pad, info):
        print(f"{time.time():.4f} {info.get_buffer().pts / 1e9:.4f}", flush=True)
        return Gst.PadProbeReturn.OK

    factory.connect(
        "media-configure",
        lambda _, media: media.get_element()
        .get_by_name("pay0")
        .get_static_pad("src")
        .add_probe(Gst.PadProbeType.BUFFER, tell),
    )
    server.get_mount_points().add_factory("/room", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(*sys.argv[1:])
