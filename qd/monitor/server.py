"""
The HTTP side: three pages, read only.

    /metrics   for Prometheus
    /healthz   200, or 503 when a restart would help; details as JSON
    /readyz    200, or 503 while no tasks are run here; details and backlog as JSON
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

_REQUEST_WITHIN = 5.0
"""Seconds a client has for its request; its thread ends then."""

_AT_ONCE = 16


class Page(NamedTuple):
    """What to answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""By path."""


class Server:
    """Answers on *listener* from threads of its own; a page that fails is a 500, and logged."""

    def __init__(self, listener: socket.socket, pages: Pages) -> None:
        self._server = _HttpServer(listener, partial(_Handler, pages))
        self._thread = threading.Thread(
            target=partial(self._server.serve_forever, poll_interval=0.1), name="http", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests; those under way are not waited for."""
        self._server.shutdown()
        self._thread.join()


def json_page(ok: bool, content: object) -> Page:
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(status, "application/json", json.dumps(content, indent=1).encode() + b"\n")


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, handler: Callable[..., _Handler]) -> None:
        super().__init__(("", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def process_request(self, request: object, client_address: object) -> None:
        # Slow clients must not fill the process with threads.
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or is too slow, is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    server_version = "qd"
    sys_version = ""
    timeout = _REQUEST_WITHIN

    def __init__(self, pages: Pages, *connection: object) -> None:
        self._pages = pages
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        make = self._pages.get(path)
        if make is None:
            known = ", ".join(self._pages)
            page = Page(HTTPStatus.NOT_FOUND, "text/plain", f"there are: {known}\n".encode())
        else:
            page = make()
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not worth a line."""
