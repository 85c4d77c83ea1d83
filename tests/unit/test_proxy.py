"""Which connections go through the proxy: as curl decides, with the ports of Go, and IMDS never."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.proxy import Proxies
from agent.secret import Secret
from tests.unit.fakes import Loopback, Reply, refusing_address

PROXY = "http://user:hunter2@10.0.1.5:3128"
PRIVATE = "localhost,127.0.0.1,10.0.0.0/8"  # the platform's example
HOSTS = st.sampled_from(
    ["s3.eu-central-1.amazonaws.com", "example.com", "a.example.com", "10.1.2.3", "192.168.7.7", "fd12::1", "[fd12::1]"]
)


def proxied(no_proxy: str, host: str, port: int = 443, *, tls: bool = True) -> bool:
    proxies = Proxies.of({"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    return proxies.for_host(host, port, tls=tls) is not None


CASES = [
    # rules, host, through the proxy
    ("", "example.com", True),
    ("", "10.1.2.3", True),
    ("*", "example.com", False),
    ("*", "10.1.2.3", False),
    ("example.com", "example.com", False),
    ("example.com", "EXAMPLE.com", False),
    ("EXAMPLE.com", "example.com", False),
    ("example.com", "a.example.com", False),
    ("example.com", "a.b.example.com", False),
    ("example.com", "notexample.com", True),
    ("example.com", "example.com.evil.net", True),
    ("example.com", "example.org", True),
    ("example.com", "com", True),
    (".example.com", "a.example.com", False),
    (".example.com", "example.com", False),
    (".example.com", "notexample.com", True),
    ("example.com", "example.com.", False),
    ("example.com.", "example.com", False),
    ("a.example.com", "example.com", True),
    ("other.net, example.com", "example.com", False),
    (" example.com ", "example.com", False),
    (",,example.com,", "example.com", False),
    ("10.0.0.0/8", "10.1.2.3", False),
    ("10.0.0.0/8", "11.1.2.3", True),
    ("10.1.2.9/8", "10.250.0.1", False),
    ("192.168.7.0/24", "192.168.7.7", False),
    ("192.168.7.0/24", "192.168.8.7", True),
    ("192.168.7.0/25", "192.168.7.127", False),
    ("192.168.7.0/25", "192.168.7.128", True),
    ("192.168.7.7", "192.168.7.7", False),
    ("192.168.7.7", "192.168.7.70", True),
    ("192.168.7", "192.168.7.7", True),
    ("10.0.0.0/8", "10.example.com", True),
    ("10.0.0.0/8", "example.com", True),
    ("fd12::/16", "[fd13::1]", True),
    ("fd12::1", "[fd12::1]", False),
    ("fd12::1", "[fd12::2]", True),
    (PRIVATE, "10.0.1.5", False),
    (PRIVATE, "s3.eu-central-1.amazonaws.com", True),
]
# As Go reads them: curl takes a prefix of no bits for an exact address, and does not match IPv6 ranges (7.88).
GO_CASES = [("0.0.0.0/0", "192.168.7.7", False), ("fd12::/16", "[fd12::1]", False)]


@pytest.mark.parametrize(("no_proxy", "host", "through"), CASES + GO_CASES)
def test_a_connection_goes_through_the_proxy_unless_a_rule_names_its_host(
    no_proxy: str, host: str, *, through: bool
) -> None:
    assert through == proxied(no_proxy, host)


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with Loopback(lambda _: Reply(body=b"direct")) as server:
        yield server.url


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to compare with")
@pytest.mark.parametrize(("no_proxy", "host", "through"), CASES)
def test_curl_decides_the_same(served: str, no_proxy: str, host: str, *, through: bool) -> None:
    # Whatever the host is, a direct connection ends at the loopback server, and the proxy is an address without one.
    target = served.removeprefix("http://")
    arguments = ["--silent", "--proxy", refusing_address(), "--noproxy", no_proxy, "--connect-to", f"::{target}"]
    ended = subprocess.run(
        ["curl", *arguments, f"http://{host}/"], env={}, capture_output=True, check=False, timeout=10
    )

    assert (ended.returncode, ended.stdout) == ((7, b"") if through else (0, b"direct"))


@pytest.mark.parametrize("rules", ["example.com:8443", "[fd12::1]:8443", "192.168.7.7:8443", "fd12::1"])
@pytest.mark.parametrize("host", ["example.com", "[fd12::1]", "192.168.7.7"])
def test_a_rule_with_a_port_is_for_that_port_only(rules: str, host: str) -> None:
    names_host = rules.removesuffix(":8443").strip("[]") == host.strip("[]")

    assert names_host == (not proxied(rules, host, 8443))
    if ":8443" in rules:
        assert proxied(rules, host, 443)


def test_a_wildcard_rule_is_a_suffix_rule() -> None:
    assert not proxied("*.example.com", "a.example.com")
    assert proxied("*.example.com", "notexample.com")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "[fd00:ec2::254]",
        "FD00:EC2:0::254",
        "localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
    ],
)
@pytest.mark.parametrize("no_proxy", ["", "example.com", "10.0.0.0/8"])
def test_imds_and_the_host_itself_are_never_asked_through_a_proxy(host: str, no_proxy: str) -> None:
    assert not proxied(no_proxy, host, 80, tls=False)
    assert not proxied(no_proxy, host, 443)


@given(HOSTS, st.lists(st.text(max_size=12)), st.integers(1, 65535))
def test_no_rule_however_strange_breaks_the_decision_or_hides_a_good_one(
    host: str, strange: list[str], port: int
) -> None:
    rules = ",".join([*strange, host.strip("[]")])

    assert not proxied(rules, host, port)


@given(HOSTS, st.lists(st.sampled_from([rules for rules, _, _ in CASES if "," not in rules]), max_size=6))
def test_the_order_of_rules_does_not_matter(host: str, rules: list[str]) -> None:
    assert proxied(",".join(rules), host) == proxied(",".join(reversed(rules)), host)


def test_each_scheme_has_its_proxy() -> None:
    proxies = Proxies.of({"HTTP_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2"})

    assert proxies.for_host("example.com", 80, tls=False) == Secret("http://a:1")
    assert proxies.for_host("example.com", 443, tls=True) == Secret("http://b:2")


def test_a_scheme_without_a_proxy_goes_direct() -> None:
    assert Proxies.of({"HTTP_PROXY": PROXY}).for_host("example.com", 443, tls=True) is None
    assert Proxies.of({}).for_host("example.com", 80, tls=False) is None
    assert Proxies.of({"HTTPS_PROXY": ""}).for_host("example.com", 443, tls=True) is None


def test_the_lower_case_names_count_when_the_upper_case_ones_are_unset() -> None:
    proxies = Proxies.of({"https_proxy": "http://low:1", "no_proxy": "example.com", "HTTP_PROXY": "http://up:1"})
    both = Proxies.of({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"})

    assert proxies.for_host("example.org", 443, tls=True) == Secret("http://low:1")
    assert proxies.for_host("example.com", 443, tls=True) is None
    assert both.for_host("example.org", 443, tls=True) == Secret("http://up:1")


def test_the_password_of_a_proxy_is_not_shown() -> None:
    assert "hunter2" not in repr(Proxies.of({"HTTPS_PROXY": PROXY}))
