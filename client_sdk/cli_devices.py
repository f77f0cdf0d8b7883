"""The commands about one's own devices: list them, link one more, remove one."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from client_sdk.cli_options import (
    BrokerUrl,
    Json,
    Opened,
    PassphraseFile,
    Store,
    connect,
    read_passphrase,
)
from client_sdk.device_handles import DeviceInfo
from client_sdk.messenger import Messenger
from client_sdk.printing import (
    EXIT_FAILED,
    EXIT_TIMED_OUT,
    Output,
    reported_errors,
    warn,
    write_private,
)
from client_sdk.signals import until_signalled

app = typer.Typer()


@app.command()
def devices(
    *,
    store: Store,
    remove: Annotated[
        int | None, typer.Option("--remove", min=1, help="End the device of this number.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Print this user's devices, or remove one of them."""
    output = Output(json_lines=json_lines)

    async def show(messenger: Messenger) -> int:
        await connect(messenger)
        if remove is not None:
            removed = await messenger.remove_device(remove)
            line = f"removed device {remove}"
            if removed.recovery_code is not None:
                line += f"\nnew recovery code, for paper, shown once:\n  {removed.recovery_code}"
            output.say({"removed": remove, "recovery_code": removed.recovery_code}, line)
            return 0
        for one in await messenger.devices():
            output.say(_fields(one), _line(one))
        return 0

    with reported_errors():
        passphrase = read_passphrase(passphrase_file)
        code = _run(Messenger.open(store, passphrase=passphrase, broker_url=broker_url), show)
    raise typer.Exit(code)


@app.command()
def link(
    *,
    store: Store,
    code: Annotated[
        str | None, typer.Option("--code", help="Go on with this code after an interruption.")
    ] = None,
    manager: Annotated[
        bool, typer.Option("--manager", help="Let it link and remove devices, too.")
    ] = False,
    svg: Annotated[Path | None, typer.Option(help="Write the code there as a QR code.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds.")] = None,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Print a code for `enroll` on one more device of yours, and approve that device."""
    output = Output(json_lines=json_lines)
    text = code

    async def approve(messenger: Messenger) -> int:
        nonlocal text
        await connect(messenger)
        if text is None:
            request = await messenger.link_request()
            text = request.code
            if svg is not None:
                write_private(svg, request.qr_svg())
            output.say(
                {"code": text, "address": request.address, "expires_at": request.expires_at},
                f"on the new device, as {request.address}:\n  ratchetmq enroll - --store FILE\n"
                f"and there this line as its input:\n  {text}",
            )
        try:
            async with asyncio.timeout(timeout):
                address = await messenger.approve_device(text, manager=manager)
        except TimeoutError:
            warn("no device came with the code in time; go on with --code, it works for 72 hours")
            return EXIT_TIMED_OUT
        output.say({"linked": address, "manager": manager}, f"linked {address}")
        return 0

    def interrupted() -> None:
        again = f"ratchetmq link --store {store}"
        warn(
            f"interrupted before there was a code; call `{again}` again"
            if text is None
            else f"interrupted; go on with `{again} --code CODE`: the code works for 72 hours"
        )

    with reported_errors():
        passphrase = read_passphrase(passphrase_file)
        opened = Messenger.open(store, passphrase=passphrase, broker_url=broker_url)
        ended = _run(opened, approve, interrupted)
    raise typer.Exit(ended)


def _nothing() -> None:
    pass


def _run(
    opened: Opened,
    work: Callable[[Messenger], Awaitable[int]],
    interrupted: Callable[[], None] = _nothing,
) -> int:
    async def run() -> int:
        async with opened as messenger:
            return await work(messenger)

    code = asyncio.run(until_signalled(run(), insist=False, interrupted=interrupted))
    return EXIT_FAILED if code is None else code


def _fields(device: DeviceInfo) -> dict[str, object]:
    return {
        "number": device.number,
        "address": device.address,
        "added_at": device.added_at,
        "manager": device.manager,
        "this": device.this,
    }


def _line(device: DeviceInfo) -> str:
    marks = [word for word, holds in (("manager", device.manager), ("this", device.this)) if holds]
    return "  ".join([device.address, *marks])
