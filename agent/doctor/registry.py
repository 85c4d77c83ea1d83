"""The registry: it can be reached, takes the token, and has the images that the project names."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.parse
from collections.abc import Iterator
from functools import partial

from agent.aws.ecr import MANIFESTS, Login
from agent.aws.trust import authorities
from agent.doctor import images as project_images
from agent.doctor.facts import Facts
from agent.doctor.images import Image
from agent.doctor.line import Line, fail, ok, warn
from agent.errors import AccessDenied, AgentError, ImageMissing, RegistryError
from agent.host import image_names, proxy_url
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.report.words import amount

_UNKNOWN = (
    "give the names in it a value (vars.yaml, bootstrap file); `delphi-agent plan` shows what Compose makes of it"
)


def images(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """Every image of the project that lies in this registry is there, under the tag that is wanted."""
    if facts.login is None:
        yield ok("not asked: the registry is not ECR, the host's own logins are used")
        return
    login = facts.login
    wanted = list(_of_project(facts))
    names = sorted({image.name for image in wanted if not image.why})
    mine = [name for name in names if name.startswith(f"{login.registry}/")]
    try:
        with SideBySide(deadline) as group:
            for name in mine:
                group.start(f"asking for {name}", partial(_expect, facts, login, name, deadline))
    except AgentError as error:
        yield from (fail(part) for part in error.parts())
    else:
        others = [name for name in names if name not in mine]
        more = f"; of other registries, not asked for: {', '.join(others)}" if others else ""
        yield ok(f"{amount(len(mine), 'image')} in the registry{more}")
    for image in wanted:
        if image.why:
            yield warn(f"not asked for: {image.text}: {image.why}", _UNKNOWN)


def _of_project(facts: Facts) -> Iterator[Image]:
    """The images of the project, as far as they can be told without Compose."""
    settled = facts.resolution
    environment = {name: value.reveal() for name, value in settled.environment.items()} if settled else None
    return project_images.of(
        facts.composed, project_images.values_of(facts.bootstrap.variables, facts.manifest, environment)
    )


def _expect(facts: Facts, login: Login, name: str, deadline: Deadline) -> None:
    """Raise for an image that cannot be pulled: its manifest is asked for, and not fetched."""
    repository = image_names.repository(name).partition("/")[2]
    which = name.partition("@")[2] or image_names.tag(name)
    status, reason = _head(facts, login, f"/v2/{repository}/manifests/{which}", deadline)
    doing = f"asking the registry for {name}"
    if status == http.HTTPStatus.NOT_FOUND:
        raise ImageMissing(
            doing, "the registry has no such image", "push it, or correct ECR_TAG (`aws ecr describe-images`)"
        )
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        raise AccessDenied(
            doing,
            f"the registry refuses (HTTP {status})",
            "give the instance ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on the repository",
        )
    if status != http.HTTPStatus.OK:
        raise RegistryError(doing, f"HTTP {status} {reason}", "run it again; if it stays so, look at the registry")


def _head(facts: Facts, login: Login, path: str, deadline: Deadline) -> tuple[int, str]:
    try:
        connection = _connection(facts, login.registry, deadline)
    except OSError as error:  # the file of authorities
        raise _unreached(login.registry, error) from error
    try:
        connection.request("HEAD", path, headers={"Authorization": login.authorization, "Accept": MANIFESTS})
        answer = connection.getresponse()
        facts.compare_clock(answer.headers.get("Date", ""))
    except (OSError, http.client.HTTPException) as error:
        raise _unreached(login.registry, error) from error
    else:
        return answer.status, answer.reason
    finally:
        connection.close()


def _connection(facts: Facts, registry: str, deadline: Deadline) -> http.client.HTTPSConnection:
    """To the registry, as the engine would make it: through the proxy where one is set for it."""
    host, _, port = registry.partition(":")
    context = ssl.create_default_context(cafile=authorities(facts.variables))
    seconds = max(0.1, deadline.left())
    proxy = facts.proxies.for_host(host, int(port or 443), tls=True)
    if proxy is None:
        return http.client.HTTPSConnection(host, int(port or 443), timeout=seconds, context=context)
    url = proxy.reveal()
    where = urllib.parse.urlsplit(proxy_url.normal(url))
    connection = http.client.HTTPSConnection(where.hostname or "", where.port or 80, timeout=seconds, context=context)
    pair = proxy_url.credentials(url)
    word = base64.b64encode(":".join(pair).encode()).decode() if pair else ""
    connection.set_tunnel(host, int(port or 443), {"Proxy-Authorization": f"Basic {word}"} if pair else {})
    return connection


def _unreached(registry: str, error: OSError | http.client.HTTPException) -> AgentError:
    fix = "see that this host reaches the registry (route, security group, VPC endpoint ecr.dkr, proxy)"
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = f"TLS: {error.verify_message}"
        fix = "check the clock; if a proxy inspects TLS, install its authority on the host"
    else:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return RegistryError(f"connecting to {registry}", cause, fix)
