"""The tour: a server, a doctor and a patient as processes of their own, on this machine."""

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import ENVELOPE, Envelope, EnvelopeKind
from client_sdk.wire.errors import OperationalError
from client_sdk.wire.ids import parse_address
from client_sdk.wire.topics import inbox_filter

STEP_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0
HEX_SHOWN: Final = 96

DOCTOR: Final = "house"
PATIENT: Final = "ada"
TEXTS: Final = (
    "Good morning, Ada. Your results are in.",
    "Nothing to worry about: вс\u0451 хорошо 🙂",
    "Please come by on Thursday at ten.",
)
REPLY: Final = "Thank you, doctor. Thursday at ten it is."

Fields = dict[str, object]


class DemoFailedError(OperationalError):
    """A step of the tour did not end as it should; everything it started was ended."""

    code = "demo_failed"


class _Waiting(NamedTuple):
    topic: str
    payload: bytes


class _Tour:
    """One run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "RATCHETMQ_PASSPHRASE": secrets.token_urlsafe(16)}
        self._began = time.monotonic()
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Show one step's progress line."""
        passed = time.monotonic() - self._began
        self._console.print(f"[cyan]{passed:5.1f} s[/cyan]  {text}")

    async def command(self, *words: str, text: str = "") -> list[Fields]:
        """Run one `ratchetmq` command; return its JSON lines.

        Raises:
            DemoFailedError: It did not end with 0 in time.
        """
        process = await self._start(*words, "--json")
        try:
            async with asyncio.timeout(STEP_SECONDS):
                out, err = await process.communicate(text.encode())
        except TimeoutError:
            raise DemoFailedError(f"`{words[0]}` took over {STEP_SECONDS:.0f} s") from None
        finally:
            await _end(process)
        if process.returncode != 0:
            raise DemoFailedError(f"`{words[0]}` failed: {err.decode().strip()}")
        return [json.loads(line) for line in out.decode().splitlines()]

    @asynccontextmanager
    async def server(self) -> AsyncIterator[str]:
        """Run `ratchetmq serve` on a free port; the same one after a restart."""
        process = await self._start("serve", "--data", self.path("server"), "--port", "0")
        try:
            if process.stdout is None:
                raise DemoFailedError("the server has no output")
            async with asyncio.timeout(STEP_SECONDS):
                line = await process.stdout.readline()
            if not line:
                raise DemoFailedError("the server did not start")
            yield str(json.loads(line)["url"])
        finally:
            await _end(process)

    def path(self, name: str) -> str:
        """Return a path in the tour's folder."""
        return str(self._folder / name)

    async def enroll(self, user: str, role: str, name: str) -> str:
        """Invite and enrol one user; return the new device's address."""
        invited = await self.command(
            "invite", user, "--role", role, "--name", name, "--data", self.path("server")
        )
        line = str(invited[0]["invitation"])
        enrolled = await self.command("enroll", "-", "--store", self.store(user), text=line)
        return str(enrolled[0]["address"])

    def store(self, user: str) -> str:
        """Return the path of a user's store."""
        return self.path(f"{user}.db")

    async def waiting_mail(self, user: str) -> list[_Waiting]:
        """Return what the broker keeps for a user, read with the device's own plain MQTT login."""
        login = (await self.command("credentials", "--store", self.store(user)))[0]
        transport = MqttTransport(
            (str(login["broker_url"]),), Login(str(login["username"]), str(login["password"]))
        )
        found: list[_Waiting] = []
        async with transport.connect() as connection:
            await connection.subscribe(inbox_filter(parse_address(str(login["username"]))))
            with suppress(TimeoutError):
                async with asyncio.timeout(STEP_SECONDS):
                    async for incoming in connection.incoming():
                        found.append(_Waiting(incoming.topic, incoming.payload))
                        if len(found) == len(TEXTS):
                            break
        return found

    def show_envelope(self, waiting: _Waiting) -> None:
        """Show one envelope as the broker sees it."""
        envelope = ENVELOPE.decode(waiting.payload)
        table = Table(title="one envelope, as the broker sees it", show_header=False)
        table.add_row("topic", waiting.topic)
        table.add_row("size", f"{len(waiting.payload)} bytes")
        table.add_row("frame", _frame(envelope))
        table.add_row("ciphertext", f"{envelope.ciphertext[:HEX_SHOWN].hex()}…")
        self._console.print(table)

    def show_numbers(self, doctor: str, patient: str) -> None:
        """Show both safety numbers."""
        table = Table(title="safety numbers", show_header=False)
        table.add_row(f"{DOCTOR} sees", _grouped(doctor))
        table.add_row(f"{PATIENT} sees", _grouped(patient))
        self._console.print(table)

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "broker.cli",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )


async def run_demo() -> None:
    """Take the tour; what it makes lies in a temporary folder that is gone afterwards.

    Raises:
        DemoFailedError: A step did not end as it should.
    """
    with tempfile.TemporaryDirectory(prefix="ratchetmq-demo-") as folder:
        tour = _Tour(Path(folder))
        await _before_restart(tour)
        tour.say("the server was stopped; it starts again with what it kept on disk")
        await _after_restart(tour)
        tour.say("done; nothing is left running")


async def _before_restart(tour: _Tour) -> None:
    async with tour.server() as url:
        tour.say(f"broker and key directory answer at {url}")
        doctor, patient = await asyncio.gather(
            tour.enroll(DOCTOR, "doctor", "Dr. House"), tour.enroll(PATIENT, "patient", "Ada L.")
        )
        tour.say(f"enrolled {doctor} (doctor) and {patient} (patient), each its own process")
        lines = "".join(f"{text}\n" for text in TEXTS)
        sent = await tour.command(
            "send", "--store", tour.store(DOCTOR), PATIENT, "--stdin", text=lines
        )
        _need(len(sent) == len(TEXTS), "not every text was queued")
        tour.say(f"{DOCTOR} sent {len(TEXTS)} messages; {PATIENT} is away, the broker keeps them")
        waiting = await tour.waiting_mail(PATIENT)
        _need(len(waiting) == len(TEXTS), "the broker does not keep every message")
        raw = encode(tuple(waiting))
        _need(not any(text.encode() in raw for text in TEXTS), "the broker could read a text")
        tour.show_envelope(waiting[0])


async def _after_restart(tour: _Tour) -> None:
    async with tour.server() as url:
        tour.say(f"broker and key directory answer again at {url}")
        received = await tour.command(
            "listen", "--store", tour.store(PATIENT), "--count", str(len(TEXTS)), "--timeout", "15"
        )
        _need([one["text"] for one in received] == list(TEXTS), "messages are missing")
        for one in received:
            tour.say(f"{PATIENT} reads, from {one['sender']}: {one['text']}")
        await tour.command("send", "--store", tour.store(PATIENT), DOCTOR, REPLY)
        answer = await tour.command(
            "listen", "--store", tour.store(DOCTOR), "--count", "1", "--timeout", "15"
        )
        _need([one["text"] for one in answer] == [REPLY], "the reply is missing")
        tour.say(f"{DOCTOR} reads, from {PATIENT}: {REPLY}")
        history = await tour.command("history", PATIENT, "--store", tour.store(DOCTOR))
        states = [str(one["state"]) for one in history if one["outgoing"]]
        _need(states == ["delivered"] * len(TEXTS), "a receipt is missing")
        tour.say(f"sealed receipts: {', '.join(states)}")
        numbers = await asyncio.gather(
            tour.command("safety-number", PATIENT, "--store", tour.store(DOCTOR)),
            tour.command("safety-number", DOCTOR, "--store", tour.store(PATIENT)),
        )
        doctor, patient = (str(lines[0]["digits"]) for lines in numbers)
        _need(doctor == patient, "the safety numbers differ")
        tour.show_numbers(doctor, patient)
        tour.say("the safety numbers are equal: nobody stands between the two")


def _need(holds: bool, failure: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise DemoFailedError(failure)


def _frame(envelope: Envelope) -> str:
    kind = EnvelopeKind(envelope.kind).name.lower().replace("_", " ")
    return (
        f"version {envelope.version}, suite {envelope.suite}, {kind}, "
        f"header {len(envelope.header)} bytes, ciphertext {len(envelope.ciphertext)} bytes"
    )


def _grouped(digits: str) -> str:
    return " ".join(digits[i : i + 5] for i in range(0, len(digits), 5))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that was started here: politely, then for certain."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
