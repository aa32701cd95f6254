"""Where metrics are asked for, over HTTP: an address of this machine.

prometheus_client, which `roomtone[metrics]` brings, writes the formats.
"""

import importlib.util
import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edge.addresses import host_and_port
from edge.errors import UnavailableError
from edge.history.metrics import Metrics

log = logging.getLogger("roomtone.history")

PATH = "/metrics"
_CALLER_S = 10.0  # for which a caller may keep us waiting
_MOST_CALLERS = 8  # at once


class Exposition:
    """Listens at HOST:PORT from the first moment, and answers from `serve` on. A context manager.

    Raises UnavailableError where it cannot listen there, or prometheus_client is not installed.
    """

    def __init__(self, place: str) -> None:
        if importlib.util.find_spec("prometheus_client") is None:
            raise UnavailableError(f"metrics: prometheus_client is not installed; `{sys.executable} -m pip install "
                                   "prometheus-client` does it")  # fmt: skip
        host, port = host_and_port(place)
        try:
            self._server = _Server(host, port)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UnavailableError(f"metrics: cannot listen on {place} ({why}): name another address, or end the "
                                   "program that has it") from error  # fmt: skip
        self._place = place
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def __enter__(self) -> "Exposition":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def serve(self, metrics: Metrics) -> None:
        """Answer whoever asks with these."""
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        registry.register(metrics)
        self._server.registry = registry
        log.info("metrics on http://%s%s", self._place, PATH)
        self._thread.start()


class _Server(ThreadingHTTPServer):
    """A thread a caller, so many at once; who comes beyond that is turned away."""

    registry: Any = None

    def __init__(self, host: str, port: int) -> None:
        self.address_family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._free = threading.Semaphore(_MOST_CALLERS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)  # and no name is looked up for it, as http.server would

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("metrics: %s", sys.exc_info()[1])  # a caller who hung up


class _Handler(BaseHTTPRequestHandler):
    timeout = _CALLER_S
    server: _Server

    def do_GET(self) -> None:
        from prometheus_client.exposition import choose_encoder

        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"metrics are on {PATH}")
            return
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each caller."""
