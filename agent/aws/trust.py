"""Which certificate authorities the agent's own TLS connections trust: the host's, as the Docker engine does.

botocore ships a list of its own; a host behind a TLS-inspecting proxy, or with a private endpoint, has its authority
in the system store, where curl and dockerd look. An explicit file wins.
"""

from __future__ import annotations

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
