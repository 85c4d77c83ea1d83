"""The connections of a run's AWS calls: one pool and one TLS context for all clients, and the agent's proxy rules.

Imported when the first client is made: it loads botocore.
"""

from __future__ import annotations

import base64
import socket
import ssl
from typing import TYPE_CHECKING, Any, Protocol

from botocore.httpsession import URLLib3Session, create_urllib3_context, get_cert_path  # noqa: TID253 - its class is made of botocore's; `agent.aws.session` loads this module with the first client

from agent.aws.trust import Authorities
from agent.host import proxy_url
from agent.host.proxy import Proxies

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
    from botocore.config import Config
    from botocore.endpoint import Endpoint
    from botocore.exceptions import BotoCoreError
    from urllib3 import HTTPSConnectionPool


class Client(Protocol):
    """A client of the SDK's, by what its stubs leave out."""

    _endpoint: Endpoint


class Rules:
    """Takes the place of botocore's own `ProxyConfiguration`, which knows one proxy for a client, whoever is asked.

    One client asks several hosts: S3 has one for each bucket and region. And botocore sends a proxy no user without a
    password, and only ASCII.
    """

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self.settings: dict[str, Any] = {}

    def proxy_url_for(self, url: str) -> str | None:
        """The proxy for a request to this address; None for a direct one."""
        proxy = self._proxies.for_url(url)
        return None if proxy is None else proxy.reveal()

    def proxy_headers_for(self, url: str) -> dict[str, str]:
        """What the proxy is sent with a request for a tunnel."""
        pair = proxy_url.credentials(url)
        if pair is None:
            return {}
        return {"Proxy-Authorization": f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}"}


class Connections(URLLib3Session):
    """botocore's own HTTP client, shared by several clients, which looks for the authorities once.

    urllib3 reads their file for every connection anew, and parses its 140 certificates: 15 ms of CPU each time. A file
    that cannot be read is left to urllib3, so that the calls tell of it.
    """

    def __init__(self, authorities: Authorities | None, proxies: Proxies, config: Config) -> None:
        given: Any = config
        self._authorities = authorities or Authorities(str(get_cert_path(verify=True)))
        self.trust = _trusting(self._authorities)
        settings: dict[str, Any] = {
            "verify": True if authorities is None else authorities.path,
            "timeout": (given.connect_timeout, given.read_timeout),
            "max_pool_connections": given.max_pool_connections,
            "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        }
        super().__init__(**settings)
        self._proxy_config = Rules(proxies)

    def serve(self, client: Client) -> None:
        """Have a client make its calls here."""
        client._endpoint.http_session = self  # noqa: SLF001 - a client of botocore makes its own, and has no public way to be given one

    def send(self, request: AWSRequest | AWSPreparedRequest) -> AWSResponse:
        """The answer; a server or proxy that is not trusted is asked again once, when all authorities are loaded."""
        from botocore.exceptions import ProxyConnectionError, SSLError

        whole = self._authorities.whole
        try:
            return super().send(request)
        except (SSLError, ProxyConnectionError) as error:
            if whole or self.trust is None or not _is_of_tls(error):
                raise
        self._authorities.load_whole(self.trust)
        return super().send(request)

    def _get_ssl_context(self) -> ssl.SSLContext:
        return self.trust or create_urllib3_context()

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext | None:
        """For a proxy that is spoken to in TLS: the same trust, and not the list that Python was built with."""
        return self.trust

    def _setup_ssl_cert(self, conn: HTTPSConnectionPool, url: str, verify: object) -> None:
        super()._setup_ssl_cert(conn, url, verify)  # type: ignore[misc] # the stubs leave it out
        if self.trust is not None:
            conn.ca_certs = None


def _is_of_tls(error: BotoCoreError) -> bool:
    """Whether TLS failed: that with a server, or that with a proxy, which may as well have been out of reach."""
    from botocore.exceptions import SSLError
    from urllib3.exceptions import SSLError as NotTrusted

    if isinstance(error, SSLError):
        return True
    return isinstance(getattr(error.kwargs.get("error"), "original_error", None), NotTrusted)


def _trusting(authorities: Authorities) -> ssl.SSLContext | None:
    """A context that trusts them; None when they cannot be read."""
    context: ssl.SSLContext = create_urllib3_context()
    try:
        authorities.load(context)
    except OSError:
        return None
    # botocore leaves the server's name to urllib3; here OpenSSL looks at it, for whoever uses the context.
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    return context
