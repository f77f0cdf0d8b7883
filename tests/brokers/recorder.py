"""A listener that keeps what clients send first, after TLS where it speaks TLS."""

import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_SECONDS = 10.0
LOGIN_REFUSED = b"\x20\x02\x00\x05"


class Recorder:
    """What came in, over all connections, one after the other: the first bytes end it.

    It blocks in a thread: asyncio's servers end a handshake that failed without the alert that
    other servers send.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port: int = self._listening.getsockname()[1]
        self.received = bytearray()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_SECONDS)
        self._listening.close()

    def _run(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            accepted.settimeout(PATIENCE_SECONDS)
            with accepted, suppress(OSError):
                if self._context is None:
                    self._keep(accepted)
                else:
                    with self._context.wrap_socket(accepted, server_side=True) as connected:
                        self._keep(connected)

    def _keep(self, connected: socket.socket) -> None:
        data = connected.recv(4096)
        self.received += data
        if data:
            connected.sendall(LOGIN_REFUSED)


@contextmanager
def recording(context: ssl.SSLContext | None) -> Iterator[Recorder]:
    recorder = Recorder(context)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()


def only_tls_1_1(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server that was last updated long ago."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    return context
