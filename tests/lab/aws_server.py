"""The AWS of a lab machine; run inside it, in the network namespace "aws".

Two doors lead to one moto. The machine's is TLS under AWS's real names: journal, faults and IAM apply. The test's is a
unix socket: plain moto for seeding, and /lab/... to control the other door; nothing of it is journaled or refused.

    python -m tests.lab.aws_server CERTIFICATE KEY
"""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import sys
import threading
import time

from tests.lab import aws_moto
from tests.lab.aws_errors import error_reply
from tests.lab.aws_model import CONTROL_SOCKET, OTHER_REGION, SERVER_ADDRESS, Call, Fault, Json
from tests.lab.aws_policy import Policy, denied
from tests.lab.aws_requests import ApiCall, identify
from tests.lab.http_door import Reply, Request, corrupted, cut_short, listen, serve
from tests.lab.tls import server_context

HANG_SECONDS = 600


class Front:
    """The machine's door: what it was asked, and what goes wrong with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._faults: list[Fault] = []
        self._released = threading.Event()

    def respond(self, request: Request) -> Reply:
        start, clock = time.time(), time.monotonic()
        call = identify(request)
        fault = self._take_fault(call)
        reply = self._answer(request, call, fault)
        size = len(reply.body) if reply.stop_after is None else reply.stop_after
        elapsed = round((time.monotonic() - clock) * 1000, 1)
        entry = Call(
            call.service,
            call.action,
            0 if reply.reset else reply.status,
            call.resource,
            start,
            elapsed,
            size,
            fault.kind if fault else "",
            request.connection_number,
        )
        with self._lock:
            self._calls.append(entry)
        return reply

    def _answer(self, request: Request, call: ApiCall, fault: Fault | None) -> Reply:
        if fault is not None:
            # Clearing the faults also ends what they hold up.
            self._released.wait(HANG_SECONDS if fault.kind == "hang" else fault.delay)
            if fault.kind in ("hang", "reset"):
                return Reply(0, reset=True)
            if fault.kind == "error":
                reply = error_reply(call.service, fault.status, fault.code, fault.message)
                return dataclasses.replace(reply, headers=[*reply.headers, *fault.headers.items()])
            if fault.kind == "moved" and f"/{OTHER_REGION}/s3/" not in request.headers.get("authorization", ""):
                reply = error_reply(call.service, 301, "PermanentRedirect", fault.message)
                return dataclasses.replace(reply, headers=[*reply.headers, ("x-amz-bucket-region", OTHER_REGION)])
        policy = aws_moto.account.policy
        refusal = policy.refusal(request, call, aws_moto.secret_arn) if policy else None
        aws_moto.account.door.enforced = True
        reply = refusal or self._by_hand(request, call) or aws_moto.answer(request)
        if policy is not None and policy.hides_absence(call, reply):
            reply = denied("s3", "s3:ListBucket", call.resource)
        return _damaged(reply, fault) if fault is not None else reply

    def _by_hand(self, request: Request, call: ApiCall) -> Reply | None:
        if call.service not in ("autoscaling", "cloudformation"):
            return None
        with self._lock:
            return aws_moto.account.waiting.answer(request)

    def _take_fault(self, call: ApiCall) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times == 0 or not re.search(fault.match, f"{call.name} {call.resource}"):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def calls(self) -> list[Call]:
        with self._lock:
            return sorted(self._calls, key=lambda call: call.start)

    def clear_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def add_fault(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()
            self._released.set()
            self._released = threading.Event()


def _damaged(reply: Reply, fault: Fault) -> Reply:
    half = len(reply.body) // 2
    if fault.kind == "truncate":
        return cut_short(reply)
    if fault.kind == "short":
        return dataclasses.replace(reply, body=reply.body[:half])
    if fault.kind == "trickle":
        return dataclasses.replace(reply, pause=0.5)
    return corrupted(reply) if fault.kind == "corrupt" else reply


class Control:
    """The test's door."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def respond(self, request: Request) -> Reply:
        aws_moto.account.door.enforced = False
        if not request.path.startswith("/lab/"):
            return aws_moto.answer(request)
        body = json.loads(request.body) if request.body else None
        result = self._control(request.method, request.path.removeprefix("/lab/"), body)
        return Reply(200, json.dumps(result).encode())

    def _control(self, method: str, what: str, body: Json) -> Json:
        account = aws_moto.account
        match method, what:
            case "GET", "calls":
                return [dataclasses.asdict(call) for call in self._front.calls()]
            case "GET", "signals":
                return account.waiting.told
            case "DELETE", "calls":
                self._front.clear_calls()
            case "DELETE", "signals":
                account.waiting.clear()
            case "DELETE", "faults":
                self._front.clear_faults()
            case "POST", "waiting":
                account.waiting.make(body)
            case "POST", "faults":
                self._front.add_fault(Fault(**body))
            case "POST", "policy":
                account.policy = Policy(body) if body else None
            case "POST", "registry-token":
                account.registry_password, account.token_seconds = body["password"], body["seconds"]
            case _:
                raise ValueError(f"{method} /lab/{what}")
        return None


def main() -> None:
    certificate, key = sys.argv[1:]
    front = Front()
    public = listen(SERVER_ADDRESS, 443)
    threading.Thread(target=serve, args=(public, front.respond, server_context(certificate, key)), daemon=True).start()
    control = socket.socket(socket.AF_UNIX)
    # The socket appears when all is ready: the test process waits for it.
    control.bind(CONTROL_SOCKET)
    control.listen(128)
    serve(control, Control(front).respond)


if __name__ == "__main__":
    main()
