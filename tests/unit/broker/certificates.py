"""Certificates that `ratchetmq certs` would not make: expired, for other hosts, of other CAs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.certs import CA_LIFETIME, Certificates, make_certificates

HOSTS = ("localhost", "127.0.0.1")
A_YEAR = timedelta(days=365)


def made(folder: Path, hosts: tuple[str, ...] = HOSTS) -> Certificates:
    return make_certificates(folder, hosts)


def expired(folder: Path) -> Certificates:
    """A certificate that ended a year ago, under a CA that is still valid."""
    return make_certificates(folder, HOSTS, days=30, now=datetime.now(UTC) - A_YEAR)


def under_an_expired_ca(folder: Path) -> Certificates:
    return make_certificates(folder, HOSTS, now=datetime.now(UTC) - CA_LIFETIME - A_YEAR)
