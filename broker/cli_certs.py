"""The command that makes a private CA and the server's certificate."""

from pathlib import Path
from typing import Annotated, Final

import typer

from client_sdk.printing import Output, reported_errors

DEFAULT_DAYS: Final = 397  # that of broker.certs, which loads slowly

app = typer.Typer()


@app.command()
def certs(
    *,
    data: Annotated[Path, typer.Option("--data", help="The server's data directory.")],
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A name or address clients connect to; may be repeated."),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="How long it is valid.")] = DEFAULT_DAYS,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout.")
    ] = False,
) -> None:
    """Make a private CA and a certificate for --tls-cert and --tls-key; again, it renews it.

    The CA stays the same, so devices that were invited under it connect as before; without
    --host the new certificate is for the names of the old one.
    """
    from broker.certs import make_certificates

    with reported_errors():
        made = make_certificates(data, host or (), days)
        fingerprint = made.fingerprint.hex()
        expires = f"{made.expires_at:%Y-%m-%d}"
        Output(json_lines=json_lines).say(
            {
                "tls_cert": str(made.certificate),
                "tls_key": str(made.key),
                "ca": str(made.ca),
                "fingerprint": fingerprint,
                "hosts": list(made.hosts),
                "expires": expires,
                "ca_made": made.ca_made,
            },
            f"certificate: {made.certificate}\nkey: {made.key}\nCA: {made.ca} "
            f"({'new' if made.ca_made else 'as before'})\nCA SHA-256: {fingerprint}\n"
            f"for: {', '.join(made.hosts)}\nuntil: {expires}; run this again before",
        )
