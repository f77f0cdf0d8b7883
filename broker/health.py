"""Metrics and health over HTTP on loopback, from a thread of its own."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from broker.listening import listen
from broker.logs import get_logger
from broker.metrics import BrokerCollector, Look, NotAnsweringError, Watched

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

REQUEST_SECONDS: Final = 5.0
"""Within this a client on this machine has sent its request; then it is let go."""

_POLL_SECONDS: Final = 0.1
_TEXT: Final = "text/plain; charset=utf-8"

_log = get_logger(__name__)

_Answer = tuple[HTTPStatus, str, bytes]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that went away is no fault of ours."""


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by its base
        """Say nothing: what a stranger asks for is not logged."""


@contextmanager
def health_server(watched: Watched, host: str, port: int) -> Iterator[str]:
    """Yield the URL of a running server with ``/metrics``, ``/healthz`` and ``/readyz``.

    Args:
        watched: The broker on the running event loop.
        host: A loopback address.
        port: The TCP port, 0 for any free one.

    Raises:
        PortInUseError: Another program has the port; nothing was started.
        ListenError: The system refuses host or port; nothing was started.
    """
    listening = listen(host, port)
    server = _Server((host, port), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    bound: int = listening.getsockname()[1]
    server.server_name, server.server_port = host, bound
    server.setup_environ()
    server.set_app(_application(Look(watched)))
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL_SECONDS,), name="health", daemon=True
    )
    thread.start()
    try:
        yield f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _application(look: Look) -> "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]":
    registry = CollectorRegistry()
    registry.register(BrokerCollector(look))
    pages: dict[str, Callable[[], _Answer]] = {
        "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
        "/healthz": lambda: (HTTPStatus.OK, _TEXT, b"alive\n"),
        "/readyz": lambda: _readiness(look),
    }

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        page = pages.get(environ.get("PATH_INFO", ""))
        method = environ["REQUEST_METHOD"]
        try:
            if page is None:
                status, kind, body = HTTPStatus.NOT_FOUND, _TEXT, b"no such page\n"
            elif method not in {"GET", "HEAD"}:
                status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET and HEAD\n"
            else:
                status, kind, body = page()
        except NotAnsweringError:
            status, kind = HTTPStatus.SERVICE_UNAVAILABLE, _TEXT
            body = b"the event loop does not answer\n"
        except Exception:  # noqa: BLE001 - the next request is answered again
            _log.exception("a page failed")
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"see the log\n"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if method == "HEAD" else [body]

    return answer


def _readiness(look: Look) -> _Answer:
    if look().storing:
        return HTTPStatus.OK, _TEXT, b"ready\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"waiting mail cannot be written\n"
