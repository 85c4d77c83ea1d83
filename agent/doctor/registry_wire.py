"""One question to the registry, asked as the engine would ask it: through the proxy where one is set for it."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping

from agent.aws.trust import authorities
from agent.dataclass import dataclass
from agent.doctor.facts import Facts
from agent.errors import AgentError, RegistryError
from agent.host import proxy_url
from agent.host.clock import Deadline


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the registry answered; `date` is empty when it did not say."""

    status: int
    reason: str
    date: str


@dataclass(frozen=True, kw_only=True)
class _Way:
    """To a registry: its host and port, whom to trust, how long to wait for each word."""

    host: str
    port: int
    trust: ssl.SSLContext
    seconds: float


def head(facts: Facts, registry: str, path: str, headers: Mapping[str, str], deadline: Deadline) -> Answer:
    """The answer to a HEAD. Raises `RegistryError` when there is none."""
    host, _, port = registry.partition(":")
    proxy = facts.proxies.for_host(host, int(port or http.client.HTTPS_PORT), tls=True)
    url = proxy_url.normal(proxy.reveal()) if proxy else ""
    try:
        way = _Way(
            host=host,
            port=int(port or http.client.HTTPS_PORT),
            trust=ssl.create_default_context(cafile=authorities(facts.variables)),
            seconds=max(0.1, deadline.left()),
        )
        if url.startswith("https:"):
            return _by_tls_proxy(way, url, path, headers)
        return _asked(_connection(way, url), path, headers)
    except (OSError, http.client.HTTPException) as error:  # the file of authorities, too
        raise _unreached(registry, error) from error


def _asked(connection: http.client.HTTPSConnection, path: str, headers: Mapping[str, str]) -> Answer:
    try:
        connection.request("HEAD", path, headers=dict(headers))
        answer = connection.getresponse()
        return Answer(status=answer.status, reason=answer.reason, date=answer.headers.get("Date", ""))
    finally:
        connection.close()


def _connection(way: _Way, url: str) -> http.client.HTTPSConnection:
    """Direct, or with a `url` by a proxy that is spoken to in plain text."""
    if not url:
        return http.client.HTTPSConnection(way.host, way.port, timeout=way.seconds, context=way.trust)
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(
        where.hostname or "", where.port or http.client.HTTP_PORT, timeout=way.seconds, context=way.trust
    )
    connection.set_tunnel(way.host, way.port, _authorization(url))
    return connection


def _by_tls_proxy(way: _Way, url: str, path: str, headers: Mapping[str, str]) -> Answer:
    """By a proxy that is spoken to in TLS, which has the registry's TLS inside: `http.client` knows no such thing.

    With urllib3, as runs do it; it is loaded by then, since a login was asked for.
    """
    import urllib3

    timeout = urllib3.Timeout(connect=way.seconds, read=way.seconds)
    try:
        with urllib3.ProxyManager(
            url,
            proxy_headers=_authorization(url),
            proxy_ssl_context=way.trust,
            ssl_context=way.trust,
            timeout=timeout,
            retries=False,
        ) as manager:
            asked = f"https://{way.host}:{way.port}{path}"
            answer = manager.request("HEAD", asked, headers=dict(headers), redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise _first(error) from error
    return Answer(status=answer.status, reason=answer.reason or "", date=answer.headers.get("Date", ""))


def _authorization(url: str) -> dict[str, str]:
    pair = proxy_url.credentials(url)
    if pair is None:
        return {}
    return {"Proxy-Authorization": f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}"}


def _first(error: BaseException) -> OSError | http.client.HTTPException:
    """What the system or the wire said, of which urllib3 made other errors, one of the other."""
    found = (each for each in _behind(error) if isinstance(each, OSError | http.client.HTTPException))
    return next(found, OSError(str(error)))


def _behind(error: BaseException) -> Iterator[BaseException]:
    """It, and what it was made of, which urllib3 keeps in its arguments where it was never raised."""
    yield error
    for each in (error.__cause__, error.__context__, *error.args):
        if isinstance(each, BaseException):
            yield from _behind(each)


def _unreached(registry: str, error: OSError | http.client.HTTPException) -> AgentError:
    fix = "see that this host reaches the registry (route, security group, VPC endpoint ecr.dkr, proxy)"
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = f"TLS: {error.verify_message}"
        fix = "check the clock; if a proxy inspects TLS, install its authority on the host"
    else:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return RegistryError(f"connecting to {registry}", cause, fix)
