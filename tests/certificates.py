"""Certificates of an authority of trustme's: a Redis's and its client's; and of a client of RabbitMQ, since
Erlang takes none of those that trustme makes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files: who vouches, and what a server on 127.0.0.1 and its client show, each with its key."""

    authority: Path
    server: Path
    client: Path

    def of_redis(self, port: int) -> dict[str, str]:
        """What a Redis, or a sentinel, is configured with, to listen on this port with TLS and demand a
        certificate of its clients there; those that it asks itself, it asks with TLS.
        """
        return {
            "tls-port": str(port),
            "tls-cert-file": str(self.server),
            "tls-key-file": str(self.server),
            "tls-ca-cert-file": str(self.authority),
            "tls-replication": "yes",
        }

    @property
    def of_client(self) -> dict[str, Any]:
        """What redis-py is told of all that."""
        paths = {"ca_certs": self.authority, "certfile": self.client, "keyfile": self.client}
        return {"ssl": True, **{f"ssl_{name}": str(path) for name, path in paths.items()}}

    @property
    def query(self) -> str:
        """What a URL says of all that."""
        return f"ssl_ca_certs={self.authority}&ssl_certfile={self.client}&ssl_keyfile={self.client}"

    def distrust(self) -> None:
        """From now on, the authority's file is of another one."""
        trustme.CA().cert_pem.write_to_path(str(self.authority))


def write_certificates(folder: Path) -> Certificates:
    """Make an authority, which vouches for both."""
    made = Certificates(
        authority=folder / "authority.pem", server=folder / "server.pem", client=folder / "client.pem"
    )
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(made.authority))
    for path in (made.server, made.client):
        trusted.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return made


def write_client_certificate(authority: trustme.CA, path: Path) -> None:
    """A certificate that says who a client is, and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    signer = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
