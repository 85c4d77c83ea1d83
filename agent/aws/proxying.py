"""botocore's calls through the proxy of the bootstrap file, by the agent's rules."""

from __future__ import annotations

import base64
from typing import Any

from agent.host import proxy_url
from agent.host.proxy import Proxies


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


def install(client: Any, proxies: Proxies) -> None:  # noqa: ANN401 - any service's
    """Let a client decide by these rules. botocore has no setting for it."""
    client._endpoint.http_session._proxy_config = Rules(proxies)  # noqa: SLF001 - botocore has no setter for it
