"""What becomes of each attempt of an AWS call: it is counted, and made again only where that can help.

botocore asks (event `needs-retry`) and has no other attempt of its own; `retrying` says after which pause. Here is
what can help: not against refusals and failures that stay, but for answers that are cut off, and keys that expired
before their time.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agent.aws.content import Piece
from agent.aws.failures import ELSEWHERE, EXPIRED, THROTTLED, bucket_region
from agent.aws.retrying import Failure, Retrying
from agent.aws.unanswered import is_final
from agent.host import json_input
from agent.report import record
from agent.report.spans import Doing

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.model import OperationModel

# How often a call is made whose answers are cut off.
CUT_OFF_ATTEMPTS = 4
_FIRST_BAD_STATUS = 300
_TOO_MANY = 429
_SERVER_FAILED = frozenset({500, 502, 503, 504})
# Of answers with another status; the last is of STS, when it cannot ask who gave out a web identity.
_BROKEN = frozenset({"RequestTimeout", "RequestTimeoutException", "IDPCommunicationError"})
# S3 answers 400 to a HEAD that is signed for another region.
_REDIRECTS = frozenset({301, 302, 307, 400})
# In botocore's context of a call: what the timeline keeps of it.
_DOING = "delphi-agent"
_body: contextvars.ContextVar[Doing | None] = contextvars.ContextVar("body", default=None)


class Attempts:
    """Looks after the calls of one client. `renew` gets new keys, and says whether there are any.

    `moved` takes the buckets that are in another region, with it.
    """

    def __init__(self, region: str, retrying: Retrying, renew: Callable[[], bool], moved: dict[str, str]) -> None:
        self._region, self._retrying, self._renew, self._moved = region, retrying, renew, moved

    def watch(self, client: BaseClient) -> None:
        """Have botocore tell of each attempt."""
        # Not as its stubs have it, for whom a handler returns nothing: what `needs-retry` gets back is the pause.
        events: Any = client.meta.events
        events.register("before-call", _began)
        events.register("after-call", _answered)
        events.register("after-call-error", _failed)
        events.register("response-received", self._received)
        events.register("needs-retry", self._settle)
        events.register("needs-retry.s3.HeadBucket", _end_of_redirects)
        if client.meta.service_model.metadata.get("protocol") == "json":
            events.register("needs-retry", _cut_off)

    def _received(
        self,
        response_dict: Mapping[str, Any] | None,
        parsed_response: Mapping[str, Any] | None,
        context: Mapping[str, Any],
        **_: object,
    ) -> None:
        """Count one attempt of a call, answered or not."""
        again = context.get("retries", {}).get("attempt", 1) > 1
        if again and _DOING in context:
            context[_DOING].again()
        headers = (response_dict or {}).get("headers", {})
        code = (parsed_response or {}).get("Error", {}).get("Code", "")
        record.count(
            record.Costs(
                calls=1,
                retries=int(again),
                throttled=int(code in THROTTLED),
                received=int(headers.get("content-length", 0) or 0),
            )
        )
        if code in ELSEWHERE:
            self._tell_of_region(parsed_response or {}, context)

    def _tell_of_region(self, response: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Once, since botocore follows S3 to the bucket's region in silence, and that costs more."""
        bucket, there = str(context.get("s3_redirect", {}).get("bucket", "")), bucket_region(response)
        if bucket and there and bucket not in self._moved:
            self._moved[bucket] = there
            record.say(
                "warning",
                "bucket.elsewhere",
                f"the bucket {bucket} is in {there} and AWS_REGION is {self._region}: it is asked there, which costs"
                " more; correct AWS_REGION or CONFIG_BUCKET in the bootstrap file",
            )

    def _settle(
        self,
        response: tuple[Any, Any] | None,
        attempts: int,
        caught_exception: Exception | None,
        operation: OperationModel,
        **_: object,
    ) -> float | None:
        """Seconds until the next attempt (0: at once, with new keys); None when there shall be none."""
        if caught_exception is not None:
            failure = _failure_of(caught_exception)
            why, asked = type(caught_exception).__name__, 0.0
        elif response is None or response[0].status_code < _FIRST_BAD_STATUS:
            self._retrying.answered(operation.name)
            if attempts > 1:
                record.progress(waiting_for="")
            return None
        else:
            why, asked = response[1].get("Error", {}).get("Code", ""), _asked(response[0].headers)
            if why in EXPIRED and attempts == 1 and self._renew():
                _tell(operation.name, attempts, why)
                return 0.0
            failure = _failure_in(why, response[0].status_code)
        pause = self._retrying.pause(operation.name, failure, attempts, asked) if failure is not None else None
        if pause is not None:
            _tell(operation.name, attempts, why)
        return pause


def _failure_of(error: Exception) -> Failure | None:
    """What to think of a call that had no answer; None when another attempt would end as this one."""
    from botocore.exceptions import ConnectionError as NotConnected
    from botocore.exceptions import HTTPClientError

    return Failure.BROKEN if isinstance(error, NotConnected | HTTPClientError) and not is_final(error) else None


def _failure_in(code: str, status: int) -> Failure | None:
    """What to think of an error that was answered; None when it stays so."""
    if code in THROTTLED or status == _TOO_MANY:
        return Failure.THROTTLED
    return Failure.BROKEN if status in _SERVER_FAILED or code in _BROKEN else None


def _asked(headers: Mapping[str, str]) -> float:
    """The seconds that AWS asks to wait; 0 when it does not."""
    try:
        return max(0.0, int(headers.get("x-amz-retry-after", "0")) / 1000)
    except (ValueError, OverflowError):
        return 0.0


def _began(model: OperationModel, context: dict[str, Any], **_: object) -> None:
    """A call begins, of which there may be several attempts."""
    context[_DOING] = record.doing("aws", f"{model.service_model.service_name}:{model.name}")


def _answered(parsed: Mapping[str, Any], model: OperationModel, context: Mapping[str, Any], **_: object) -> None:
    """It was answered; one whose answer is yet to be read goes on until then."""
    code = str(parsed.get("Error", {}).get("Code", ""))
    if not code and model.has_streaming_output:
        _body.set(context.get(_DOING))
    else:
        _end(context, code)


def _failed(exception: Exception, context: Mapping[str, Any], **_: object) -> None:
    """No attempt was answered, or none could have helped."""
    response = getattr(exception, "response", None) or {}
    _end(context, str(response.get("Error", {}).get("Code", "")) or type(exception).__name__)


def _end(context: Mapping[str, Any], error: str) -> None:
    doing = context.get(_DOING)
    if isinstance(doing, Doing):
        doing.end(error)


def until_read(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The body of the answer that this thread has got last: the call ends where the body does."""
    doing = _body.get()
    if doing is None:
        yield from pieces
        return
    with doing:
        yield from pieces


def _end_of_redirects(response: tuple[Any, Any] | None, **_: object) -> None:
    """Let a redirect be an error where botocore looks for a bucket's region itself: it would look for ever.

    It asks when an answer of S3 sends it elsewhere and does not say where; the agent never makes this call.
    """
    if response is not None and response[0].status_code in _REDIRECTS:
        from botocore.exceptions import ClientError

        raise ClientError(response[1], "HeadBucket")


def _tell(operation: str, attempts: int, why: str) -> None:
    record.progress(waiting_for=f"AWS ({operation}, attempt {attempts + 1}: {why})")


def _cut_off(response: tuple[Any, Any] | None, attempts: int, **_: object) -> float | None:
    """Ask botocore to try again, after this many seconds, when a good answer is no JSON.

    Its parser takes an answer that was cut off for an empty one, and a healthy project would be deployed with
    defaults. When it stays so, an error is raised in its place.
    """
    if response is None or response[0].status_code >= _FIRST_BAD_STATUS:
        return None
    try:
        json_input.loads(response[0].content)
    except ValueError:
        if attempts < CUT_OFF_ATTEMPTS:
            return 0.2 * attempts
        from botocore.exceptions import ResponseStreamingError

        raise ResponseStreamingError(error="the answer is cut off: it is no whole JSON document") from None
    return None
