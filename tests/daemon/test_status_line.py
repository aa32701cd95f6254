"""`roomtone run` on a terminal: the newest status stays at the bottom, the log scrolls above it."""

import signal

import yaml

from edge.commands.demo import RECORDING
from tests.support.broker import HOST, free_port
from tests.support.patience import PATIENCE_S
from tests.support.terminal import Terminal


def screen(raw: bytes) -> list[str]:
    """Return the lines that a terminal shows which knows carriage return and `clear to the end of the line`."""
    lines = [""]
    for part in raw.decode().replace("\r\n", "\n").replace("\x1b[K", "").split("\n"):
        lines[-1] = part.rpartition("\r")[2]
        lines.append("")
    return lines[:-1]


def test_the_broker_s_trouble_is_on_the_last_line(tmp_path, broker):
    settings = {"mqtt": {"host": HOST, "port": broker.port}, "state_folder": str(tmp_path / "state")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"edge": settings}))
    arguments = ("--config", str(tmp_path / "config.yaml"), "run", "--input", str(RECORDING))
    with Terminal(*arguments, columns=100) as terminal:
        terminal.wait_for(f"quiet; broker {HOST}:{broker.port}: connected")
        terminal.wait_for("(angry|fear|happy|sad|surprise|disgust|neutral); broker")
        broker.kill()
        terminal.wait_for("broker .*: connection refused; [0-9]+ events? waits?|connection refused; trying again")
        while terminal.read(1.0) and "refused" not in screen(terminal.raw)[-1]:
            pass
        shown = screen(terminal.raw)
        assert "connection refused" in shown[-1]
        assert any(line.startswith("WARNING roomtone.mqtt: broker") for line in shown[:-1])
        assert max(len(line) for line in shown if "; broker" in line) < 100
        terminal.process.send_signal(signal.SIGTERM)
        while terminal.read(3.0):
            pass
        assert terminal.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in terminal.text


def test_off_a_terminal_there_is_no_such_line(tmp_path):
    settings = {"mqtt": {"host": HOST, "port": free_port()}, "state_folder": str(tmp_path / "state")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"edge": settings}))
    arguments = ("--config", str(tmp_path / "config.yaml"), "run", "--input", str(RECORDING))
    with Terminal(*arguments, env={"TERM": "dumb"}) as terminal:
        terminal.wait_for("connection refused; trying again")
        assert "\x1b" not in terminal.raw.decode()
