"""AWS for the simulator's check: answers what `delphi-agent env` asks on loopback, throttled by the same buckets."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench.fleet.plans import PAGES
from tests.bench.fleet.quotas import Quota, Throttle
from tests.lab.loopback import Reply, Request

PAGE = 10
PATH, PREFIX = "/delphi/prod/api/", "delphi/prod/api/"
NAMES = [f"P_{number:02d}" for number in range(PAGE * PAGES)]
_CALLS = {
    "AmazonSSM.GetParametersByPath": "ssm.path",
    "secretsmanager.ListSecrets": "secrets.list",
    "secretsmanager.BatchGetSecretValue": "secrets.batch",
}


class Door:
    """Answers requests, and keeps what each agent (by its access key) was given: its first and its last answer."""

    def __init__(self, quotas: Sequence[Quota], now: Callable[[], float] = time.monotonic) -> None:
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.by_agent: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._now, self._lock = now, threading.Lock()
        self._began = now()
        self._throttle = Throttle(quotas)

    def answer(self, request: Request) -> Reply:
        """Throttle the call, or answer it."""
        call = _CALLS[request.headers["x-amz-target"]]
        agent = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        with self._lock:
            now = self._now() - self._began
            self.first.setdefault(agent, now)
            self.last[agent] = now
            self.calls[call] += 1
            let_through = self._throttle.take(call, now)
            if let_through:
                self.by_agent[agent][call] += 1
            else:
                self.throttled[call] += 1
        if not let_through:
            return _reply({"__type": "ThrottlingException", "message": "Rate exceeded"}, 400)
        asked: Any = json.loads(request.body)
        return _reply(_ANSWERS[call](asked))


def _by_path(asked: Any) -> object:  # noqa: ANN401 - JSON of a request
    if asked["Path"] != PATH:
        raise ValueError(asked)
    start = int(asked.get("NextToken", 0))
    found = [
        {"Name": PATH + name, "Type": "SecureString", "Value": f"v-{name}"} for name in NAMES[start : start + PAGE]
    ]
    more = {"NextToken": str(start + PAGE)} if start + PAGE < len(NAMES) else {}
    return {"Parameters": found, **more}


def _list(_: Any) -> object:  # noqa: ANN401 - JSON of a request
    return {"SecretList": [{"Name": f"{PREFIX}secrets"}]}


def _batch(asked: Any) -> object:  # noqa: ANN401 - JSON of a request
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf"
    values = [{"Name": name, "ARN": arn, "SecretString": '{"S_00": "s"}'} for name in asked["SecretIdList"]]
    return {"SecretValues": values, "Errors": []}


_ANSWERS: dict[str, Callable[[Any], object]] = {"ssm.path": _by_path, "secrets.list": _list, "secrets.batch": _batch}


def _reply(document: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/x-amz-json-1.1"})
