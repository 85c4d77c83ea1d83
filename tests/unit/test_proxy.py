"""Which connections go through the proxy: as curl decides, with the ports of Go, and IMDS never."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.aws.connections import Rules
from agent.host.proxy import Proxies, faults, secrets
from agent.secret import Redactor, Secret
from tests.lab.loopback import Loopback, Reply
from tests.unit.fakes import refusing_address

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
    (".example.com.", "a.example.com", False),
    ("example.com", "a.example.com.", False),
    ("example.com example.org", "example.org", False),
    ("example.org\texample.com", "a.example.com", False),
    ("Example.COM", "A.example.com", False),
    ("10.0.0.0/8 example.com", "10.1.2.3", False),
    (".", "example.com", True),
    ("com", "example.com", False),
    ("xample.com", "example.com", True),
    ("192.168.7.0/24", "192.168.7.7.example.com", True),
    ("FD12::1", "[fd12::1]", False),
    ("fd12::1", "fd12.example.com", True),
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
# As Go reads them: curl takes a prefix of no bits for an exact address, does not match IPv6 ranges (7.88), and
# compares IPv6 addresses as texts.
GO_CASES = [
    ("0.0.0.0/0", "192.168.7.7", False),
    ("fd12::/16", "[fd12::1]", False),
    ("fd12:0:0::1", "[fd12::1]", False),
    ("[fd12::1]", "[fd12::1]", False),
    ("a.net,*", "example.com", False),
    ("*.example.com", "a.example.com", False),
    ("*.example.com", "example.com", True),
    ("10.0.0.0/8", "::ffff:10.1.2.3", False),
]


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


@pytest.mark.parametrize(
    "rule", ["example.com:x", "example.com:" + "9" * 5000, "example.com:-1", ":443", "[", "[]:443"]
)
def test_a_rule_with_a_port_that_is_none_names_nobody(rule: str) -> None:
    assert proxied(rule, "example.com")


def test_the_rules_for_the_engine_are_in_go_s_spelling_and_hold_what_is_never_proxied() -> None:
    given = ".Corp.example., *.a.net b.net:8443 10.0.0.0/8,[fd12::1],[fd12::2]:443,10.0.0.0/8:80,st\u00e4dt.de,x/y,*"
    proxies = Proxies.of({"HTTPS_PROXY": PROXY, "NO_PROXY": f"{given},localhost"})

    always = "169.254.169.254,fd00:ec2::254,localhost,127.0.0.0/8,::1"
    mine = "corp.example,*.a.net,b.net:8443,10.0.0.0/8,fd12::1,[fd12::2]:443,*"
    assert proxies.rules_for_engine == f"{always},{mine}"


@given(HOSTS, st.lists(st.sampled_from([rules for rules, _, _ in CASES + GO_CASES]), max_size=4))
def test_the_engine_s_rules_decide_as_the_agent_s(host: str, rules: list[str]) -> None:
    given = Proxies.of({"HTTPS_PROXY": PROXY, "NO_PROXY": ",".join(rules)})

    assert proxied(given.rules_for_engine, host) == proxied(",".join(rules), host)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("proxy:3128", "http://proxy:3128"),
        ("//proxy:3128", "http://proxy:3128"),
        ("proxy", "http://proxy"),
        ("10.0.1.5:3128", "http://10.0.1.5:3128"),
        ("HTTP://Proxy:3128/", "http://Proxy:3128"),
        ("https://proxy.corp.example:443", "https://proxy.corp.example:443"),
        ("user:pass@proxy:3128", "http://user:pass@proxy:3128"),
        ("http://u:p%40ss%2F%C3%A9@proxy:3128", "http://u:p%40ss%2F%C3%A9@proxy:3128"),
        ("http://u:p@ss@proxy:3128", "http://u:p@ss@proxy:3128"),
        ("http://token@proxy:3128", "http://token@proxy:3128"),
        ("http://[fd12::5]:3128", "http://[fd12::5]:3128"),
        ("http://proxy.:3128", "http://proxy.:3128"),
    ],
)
def test_a_proxy_s_address_may_be_written_in_many_ways(url: str, normal: str) -> None:
    assert list(faults({"HTTPS_PROXY": url})) == []
    assert Proxies.of({"HTTPS_PROXY": url}).https == Secret(normal)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "has no host"),
        ("http://:3128", "has no host"),
        ("http://u:c4nary@:3128", "has no host"),
        ("http://proxy:", "has a port"),
        ("http://proxy:c4nary", "has a port"),
        ("http://proxy:0", "has a port"),
        ("http://proxy:65536", "has a port"),
        ("http://proxy:+80", "has a port"),
        ("http://fd12::5:3128", "has a port"),
        ("http://[fd12::5:3128", "must be http://user:password@host:port"),
        ("http://[c4nary]:3128", "has a host that is no name"),
        ("http://pro xy:3128", "has a host that is no name"),
        ("http://st\u00e4dt:3128", "has a host that is no name"),
        ("socks5://c4nary:1080", "is a SOCKS proxy"),
        ("socks5h://proxy:1080", "is a SOCKS proxy"),
        ("ftp://c4nary", "must begin with http:// or https://"),
        ("http://proxy:3128/c4nary", "must be http://user:password@host:port"),
        ("http://u:c4n/ary@proxy:3128", "must be http://user:password@host:port"),
        ("http://u:c4n#ary@proxy:3128", "must be http://user:password@host:port"),
        ("http://u:c4n?ary@proxy:3128", "must be http://user:password@host:port"),
        ("http://u:c4nary%zz@proxy:3128", "must be http://user:password@host:port"),
        ("http://u:c4nary^@proxy:3128", "must be http://user:password@host:port"),
        ("http://u:c4nary%0d%0aX:y@proxy:3128", "has a control character"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_with_its_variable_and_without_a_word_of_it(url: str, said: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        (fault,) = faults({name: url})
        assert fault.startswith(f"{name} {said}")
        assert "c4n" not in fault
        assert "ary" not in fault.replace("necessary", "")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to compare with")
@pytest.mark.parametrize("pair", ["u:p", "u:p%40ss%2F%3A", "u:a:b", "u:p%C3%A9", "u:$&'()*+,;=", "u:", "u"])
def test_a_proxy_is_sent_the_user_and_password_that_curl_sends(pair: str) -> None:
    with Loopback(lambda _: Reply()) as server:
        url = server.url.replace("http://", f"http://{pair}@")
        subprocess.run(["curl", "--silent", "--proxy", url, "http://example.com/"], env={}, check=True, timeout=10)

    assert list(faults({"HTTP_PROXY": url})) == []
    sent = {"Proxy-Authorization": server.requests[0].headers["proxy-authorization"]}
    assert Rules(Proxies()).proxy_headers_for(url) == sent


@given(st.text())
def test_no_address_however_strange_breaks_the_check(url: str) -> None:
    list(faults({"HTTP_PROXY": url}))
    list(secrets({"HTTP_PROXY": url}))
    Proxies.of({"HTTP_PROXY": url})


def test_the_secrets_of_an_address_are_the_password_in_every_form_in_which_it_travels() -> None:
    redactor = Redactor()
    redactor.learn(secrets({"HTTPS_PROXY": "http://delphi:p%40ss%2Fword@proxy:3128"}))
    header = base64.b64encode(b"delphi:p@ss/word").decode()

    for text in ("p%40ss%2Fword", "p@ss/word", header, "delphi:p@ss/word"):
        cleaned = redactor.clean(f"<{text}>")
        assert "ss" not in cleaned.replace("[redacted]", "")
        assert header not in cleaned


def test_a_user_without_a_password_is_a_secret_too() -> None:
    assert Secret("t0ken123") in set(secrets({"HTTPS_PROXY": "http://t0ken123@proxy:3128"}))


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
