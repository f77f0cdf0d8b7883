"""TLS before MQTT: whom a connection trusts, and what is told of those it does not."""

import hashlib
import hmac
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Protocol

from client_sdk.transport.chain import presented_chain
from client_sdk.transport.errors import (
    BrokerNotTrustedError,
    CertificateExpiredError,
    TlsTooOldError,
    WrongCaError,
    WrongHostError,
)
from client_sdk.transport.urls import BrokerAddress

LOOK_SECONDS: Final = 5.0
"""How long connecting and each step of the first handshake may take; paho's own bound."""

# OpenSSL's numbers of what was wrong with a certificate (x509_vfy.h).
_NOT_VALID_NOW: Final = frozenset({9, 10})
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21, 24, 26})
_OTHER_NAME: Final = frozenset({62, 64})
_OTHER_VERSION: Final = ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW")
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")


class CaMemory(Protocol):
    """Where a device keeps the certificate of the CA that it pinned."""

    async def pinned_ca(self) -> bytes | None:
        """Return the certificate in DER, None before the first connection."""
        ...

    async def keep_pinned_ca(self, certificate: bytes) -> None:
        """Keep it in place of an earlier one."""
        ...


class PassingMemory:
    """Keeps the certificate as long as the process runs."""

    def __init__(self) -> None:
        """Start empty."""
        self._certificate: bytes | None = None

    async def pinned_ca(self) -> bytes | None:
        """Return the certificate, see ``CaMemory``."""
        return self._certificate

    async def keep_pinned_ca(self, certificate: bytes) -> None:
        """Keep it, see ``CaMemory``."""
        self._certificate = certificate


@dataclass(frozen=True, slots=True)
class CaPin:
    """The one private CA that a device trusts, by SHA-256 of its certificate."""

    fingerprint: bytes
    memory: CaMemory

    def names(self, certificate: bytes) -> bool:
        """Tell whether a certificate in DER is the pinned one."""
        return hmac.compare_digest(hashlib.sha256(certificate).digest(), self.fingerprint)


def public_context() -> ssl.SSLContext:
    """Return the TLS settings that trust the system's authorities; reads files."""
    return _checking(ssl.create_default_context())


def pinned_context(certificate: bytes) -> ssl.SSLContext:
    """Return the TLS settings that trust one CA and nobody else.

    Args:
        certificate: The CA's, in DER.

    Raises:
        BrokerNotTrustedError: It is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError) as error:
        raise BrokerNotTrustedError(
            "the pinned CA is no certificate that TLS here can use; nothing was sent; ask for a "
            "new invitation"
        ) from error
    return _checking(context)


def pinned_certificate(address: BrokerAddress, pin: CaPin) -> bytes:
    """Ask a server for its certificates and return the pinned one; blocks.

    The handshake verifies nothing, so nothing follows it: the connection is closed before a byte
    of MQTT or HTTP, and what was learned counts only by its fingerprint.

    Raises:
        WrongCaError: The server did not show the pinned certificate.
        BrokerNotTrustedError: It does not speak TLS from 1.2 on.
        OSError: It did not answer.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = _socket_class(address)
    where = (address.host, address.port)
    with (
        socket.create_connection(where, timeout=LOOK_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=address.host) as connected,
    ):
        for certificate in presented_chain(connected):
            if pin.names(certificate):
                return certificate
    raise wrong_ca(address)


def bound_to(context: ssl.SSLContext, address: BrokerAddress) -> ssl.SSLContext:
    """Have failed handshakes of a context raise what they mean for this address."""
    context.sslsocket_class = _socket_class(address)
    return context


def wrong_ca(address: BrokerAddress) -> WrongCaError:
    """Return the error of a server that is not under the trusted CA."""
    return WrongCaError(
        f"the certificate of {address.authority} is of an authority that this device does not "
        "trust: somebody may stand between, or the server has a new CA; nothing was sent; ask the "
        "operator, and take a new invitation if the CA was changed"
    )


def refusal(error: ssl.SSLError, address: BrokerAddress) -> BrokerNotTrustedError | None:
    """Return what a failed handshake means; None where the connection only broke off."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _refused_certificate(error, address)
    reason = getattr(error, "reason", None) or ""  # only what OpenSSL raised has one
    if any(one in reason for one in _OTHER_VERSION):
        return TlsTooOldError(
            f"{address.authority} speaks no TLS from version 1.2 on; nothing was sent; the "
            "operator has to update the server"
        )
    if any(one in reason for one in _NO_TLS):
        return BrokerNotTrustedError(
            f"{address.authority} does not speak TLS; nothing was sent; check scheme and port of "
            "the address"
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    return BrokerNotTrustedError(
        f"TLS with {address.authority} failed ({reason or 'no reason given'}); nothing was sent; "
        "ask the operator"
    )


def _refused_certificate(
    error: ssl.SSLCertVerificationError, address: BrokerAddress
) -> BrokerNotTrustedError:
    number = error.verify_code
    if number in _NOT_VALID_NOW:
        return CertificateExpiredError(
            f"the certificate of {address.authority} is not valid now: it has expired, or this "
            "device's clock is wrong; nothing was sent; the operator renews it with "
            "`ratchetmq certs`"
        )
    if number in _OTHER_NAME:
        return WrongHostError(
            f"the certificate of {address.authority} is not for {address.host}; nothing was sent; "
            "use the name that the operator gave, or have it added with `ratchetmq certs --host`"
        )
    if number in _UNKNOWN_ISSUER:
        return wrong_ca(address)
    return BrokerNotTrustedError(
        f"the certificate of {address.authority} was refused ({error.verify_message}); nothing "
        "was sent; ask the operator"
    )


def _checking(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _socket_class(address: BrokerAddress) -> type[ssl.SSLSocket]:
    """Return a socket whose failed handshake closes it and says what it means."""

    class CheckedSocket(ssl.SSLSocket):
        def __del__(self) -> None:
            self.close()  # paho leaves the socket of a refused WebSocket to the garbage collector

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's
            try:
                super().do_handshake(block)
            except ssl.SSLError as error:
                self.close()
                found = refusal(error, address)
                if found is None:
                    raise
                raise found from error
            except OSError:
                self.close()
                raise

    return CheckedSocket
