"""Whether the nodes of a cluster will take each other's certificates: reads files."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.settings import BrokerSettings
from broker.tls import TlsFileError, issued, read_chain

_BOTH_WAYS = {
    ExtendedKeyUsageOID.SERVER_AUTH: "a server's",
    ExtendedKeyUsageOID.CLIENT_AUTH: "a client's, which nodes are to each other",
}


def unfit_certificate(settings: BrokerSettings) -> Iterator[str]:
    """Yield why nodes would refuse the certificate in ``settings``; nothing without a cluster's CA.

    nats-server would start, and its nodes never find each other.
    """
    if not settings.cluster_nodes or settings.tls_ca is None or settings.tls_cert is None:
        return
    try:
        chain, authorities = read_chain(settings.tls_cert), read_chain(settings.tls_ca)
    except TlsFileError as error:
        yield str(error)
        return
    for usage, what in _BOTH_WAYS.items():
        if not _is_for(chain[0], usage):
            yield (
                f"{settings.tls_cert} is no certificate of {what}: nodes would refuse each other;"
                " make it with `ratchetmq certs`, or ask its authority for both usages"
            )
    if not any(issued(one, authority) for one in chain for authority in authorities):
        yield (
            f"{settings.tls_cert} was not issued by {settings.tls_ca}: nodes would refuse each"
            " other; name the CA of that certificate in tls_ca"
        )


def _is_for(certificate: x509.Certificate, usage: x509.ObjectIdentifier) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True  # without the extension it is for everything
    return usage in found or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found
