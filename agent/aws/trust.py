"""Which certificate authorities the agent's own TLS connections trust: the host's, as the Docker engine does.

botocore ships a list of its own; a host behind a TLS-inspecting proxy, or with a private endpoint, has its authority
in the system store, where curl and dockerd look. An explicit file wins.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path

SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Amazon Linux, Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",
)


def authorities(variables: Mapping[str, str]) -> str | None:
    """The file to trust: AWS_CA_BUNDLE, SSL_CERT_FILE, the system's; None leaves it to botocore's own list."""
    explicit = variables.get("AWS_CA_BUNDLE") or variables.get("SSL_CERT_FILE")
    if explicit:
        return explicit
    return next((name for name in SYSTEM_FILES if Path(name).is_file()), None)


# Where a system keeps the authorities of a file once more, one file each, under the hash of its name.
FOLDERS = {
    "/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs",
    "/etc/pki/tls/certs/ca-bundle.crt": "/etc/pki/ca-trust/extracted/pem/directory-hash",
}
_HASH = re.compile(r"[0-9a-f]{8}\.\d+")


class Authorities:
    """The authorities in a file, of which a context is given only what it needs, as long as that is enough.

    To parse all of them takes 20 ms of CPU, and a connection needs one: where the system has them in a folder too,
    OpenSSL looks for that one there. The folder may lack one (it is not made anew each time that the file is), so a
    server that is not trusted by it is no verdict before the whole file is loaded.
    """

    def __init__(self, path: str, folders: Mapping[str, str] = FOLDERS) -> None:
        self.path = path
        self._folder = folders.get(path)
        self.whole = False
        """Whether all of them are loaded."""

    def load(self, context: ssl.SSLContext) -> None:
        """Let the context trust them; raises `OSError` when the file cannot be read as one."""
        if self._folder is not None and 0 < _count(self.path) <= _hashed(self._folder):
            context.load_verify_locations(capath=self._folder)
        else:
            self.load_whole(context)

    def load_whole(self, context: ssl.SSLContext) -> None:
        """Let it trust all that are in the file. Raises as `load`."""
        context.load_verify_locations(self.path)
        self.whole = True


def _count(path: str) -> int:
    return Path(path).read_bytes().count(b"-----BEGIN CERTIFICATE-----")


def _hashed(folder: str) -> int:
    try:
        return sum(_HASH.fullmatch(item.name) is not None and item.exists() for item in Path(folder).iterdir())
    except OSError:
        return 0
