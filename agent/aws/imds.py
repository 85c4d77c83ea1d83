"""The instance metadata service, version 2 only, on a client of its own.

Never through a proxy (`imds_wire`). The schema is pinned (`SCHEMA`); the token is asked for once and again when it is
refused (401). With no endpoint configured, the IPv4 and the IPv6 address are asked at the same time and the first to
give a token is used. What stands in the way is told by its cause: disabled, hop limit, no route, refused, failing.
Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import http.client
import queue
import re
import threading
from collections.abc import Mapping, Sequence

from agent.aws import imds_wire
from agent.aws.imds_wire import Answer, Endpoint, NoAnswerError
from agent.errors import ImdsError
from agent.host import retry
from agent.host.clock import Clock, Deadline
from agent.report import record
from agent.secret import Secret

SCHEMA = "2021-07-15"
TOKEN_SECONDS = 21600
# For one whole request. The service is on the same machine: a healthy one answers in milliseconds.
ANSWER_SECONDS = 2.0
HASTY_SECONDS = 0.5
# Metadata can be absent for minutes after a start (cloud-init doubled its wait to 240 s after real misses).
BUDGET_SECONDS = 240.0

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_PASSING = frozenset({http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS})


class _NotFoundError(Exception):
    """404."""


class Imds:
    """A client for one instance; safe across threads. Every method waits within the deadline that it is given.

    Raises `BootstrapError` when the configured endpoint cannot be one.
    """

    def __init__(self, variables: Mapping[str, str], seconds: float = ANSWER_SECONDS) -> None:
        self._endpoints = imds_wire.endpoints(variables)
        self.seconds = seconds
        """The bound of one request."""
        # Endpoint and token belong together, and a refresh in another thread replaces both at once.
        self._door: tuple[Endpoint, Secret] | None = None
        self.configured = bool(variables.get(imds_wire.CONFIGURED, "").strip())
        """Whether somebody said where the service is: then it is there, whatever the firmware says."""
        self.disabled = variables.get("AWS_EC2_METADATA_DISABLED", "").strip().lower() == "true"
        """Whether somebody said that it must not be asked, in the words of the SDKs."""
        self.ahead: dt.timedelta | None = None
        """By how much this host's clock was ahead of the service's at the last answer; None when it has not said."""

    def hasty(self) -> Imds:
        """A client of the same service for what is only good to know: it gives up on a request after half a second."""
        other = copy.copy(self)
        other.seconds = HASTY_SECONDS
        return other

    def wait(self, deadline: Deadline) -> None:
        """Return when the service has given a token; `ImdsError` with a diagnosis when it has not in time."""
        share = deadline.share(BUDGET_SECONDS)

        doing = record.doing("imds", "token")

        def tell(error: BaseException) -> None:
            doing.again()
            record.progress(waiting_for=f"IMDS ({error})")

        try:
            with doing:
                retry.until(share, lambda: self._connect(share.clock), on=(NoAnswerError,), tell=tell)
        except NoAnswerError as error:
            where = " and ".join(endpoint.url for endpoint in self._endpoints)
            raise ImdsError(
                f"waiting for the instance metadata service at {where}",
                f"no token within {share.seconds:.0f} s; the last try: {error}",
                error.next_step,
            ) from error

    def get(self, path: str, deadline: Deadline) -> str | None:
        """The text at `path` (`meta-data/instance-id`), None when there is none (404)."""
        # What comes after the second part may be the name of a role or of a tag.
        doing = record.doing("imds", "/".join(path.split("/")[:2]))
        try:
            with doing, contextlib.suppress(_NotFoundError):
                return retry.until(
                    deadline,
                    lambda: self._read(path, deadline.clock),
                    on=(NoAnswerError,),
                    tell=lambda _: doing.again(),
                )
        except NoAnswerError as error:
            raise ImdsError(
                f"reading {path} from the instance metadata service", f"the last try: {error}", error.next_step
            ) from error
        return None

    def _connect(self, clock: Clock) -> tuple[Endpoint, Secret]:
        """Ask every endpoint for a token at the same time; keep the first that gives one."""
        answers: queue.SimpleQueue[tuple[Endpoint, Answer | Exception]] = queue.SimpleQueue()

        def put(endpoint: Endpoint) -> None:
            try:
                answers.put((endpoint, _put_token(endpoint, self.seconds)))
            except Exception as error:  # noqa: BLE001 - the top of a thread: who waits for it would wait for ever, and raises it as it is
                answers.put((endpoint, error))

        for endpoint in self._endpoints:
            threading.Thread(target=put, args=(endpoint,), name=f"imds {endpoint.url}", daemon=True).start()
        failures: dict[Endpoint, Exception] = {}
        for _ in self._endpoints:
            endpoint, answer = answers.get()
            if isinstance(answer, Answer):
                self._compare_clocks(answer, clock)
                self._door = (endpoint, Secret(answer.body))
                return self._door
            failures[endpoint] = answer
        raise _verdict([failures[endpoint] for endpoint in self._endpoints])

    def _read(self, path: str, clock: Clock) -> str:
        answer = self._get(self._door or self._connect(clock), path)
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            answer = self._get(self._connect(clock), path)
        self._compare_clocks(answer, clock)
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            raise NoAnswerError("the token is refused (401), a new one too", 3)
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise _NotFoundError
        if answer.status == http.HTTPStatus.FORBIDDEN:
            raise _disabled(f"reading {path} from the instance metadata service")
        if answer.status != http.HTTPStatus.OK:
            raise imds_wire.of_status(answer.status, "")
        return answer.body

    def _get(self, door: tuple[Endpoint, Secret], path: str) -> Answer:
        endpoint, token = door
        headers = {"X-aws-ec2-metadata-token": token.reveal()}
        return imds_wire.ask(endpoint, "GET", f"/{SCHEMA}/{path}", headers, self.seconds)

    def _compare_clocks(self, answer: Answer, clock: Clock) -> None:
        if answer.date is not None:
            self.ahead = clock.now() - answer.date


def _put_token(endpoint: Endpoint, seconds: float) -> Answer:
    doing = f"asking the instance metadata service at {endpoint.url} for a token"
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
    answer = imds_wire.ask(endpoint, "PUT", "/latest/api/token", headers, seconds)
    status = answer.status
    if status == http.HTTPStatus.FORBIDDEN:
        raise _disabled(doing)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        raise imds_wire.of_status(status, " to the token request")
    if status != http.HTTPStatus.OK or not _TOKEN.fullmatch(answer.body):
        said = "no token" if status == http.HTTPStatus.OK else f"HTTP {status}"
        raise ImdsError(
            doing,
            f"{said} to the token request: what answers there is not EC2's metadata service, or has no version 2",
            "on EC2: look for a proxy or an agent in between (kube2iam, kiam) and see that"
            f" {imds_wire.CONFIGURED} is right; elsewhere: put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the"
            " bootstrap file",
        )
    return answer


def _disabled(doing: str) -> ImdsError:
    return ImdsError(
        doing,
        "HTTP 403: the service is disabled for this instance",
        "enable it: aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required"
        " --instance-id ID",
    )


def _verdict(failures: Sequence[Exception]) -> Exception:
    """Of what the endpoints failed with, the one to raise; the first one's decides whether another try is worth it.

    An instance may have the service turned off at its IPv6 address alone: that is no reason not to wait for the other.
    """
    worst = max(failures, key=_weight)
    if isinstance(worst, ImdsError) and isinstance(failures[0], NoAnswerError):
        return NoAnswerError(worst.cause, 4, worst.next_step)
    return worst


def _weight(failure: Exception) -> int:
    """How much a failure says: an answer beats silence, silence beats an address that cannot be reached."""
    return failure.weight if isinstance(failure, NoAnswerError) else 9
