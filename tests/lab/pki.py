"""The lab's certificate authority: made for one machine, trusted by that machine alone."""

from __future__ import annotations

import datetime as dt
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab.aws_model import HOST_NAMES, REGION, REGISTRY
from tests.lab.machine import Machine

SERVER_CERTIFICATE = "/.lab/pki/server.crt"
SERVER_KEY = "/.lab/pki/server.key"
TRUST_STORE = "/etc/ssl/certs/ca-certificates.crt"

_NAMES = (REGISTRY, *HOST_NAMES, f"*.{REGION}.amazonaws.com", f"*.s3.{REGION}.amazonaws.com")


class Pki:
    """A CA and one server certificate for all names that the lab serves."""

    def __init__(self) -> None:
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = _name("delphi lab CA")
        authority = (
            _builder(issuer, issuer, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        server = (
            _builder(_name("delphi lab"), issuer, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in _NAMES]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        self.authority = authority.public_bytes(serialization.Encoding.PEM).decode()
        self._server = server.public_bytes(serialization.Encoding.PEM).decode()
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def install(self, machine: Machine) -> None:
        """Put the certificates in place, and the CA into the machine's trust store (its bundle and its folder)."""
        machine.path("/.lab/pki").mkdir(mode=0o700)
        machine.path(SERVER_CERTIFICATE).write_text(self._server)
        machine.path(SERVER_KEY).write_text(self._key)
        machine.path("/etc/ssl/certs/delphi-lab.pem").write_text(self.authority)
        with machine.path(TRUST_STORE).open("a") as store:
            store.write(self.authority)
        folder = "cd /etc/ssl/certs && ln -s delphi-lab.pem $(openssl x509 -noout -subject_hash -in delphi-lab.pem).0"
        machine.run(["sh", "-c", folder], check=True)

    def client_context(self) -> ssl.SSLContext:
        """For the test process, to talk to the lab's servers."""
        return ssl.create_default_context(cadata=self.authority)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A test may turn the machine's clock-dependent code back a little; a certificate must not be in the way.
        .not_valid_before(now - dt.timedelta(days=7))
        .not_valid_after(now + dt.timedelta(days=30))
    )
