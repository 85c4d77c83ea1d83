"""The lab's certificate authority: made for one machine, trusted by that machine alone."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab.aws_model import HOST_NAMES, REGION, REGISTRY
from tests.lab.machine import Machine
from tests.lab.tls import BAD, FOLDER, SERVER_CERTIFICATE, SERVER_KEY, SPOILED, bad_certificate

__all__ = ["BAD", "SERVER_CERTIFICATE", "SERVER_KEY", "TRUST_STORE", "Pki"]

TRUST_STORE = "/etc/ssl/certs/ca-certificates.crt"

_DAY = dt.timedelta(days=1)
_NAMES = (REGISTRY, *HOST_NAMES, f"*.{REGION}.amazonaws.com", f"*.s3.{REGION}.amazonaws.com")


class Pki:
    """A CA and one server certificate for all names that the lab serves; and bad ones, to show in its place."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._spoiled: dict[str, str] = {}
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = _name("delphi lab CA")
        authority = (
            _builder(issuer, issuer, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        self.authority = _pem(authority)
        self._server = _pem(_server(issuer, authority_key, key))
        stranger = ec.generate_private_key(ec.SECP256R1())
        self._bad = {
            "unknown CA": _pem(_server(_name("a stranger's CA"), stranger, key)),
            "other name": _pem(_server(issuer, authority_key, key, names=("elsewhere.example",))),
            "expired": _pem(_server(issuer, authority_key, key, until=-_DAY)),
        }
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def install(self) -> None:
        """Put the certificates in place, and the CA into the machine's trust store (its bundle and its folder)."""
        machine = self._machine
        machine.path(FOLDER).mkdir(mode=0o700)
        machine.path(SERVER_CERTIFICATE).write_text(self._server)
        for kind in BAD:
            machine.path(bad_certificate(kind)).write_text(self._bad[kind])
        self.mend()
        machine.path(SERVER_KEY).write_text(self._key)
        machine.path("/etc/ssl/certs/delphi-lab.pem").write_text(self.authority)
        with machine.path(TRUST_STORE).open("a") as store:
            store.write(self.authority)
        folder = "cd /etc/ssl/certs && ln -s delphi-lab.pem $(openssl x509 -noout -subject_hash -in delphi-lab.pem).0"
        machine.run(["sh", "-c", folder], check=True)

    def spoil(self, name: str, kind: str) -> None:
        """Under this name AWS, and the registry while it is watched, show a certificate that is bad (one of `BAD`)."""
        if kind not in BAD:
            raise ValueError(kind)
        self._write({**self._spoiled, name: kind})

    def mend(self) -> None:
        """Only good certificates from now on."""
        self._write({})

    def _write(self, spoiled: dict[str, str]) -> None:
        # Replaced, never rewritten: a server must not read half a file.
        self._spoiled = spoiled
        file = self._machine.path(SPOILED)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(spoiled))
        part.replace(file)

    def client_context(self) -> ssl.SSLContext:
        """For the test process, to talk to the lab's servers."""
        return ssl.create_default_context(cadata=self.authority)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _server(
    issuer: x509.Name,
    authority: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[str] = _NAMES,
    until: dt.timedelta = 30 * _DAY,
) -> x509.Certificate:
    return (
        _builder(_name("delphi lab"), issuer, key, until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.timedelta = 30 * _DAY
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A test may turn the machine's clock-dependent code back a little; a certificate must not be in the way.
        .not_valid_before(now - 7 * _DAY)
        .not_valid_after(now + until)
    )
