"""Prometheus and Alertmanager as Debian has them, configured by the examples of deploy/monitoring, and a webhook."""

import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.broker import HOST, free_port
from tests.support.patience import wait_until
from tests.support.sounds import ROOT
from tests.support.system import require_program

EXAMPLES = ROOT / "deploy" / "monitoring"
RULES = EXAMPLES / "roomtone.rules.yml"


def hurried(rules: str) -> str:
    """Return rules that wait and look back for seconds where they would for minutes and hours."""
    rules = re.sub(r"for: \d+[mh]", "for: 2s", rules)
    return re.sub(r"\[\d+[mh]\]", "[12s]", rules).replace("> 600", "> 8")


class Server:
    """A program that answers over HTTP while the context lasts."""

    def __init__(self, folder: Path, program: str, package: str, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.address = f"{HOST}:{self.port}"
        self._log = folder / f"{program}.log"
        self._command = [require_program(program, package), f"--web.listen-address={self.address}", *arguments]

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._ready, lambda: self._log.read_text(errors="replace")[-2_000:], every_s=0.2)
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


class Webhook:
    """Takes what Alertmanager sends. told: alerts as they came (a `status`, `labels`, ...), with `at`, Unix time."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer((HOST, 0), type("Taker", (_Taker,), {"told": self.told}))
        self.url = f"http://{HOST}:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Taker(BaseHTTPRequestHandler):
    told: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told += [{**alert, "at": time.time()} for alert in body["alerts"]]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Alertmanager(Server):
    """As in the example, but for where it sends alerts, each by itself and at once."""

    def __init__(self, folder: Path, webhook: str) -> None:
        config = yaml.safe_load((EXAMPLES / "alertmanager.yml").read_text())
        del config["global"]
        config["route"] |= {"group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        for receiver in config["receivers"]:
            receiver.pop("email_configs")
            receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        super().__init__(folder, "prometheus-alertmanager", "prometheus-alertmanager", "--cluster.listen-address=",
                         "--config.file=alertmanager.yml", "--storage.path=data")  # fmt: skip


class Prometheus(Server):
    """As in the example, but that it asks and judges every second, by `hurried` rules."""

    def __init__(self, folder: Path, recorder: str, alertmanager: str) -> None:
        config = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [recorder]
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / RULES.name).write_text(hurried(RULES.read_text()))
        super().__init__(folder, "prometheus", "prometheus", "--config.file=prometheus.yml",
                         "--storage.tsdb.path=data")  # fmt: skip

    def alerts(self) -> dict[tuple[str, str], str]:
        """Return the state (pending, firing) of each alert by its name and device (or whose it is)."""
        with urllib.request.urlopen(f"http://{self.address}/api/v1/alerts", timeout=30) as answer:
            found = json.load(answer)["data"]["alerts"]
        return {named(alert["labels"]): alert["state"] for alert in found}

    def value(self, expression: str) -> list[float]:
        """Return the values of an expression now."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{query}", timeout=30) as answer:
            return [float(each["value"][1]) for each in json.load(answer)["data"]["result"]]


def named(labels: dict[str, str]) -> tuple[str, str]:
    """Return an alert's name and whose it is."""
    return labels["alertname"], labels.get("device", labels.get("of", ""))
