"""Which certificate a server of the lab shows: its own, or for some names a bad one, as the test says at the moment.

The choice is made at every handshake, by the name that the client asks for: servers need not be restarted for it.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path

FOLDER = "/.lab/pki"
SERVER_CERTIFICATE = f"{FOLDER}/server.crt"
SERVER_KEY = f"{FOLDER}/server.key"
SPOILED = f"{FOLDER}/spoiled.json"

BAD = ("unknown CA", "other name", "expired")
"""What can be wrong with a certificate; each kind lies beside the good one (`bad_certificate`)."""


def bad_certificate(kind: str) -> str:
    """Where the bad certificate of this kind is; its key is the good one's."""
    return f"{FOLDER}/{kind.replace(' ', '-')}.crt"


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """For a server inside the machine."""
    good = _context(certificate, key)

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        kind = json.loads(Path(SPOILED).read_text()).get(name or "")
        if kind:
            connection.context = _context(bad_certificate(kind), key)

    good.sni_callback = choose
    return good


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
