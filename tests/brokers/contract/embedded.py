"""The embedded broker: `ratchetmq broker` on a data directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from broker.mail_file import FILE_NAME
from tests.brokers.contract.under_test import (
    BrokerUnderTest,
    Limits,
    NoWebSocketError,
    Options,
)
from tests.e2e.programs import Fields, Program, ratchetmq


class Embedded(BrokerUnderTest):
    """Logins are those in the directory's database, which it reads itself."""

    name: ClassVar[str] = "embedded"
    limits: ClassVar[Limits] = Limits()

    def __init__(self, folder: Path, logins: Mapping[str, str], options: Options) -> None:
        super().__init__(folder, logins, options)
        self._program: Program | None = None
        self._ready: Fields = {}

    @property
    def ports(self) -> tuple[int, ...]:
        return (int(str(self._ready["url"]).rpartition(":")[2]),)

    @property
    def ws_url(self) -> str:
        if "ws_url" not in self._ready:
            raise NoWebSocketError("it was not asked for")
        return str(self._ready["ws_url"])

    def start(self) -> None:
        flags = ["--data", str(self.data_dir), "--port", "0"]
        if self.options.websocket:
            flags += ["--ws-port", "0"]
        if self.options.tls is not None:
            tls = self.options.tls
            flags += ["--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]
        self._program = Program(ratchetmq("broker", *flags))
        self._ready = self._program.row()

    def stop(self) -> None:
        if self._program is not None:
            ended = self._program.end()
            assert ended.code == 0, ended.err
        self._program = None

    def kill(self) -> None:
        if self._program is not None:
            self._program.kill()
        self._program = None

    def wipe(self) -> None:
        for file in self.data_dir.glob(f"{FILE_NAME}*"):
            file.unlink()
