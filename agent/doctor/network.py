"""The way to AWS: the proxy, and the names that are asked for without one."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
from collections.abc import Iterator, Mapping
from functools import partial

from agent.aws import ecr
from agent.aws.credentials import Credentials, Keys
from agent.aws.session import AwsSession
from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok, warn
from agent.errors import AwsError, DeadlineExceeded
from agent.host import proxy_url
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.secret import Secret

CONNECT_SECONDS = 1.5
# Without these no role comes up; the others matter only to a manifest that takes from them.
_ALWAYS = ("s3", "ecr", "registry")


def hosts(facts: Facts) -> dict[str, str]:
    """The host names that a run talks to, by service, as the SDK makes them of region and settings."""
    loaded, nobody = facts.bootstrap, Keys(Secret("none"), Secret("none"))
    session = AwsSession(
        loaded.region, Credentials(source="none", fetch=lambda: nobody), facts.proxies, facts.variables
    )
    registry = loaded.registry.partition("/")[0]
    region = ecr.region_of(registry)
    urls = {
        "s3": session.s3().meta.endpoint_url,
        "ssm": session.ssm().meta.endpoint_url,
        "secretsmanager": session.secrets_manager().meta.endpoint_url,
        "ecr": session.ecr(region).meta.endpoint_url if region else "",
        "registry": f"https://{registry}",
    }
    names = {service: urllib.parse.urlsplit(url).hostname for service, url in urls.items()}
    return {service: name for service, name in names.items() if name}


def endpoints(facts: Facts) -> Iterator[Line]:
    """Whom a run asks. A check of its own, since loading the SDK takes a slow host seconds, which are no network's."""
    facts.hosts = hosts(facts)
    yield ok(", ".join(dict.fromkeys(facts.hosts.values())))


def proxy(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The proxy takes connections."""
    proxies = facts.proxies
    urls = {url.reveal(): url for url in (proxies.https, proxies.http) if url}
    if not urls:
        yield ok("none is set")
        return
    used = any(proxies.for_host(name, 443, tls=True) for name in facts.hosts.values())
    for text in urls:
        where = urllib.parse.urlsplit(proxy_url.normal(text))
        host, port = where.hostname or "", where.port or (443 if where.scheme == "https" else 80)
        why = connect(host, port, deadline)
        if not why:
            yield ok(f"{host}:{port} takes connections")
            continue
        fix = "start it (Squid), or correct HTTPS_PROXY and HTTP_PROXY; the Docker engine cannot pull without it either"
        error = AwsError(f"connecting to the proxy {host}:{port}", why, fix)
        yield fail(error) if used else warn(f"{error}; nothing of AWS goes through it", fix)


def connect(host: str, port: int, deadline: Deadline) -> str:
    """Why no connection can be made; empty when one can. Nothing is sent."""
    try:
        with contextlib.closing(socket.create_connection((host, port), deadline.share(CONNECT_SECONDS).left() or 0.1)):
            return ""
    except TimeoutError:
        return "no answer in time"
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)


def names(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The names that are asked for without a proxy resolve."""
    proxies = facts.proxies
    direct = {service: name for service, name in facts.hosts.items() if proxies.for_host(name, 443, tls=True) is None}
    if not direct:
        yield ok("left to the proxy")
        return
    why = _unresolved(direct, deadline.share(2.0))
    lost = ", ".join(f"{direct[service]} ({reason})" for service, reason in why.items())
    fix = (
        "see /etc/resolv.conf and `resolvectl status`, the VPC's DNS settings and AWS_REGION; a private subnet needs"
        " VPC endpoints, a NAT or a proxy"
    )
    if len(why) == len(direct) or any(service in why for service in _ALWAYS):
        yield fail(AwsError("resolving the names of AWS", lost, fix))
    elif why:
        yield warn(f"do not resolve: {lost}", fix)
    else:
        yield ok(f"{len(direct)} names of AWS resolve")


def _unresolved(wanted: Mapping[str, str], deadline: Deadline) -> dict[str, str]:
    """Why a name has no address, by service."""
    group, jobs = SideBySide(deadline), {}
    with contextlib.suppress(DeadlineExceeded), group:
        jobs = {service: group.start(f"resolving {name}", partial(_resolve, name)) for service, name in wanted.items()}
    why = {service: job.result() if job.done else "no answer in time" for service, job in jobs.items()}
    return {service: reason for service, reason in why.items() if reason}


def _resolve(name: str) -> str:
    try:
        socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""
