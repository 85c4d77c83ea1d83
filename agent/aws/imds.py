"""The instance metadata service, version 2 only, on a client of its own.

Never through a proxy: `http.client` does not look at any proxy variable. The schema is pinned (`SCHEMA`); the token is
asked for once and again when it is refused (401). With no endpoint configured, the IPv4 and the IPv6 address are asked
at the same time and the first to give a token is used.
Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import queue
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any

from agent.aws.session import Keys
from agent.errors import ImdsError
from agent.host import retry
from agent.host.clock import Deadline
from agent.report import record
from agent.secret import Secret

ENDPOINTS = ("http://169.254.169.254", "http://[fd00:ec2::254]")
SCHEMA = "2021-07-15"
TOKEN_SECONDS = 21600
ANSWER_SECONDS = 2.0
# Metadata can be absent for minutes after a start (cloud-init doubled its wait to 240 s after real misses).
BUDGET_SECONDS = 240.0
# A profile that was attached at launch shows up within seconds; none at all should not cost a boot minutes.
ROLE_SECONDS = 15.0


class _NoAnswerError(Exception):
    """Worth another try: refused, timed out, or a server error."""


class _NotFoundError(Exception):
    """404."""


class _NoRoleError(Exception):
    """No instance profile yet."""


class Imds:
    """A client for one instance. Every method waits within the deadline that it is given."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        configured = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/")
        self._endpoints: tuple[str, ...] = (configured,) if configured else ENDPOINTS
        self._base = ""
        self._token = Secret("")

    def wait(self, deadline: Deadline) -> None:
        """Return when the service has given a token; `ImdsError` with a diagnosis when it has not in time."""
        share = deadline.share(BUDGET_SECONDS)

        def tell(error: BaseException) -> None:
            record.progress(waiting_for=f"IMDS ({error})")

        try:
            retry.until(share, self._connect, on=(_NoAnswerError,), tell=tell)
        except _NoAnswerError as error:
            where = " and ".join(self._endpoints)
            raise ImdsError(
                f"waiting for the instance metadata service at {where}",
                f"no token within {share.seconds:.0f} s; the last try: {error}",
                "on EC2: enable the metadata service (HttpEndpoint=enabled, HttpTokens=required) and look at the"
                " host's routes and firewall; elsewhere: put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the"
                " bootstrap file",
            ) from error

    def get(self, path: str, deadline: Deadline) -> str | None:
        """The text at `path` (`meta-data/instance-id`), None when there is none (404)."""
        try:
            return retry.until(deadline, lambda: self._read(path), on=(_NoAnswerError,))
        except _NotFoundError:
            return None
        except _NoAnswerError as error:
            raise ImdsError(
                f"reading {path} from the instance metadata service",
                str(error),
                "run it again; if it stays so, look at the host's routes and firewall for 169.254.169.254",
            ) from error

    def role(self, deadline: Deadline) -> str:
        """The name of the instance's role."""
        share = deadline.share(ROLE_SECONDS)

        def name() -> str:
            listing = self.get("meta-data/iam/security-credentials/", share)
            if not listing or not listing.strip():
                raise _NoRoleError
            return listing.strip().splitlines()[0]

        try:
            return retry.until(
                share,
                name,
                on=(_NoRoleError,),
                most=2.0,
                tell=lambda _: record.progress(waiting_for="an instance profile"),
            )
        except _NoRoleError as error:
            raise ImdsError(
                "asking the instance metadata service for a role",
                "no role is attached to this instance",
                "attach an instance profile to the instance, or put AWS keys into the bootstrap file",
            ) from error

    def keys(self, role: str, deadline: Deadline) -> Keys:
        """The role's temporary credentials."""
        path = f"meta-data/iam/security-credentials/{role}"
        text = self.get(path, deadline)
        document = _json(text or "{}", path)
        if document.get("Code") != "Success":
            raise ImdsError(
                f"reading the credentials of role {role} from the instance metadata service",
                f"the service answers with code {document.get('Code', 'none')!r}",
                "look at the role's trust policy: ec2.amazonaws.com must be allowed to assume it",
            )
        clock = deadline.clock.now()
        if _time(document["Expiration"]) <= clock:
            raise ImdsError(
                f"reading the credentials of role {role} from the instance metadata service",
                f"they expired at {document['Expiration']}, and this host's clock says {clock:%Y-%m-%dT%H:%M:%SZ}",
                "see that the clock is right (`timedatectl`); when it is, wait a minute and run it again",
            )
        return Keys(
            Secret(document["AccessKeyId"]),
            Secret(document["SecretAccessKey"]),
            Secret(document["Token"]),
            document["Expiration"],
        )

    def _connect(self) -> None:
        """Ask every endpoint for a token at the same time; keep the first that gives one."""
        answers: queue.SimpleQueue[tuple[str, str | Exception]] = queue.SimpleQueue()

        def ask(base: str) -> None:
            try:
                answers.put((base, _put_token(base)))
            except Exception as error:  # noqa: BLE001 - whatever it is, the waiting thread must hear of it
                answers.put((base, error))

        for base in self._endpoints:
            threading.Thread(target=ask, args=(base,), name=f"imds {base}", daemon=True).start()
        failures: dict[str, Exception] = {}
        for _ in self._endpoints:
            base, answer = answers.get()
            if isinstance(answer, str):
                self._base, self._token = base, Secret(answer)
                return
            failures[base] = answer
        raise failures[self._endpoints[0]]

    def _read(self, path: str) -> str:
        if not self._base:
            self._connect()
        status, body = _ask(self._base, "GET", f"/{SCHEMA}/{path}", {"X-aws-ec2-metadata-token": self._token.reveal()})
        if status == http.HTTPStatus.UNAUTHORIZED:
            self._connect()
            raise _NoAnswerError("the token was refused (401) and renewed")
        if status == http.HTTPStatus.NOT_FOUND:
            raise _NotFoundError
        if status != http.HTTPStatus.OK:
            raise _NoAnswerError(f"HTTP {status}")
        return body


def _put_token(base: str) -> str:
    status, body = _ask(base, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)})
    if status == http.HTTPStatus.FORBIDDEN:
        raise ImdsError(
            f"asking the instance metadata service at {base} for a token",
            "HTTP 403: the service is disabled for this instance",
            "enable it: aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required",
        )
    if status != http.HTTPStatus.OK:
        raise _NoAnswerError(f"HTTP {status} to the token request")
    return body


def _ask(base: str, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
    url = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=ANSWER_SECONDS)
    connected = False
    try:
        connection.connect()
        connected = True
        connection.request(method, f"{url.path}{path}", headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except TimeoutError as error:
        hop = "; it accepts connections, so in a container the hop limit is too low" if connected else ""
        raise _NoAnswerError(f"no answer within {ANSWER_SECONDS:.0f} s{hop}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _NoAnswerError(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    finally:
        connection.close()


def _json(text: str, path: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ImdsError(
            f"reading {path} from the instance metadata service", f"no JSON: {error}", "run it again"
        ) from error
    return document if isinstance(document, dict) else {}


def _time(text: str) -> dt.datetime:
    """A time as IMDS writes it (`2026-01-01T00:00:00Z`)."""
    return dt.datetime.fromisoformat(text)
