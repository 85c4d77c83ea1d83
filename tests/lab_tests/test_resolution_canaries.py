"""No value of a variable is shown: not in errors, warnings, tables, plans, debug logs, or the traceback of a bug."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.lab.lab import Lab
from tests.lab.world import BUNDLE, NAMESPACE, PARAMETERS, ROLE, canaries
from tests.lab_tests import reports
from tests.lab_tests.leaks import Traced, leaks

BELOW = f"{NAMESPACE}/{ROLE}"
BOOTSTRAP_VALUE = "CANARYinTheBootstrapFile9qZ"
PLAIN_VALUE = "CANARYplainParameter:/@4wT7"
SECURE_VALUE = "CANARYsecureParameter'\"2mK9"
UNDECLARED_VALUE = "CANARYundeclaredParameter5vB"
SECRET_VALUE = "CANARYsecretOfTheService@8xL"
DEFAULT_VALUE = "CANARYdefaultOfTheManifest3dF"
VALUES = {
    **canaries(),
    "bootstrap": BOOTSTRAP_VALUE,
    "plain": PLAIN_VALUE,
    "secure": SECURE_VALUE,
    "undeclared": UNDECLARED_VALUE,
    "secret": SECRET_VALUE,
}
# Everything that makes the agent say something about a variable while all goes well.
ENTRIES = """
  - {name: PLAIN, required: true}
  - {name: SECURE, required: true}
  - {name: PINNED, source: local}
  - {name: SECRET, default: CANARYdefaultOfTheManifest3dF}
  - {name: DEFAULTED, default: CANARYdefaultOfTheManifest3dF}
  - {name: CONDITION, required_when: LOG_LEVEL=debug}
  - {name: BEATEN, compose: {template: 'x://${SECURE}:${SECRET}@${PLAIN}'}}
  - {name: ENCODED, compose: {template: '${SECURE}${SECRET}${PLAIN}', encode: url}}
"""


@pytest.fixture
def planted(instance: Lab) -> Lab:
    """The example with more variables, each with a value that must not be seen."""
    world = instance.world
    for name, value, kind in (
        ("PLAIN", PLAIN_VALUE, "String"),
        ("SECURE", SECURE_VALUE, "SecureString"),
        ("CONDITION", PLAIN_VALUE, "String"),
        ("BEATEN", SECURE_VALUE, "SecureString"),
        ("PINNED", UNDECLARED_VALUE, "String"),
        ("UNDECLARED", UNDECLARED_VALUE, "String"),
    ):
        world.put_parameter(name, value, kind)
    world.put_secret(f"{BELOW}/more", {"SECRET": SECRET_VALUE, "undeclared": UNDECLARED_VALUE})
    world.write_bootstrap(world.bootstrap_env(PINNED=BOOTSTRAP_VALUE, PLAIN=BOOTSTRAP_VALUE))
    declare(instance, ENTRIES)
    return instance


def declare(lab: Lab, entries: str) -> None:
    """Add entries to the example's manifest, in the bucket and on the host."""
    text = (BUNDLE / "api/vars.yaml").read_text() + entries
    lab.world.put_file("api/vars.yaml", text)
    live = lab.machine.path(f"/opt/services/{ROLE}/vars.yaml")
    live.parent.mkdir(parents=True, exist_ok=True)
    live.write_text(text)


def seen(lab: Lab, *runs: subprocess.CompletedProcess[str]) -> list[str]:
    """Where a value is and must not be; the default stands in the manifest itself, so only what was said counts."""
    out, err = "".join(run.stdout for run in runs), "".join(run.stderr for run in runs)
    found = leaks(lab, VALUES, Traced(0, out, err, []))
    return found + ["default in the output"] * (DEFAULT_VALUE in out + err)


def debug(lab: Lab, *args: str) -> subprocess.CompletedProcess[str]:
    return lab.agent("--log-level", "debug", *args)


def test_tables_explanations_and_plans_show_no_value(planted: Lab) -> None:
    names = ["BEATEN", "PINNED", "DATABASE_URL", "UNDECLARED"]
    runs = [debug(planted, "env", "--format", "table"), *(debug(planted, "explain", name) for name in names)]
    runs.append(debug(planted, "plan"))

    assert [run.returncode for run in runs] == [0, 0, 0, 0, runs[4].returncode, 0], [run.stderr[-500:] for run in runs]
    assert all("BEATEN" in run.stdout for run in runs[:2])
    assert seen(planted, *runs) == []
    warnings = "\n".join(event.get("text", "") for event in reports.events(runs[0].stderr))
    said = ("PINNED: `source: local`", "BEATEN: its template wins", "UNDECLARED", "add `encode: url`")
    assert [words for words in said if words not in warnings] == []


def test_a_table_of_all_faults_shows_no_value(planted: Lab) -> None:
    world = planted.world
    world.put_parameter(f"/{BELOW}/deep/PLAIN", SECURE_VALUE)
    world.put_secret(f"{BELOW}/clash", {"SECRET": UNDECLARED_VALUE})
    world.put_secret(f"{BELOW}/text", SECRET_VALUE)
    world.put_parameter("DOCKER_HOST", UNDECLARED_VALUE)
    world.delete_parameter("CONDITION")
    secret = "secret: {arn_from: LICENSE_SECRET_ARN, type: json, key: k}"
    wrong = ("name: MISSING, required: true", f"name: NO_OBJECT, {secret}", "name: SECUER, required: true")
    declare(planted, ENTRIES + "".join(f"  - {{{entry}}}\n" for entry in wrong))
    denied = world.role_policy()
    denied["Statement"][3]["Resource"].remove(world.database_secret_arn)
    planted.aws.enforce_iam(denied)

    runs = [debug(planted, "env"), debug(planted, "explain", "PLAIN"), debug(planted, "init")]

    assert [runs[0].returncode, runs[2].returncode] == [77, 77]
    assert seen(planted, *runs) == []
    told = "\n".join(reports.whole(error) for error in reports.errors(runs[0].stderr))
    wanted = ("PLAIN: ", "SECRET: ", f"{BELOW}/text is not a JSON object", "MISSING", "CONDITION", "NO_OBJECT")
    assert [words for words in wanted if words not in told] == [], told
    assert "(there is SECURE)" in told


def test_what_compose_says_of_a_value_shows_no_value(planted: Lab) -> None:
    compose = (BUNDLE / "api/docker-compose.yaml").read_text()
    planted.world.put_file("api/docker-compose.yaml", compose.replace('"0.0.0.0:3001:3001"', '"${SECURE}:3001"'))

    done = debug(planted, "init")

    assert done.returncode == 65, done.stderr
    assert "[redacted]" in done.stderr, "Compose has told the value: else this test shows nothing"
    assert seen(planted, done) == []


BREAK_JSON = """
import json, sys
whole = json.loads
def loads(text, *args, **options):
    if "agent/variables" in sys._getframe(2).f_code.co_filename:
        raise RuntimeError(f"broken on {text!r}")
    return whole(text, *args, **options)
json.loads = loads
"""
BREAK_QUOTE = """
import sys, urllib.parse
whole = urllib.parse.quote
def quote(text, *args, **options):
    if "agent/variables" in sys._getframe(1).f_code.co_filename:
        raise RuntimeError(f"broken on {text!r}")
    return whole(text, *args, **options)
urllib.parse.quote = quote
"""
BREAK_ORDER = """
import graphlib, sys
def static_order(self):
    frame = sys._getframe(2)
    looks = frame.f_locals["self"].looks
    raise KeyError({name: [look.value and look.value.reveal() for look in found] for name, found in looks.items()})
graphlib.TopologicalSorter.static_order = static_order
"""
BREAK_CHILDREN = """
import subprocess
def broken(self, command, **options):
    raise RuntimeError(f"broken on {options.get('env')!r}")
subprocess.Popen.__init__ = broken
"""
BREAK_NESTED = """
import sys, urllib.parse
def quote(text, *args, **options):
    try:
        {}[text]
    except KeyError as error:
        error.add_note(f"a note on {text!r}")
        raise ValueError("broken", text) from error
def install():
    whole = urllib.parse.quote
    urllib.parse.quote = lambda text, *a, **o: (
        quote(text) if "agent/variables" in sys._getframe(1).f_code.co_filename else whole(text, *a, **o))
install()
"""


@pytest.mark.parametrize(
    ("code", "command"),
    [
        pytest.param(BREAK_JSON, "env", id="json"),
        pytest.param(BREAK_QUOTE, "env", id="urllib"),
        pytest.param(BREAK_ORDER, "env", id="graphlib"),
        pytest.param(BREAK_NESTED, "env", id="chained"),
        pytest.param(BREAK_QUOTE, "init", id="urllib-init"),
        pytest.param(BREAK_CHILDREN, "init", id="subprocess"),
    ],
)
def test_the_traceback_of_a_bug_shows_no_value(planted: Lab, code: str, command: str) -> None:
    """Python imports sitecustomize before anything else: what it breaks is the standard library, not the agent."""
    folder = planted.machine.path("/tmp/broken")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    env = planted.agent_env()
    env["PYTHONPATH"] = ":".join(["/tmp/broken", *filter(None, [env.get("PYTHONPATH")])])

    done = planted.agent("--log-level", "debug", command, env=env)

    assert done.returncode == 70, done.stderr
    assert done.stdout == ""
    [error] = reports.errors(done.stderr)
    told = reports.whole(error)
    assert "Traceback" in told, told
    assert any(name in told for name in ("RuntimeError", "KeyError", "ValueError")), told
    assert seen(planted, done) == []


def test_the_canaries_are_really_in_the_environment(planted: Lab) -> None:
    done = debug(planted, "env", "--format", "json")

    environment = json.loads(done.stdout)["variables"]
    assert {*VALUES.values()} & {*environment.values()} >= {BOOTSTRAP_VALUE, PLAIN_VALUE, SECURE_VALUE, SECRET_VALUE}
    assert environment["DEFAULTED"] == DEFAULT_VALUE
    assert environment["LOG_LEVEL"] == PARAMETERS["LOG_LEVEL"]
    assert not [value for value in VALUES.values() if value in done.stderr]
