"""The guard of the test session refuses what would leave the machine, and nothing else."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from tests.conftest import Guard, LeavesTheMachine
from tests.packaging.checkout import CHECKOUT

IMDS = "169.254.169.254"
OUTSIDE = "192.0.2.1"


def udp(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (host, 53))


def tcp(host: str) -> None:
    with socket.socket() as sock:
        sock.settimeout(1)
        sock.connect_ex((host, 80))


def sts() -> None:
    client = boto3.client(
        "sts",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.get_caller_identity()


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda: tcp(OUTSIDE), id="connect_ex"),
        pytest.param(lambda: tcp(IMDS), id="metadata-service"),
        pytest.param(lambda: udp(OUTSIDE), id="udp"),
        pytest.param(lambda: socket.create_connection(("fd00:ec2::254", 80), 1), id="ipv6"),
        pytest.param(lambda: socket.create_connection(("example.com", 80), 1), id="name"),
        pytest.param(lambda: socket.gethostbyname("example.com"), id="gethostbyname"),
        pytest.param(lambda: http.client.HTTPConnection(IMDS, timeout=1).request("GET", "/"), id="http.client"),
        pytest.param(lambda: urllib.request.urlopen("http://example.com"), id="urllib"),
        pytest.param(sts, id="boto3"),
    ],
)
def test_whatever_leaves_the_machine_is_refused(guard: Guard, leave: Callable[[], object]) -> None:
    # botocore wraps whatever it meets.
    with pytest.raises(Exception, match="tests only talk to this machine"):
        leave()

    assert len(guard.refused) == 1
    guard.refused.clear()


def test_a_thread_is_refused_too(guard: Guard) -> None:
    caught: list[BaseException] = []

    def leave() -> None:
        try:
            tcp(OUTSIDE)
        except LeavesTheMachine as error:
            caught.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()

    assert len(caught) == 1
    guard.refused.clear()


def test_this_machine_may_be_talked_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), 1).close()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client.connect(str(tmp_path / "socket"))


def test_children_see_neither_accounts_nor_proxies_of_the_caller() -> None:
    names = {name for name in os.environ if name.startswith("AWS_") or name.upper().endswith("_PROXY")}

    assert names == {"AWS_EC2_METADATA_DISABLED"}


def test_a_swallowed_refusal_still_fails_the_test(tmp_path: Path) -> None:
    swallows = tmp_path / "test_swallows.py"
    swallows.write_text(
        "import contextlib, os, socket\n"
        "def test_swallows():\n"
        "    assert 'AWS_PROFILE' not in os.environ and 'http_proxy' not in os.environ\n"
        "    with contextlib.suppress(Exception):\n"
        f"        socket.create_connection(('{OUTSIDE}', 80), 1)\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--noconftest", swallows],
        cwd=CHECKOUT,
        env={**os.environ, "AWS_PROFILE": "mine", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1, done.stdout
    assert f"tried to leave the machine: socket.getaddrinfo {OUTSIDE}" in done.stdout
