"""The certificate that the nodes of a cluster show to each other."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.certs import make_certificates
from broker.errors import UnsafeError
from broker.generate.deploy import require_safe_deployment
from broker.generate.routes import unfit_certificate
from broker.settings import BrokerSettings
from tests.brokers.certificates import write_certificate

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def cluster(certificate: Path, key: Path, ca: Path | None) -> BrokerSettings:
    return BrokerSettings(
        data_dir=certificate.parent,
        broker="nats",
        tls_cert=certificate,
        tls_key=key,
        tls_ca=ca,
        cluster_nodes=("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        public_urls=("mqtts://127.0.0.1:1883", "mqtts://127.0.0.1:1884"),
    )


def test_what_ratchetmq_certs_makes_is_fit(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, ["mq1.example"])
    settings = cluster(made.certificate, made.key, made.ca)
    assert list(unfit_certificate(settings)) == []
    require_safe_deployment(settings)


@pytest.mark.parametrize(
    ("usages", "about"),
    [
        ([], None),
        ([SERVER, CLIENT], None),
        ([ANY], None),
        ([SERVER], "a client's"),
        ([CLIENT], "a server's"),
    ],
)
def test_a_certificate_has_to_be_a_servers_and_a_clients(
    usages: list[x509.ObjectIdentifier], about: str | None, tmp_path: Path
) -> None:
    certificate, key = write_certificate(tmp_path, usages=usages)
    settings = cluster(certificate, key, certificate)
    told = list(unfit_certificate(settings))
    assert (about is None and not told) or (len(told) == 1 and str(about) in told[0])
    if about is not None:
        with pytest.raises(UnsafeError, match=about):
            require_safe_deployment(settings)


def test_a_certificate_of_another_ca_is_told(tmp_path: Path) -> None:
    own = make_certificates(tmp_path / "own", ["mq1.example"])
    other = make_certificates(tmp_path / "other", ["mq1.example"])
    (told,) = unfit_certificate(cluster(own.certificate, own.key, other.ca))
    assert "was not issued by" in told


def test_a_ca_that_is_missing_is_told(tmp_path: Path) -> None:
    own = make_certificates(tmp_path, ["mq1.example"])
    (told,) = unfit_certificate(cluster(own.certificate, own.key, tmp_path / "missing.pem"))
    assert "missing.pem" in told


def test_nothing_is_asked_of_a_server_alone_or_of_nodes_without_tls_between_them(
    tmp_path: Path,
) -> None:
    certificate, key = write_certificate(tmp_path, usages=[SERVER])
    alone = cluster(certificate, key, certificate).model_copy(update={"cluster_nodes": ()})
    assert list(unfit_certificate(alone)) == []
    assert list(unfit_certificate(cluster(certificate, key, None))) == []
