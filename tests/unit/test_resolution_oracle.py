"""What `resolve` settles against an oracle written from contract section 4 alone: it imports nothing from the agent.

Worlds are random: a manifest of every kind of variable, chains and cycles of templates, values full of `$`, every
source with or without each name. The environment, or the set of names that are missing, must be the oracle's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from agent.aws.parameters import Parameter
from agent.aws.secrets import Answer
from agent.errors import ManifestError, UnresolvedError
from agent.secret import Secret
from agent.steps.bootstrap import Bootstrap
from agent.variables.lookup import Lookups
from agent.variables.manifest import parse
from agent.variables.resolve import resolve

LONG = os.environ.get("DELPHI_LONG") == "1"

# Seven names that variables share, so that they meet in every source and in templates.
NAMES = ("ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "AWS_ACCESS_KEY_ID")
HOLDERS = ("FIRST_ARN", "SECOND_ARN")
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
ONLY_IN_BOOTSTRAP = ("NAMESPACE", "ECR_TAG", "EMPTY", "AWS_SECRET_ACCESS_KEY", "COMPOSE_PROFILES", "DOCKER_HOST")
# Contract section 4 keeps the keys from Compose, section 3 what steers the host's tools (but COMPOSE_PROFILES).
NOT_PASSED_ON = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DOCKER_HOST")

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class World:
    """Everything that decides what comes out."""

    variables: list[dict[str, Json]]
    bootstrap: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)
    secrets: list[dict[str, Json]] = field(default_factory=list)
    externals: dict[str, str] = field(default_factory=dict)
    """ARN -> the secret's text; an ARN that is not here names a secret that does not exist."""


class Cycle(Exception):
    """The templates draw on each other."""


class Oracle:
    """Contract section 4, one sentence after the other, as naively as possible."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.declared = {str(variable["name"]): variable for variable in world.variables}

    def environment(self) -> dict[str, str]:
        passed = {
            name: value
            for name, value in self.world.bootstrap.items()
            if name not in self.declared and name not in NOT_PASSED_ON
        }
        values = {name: self.value(name, ()) for name in self.declared}
        return passed | {name: value for name, value in values.items() if value is not None}

    def missing(self) -> set[str]:
        return {name for name in self.declared if self._is_required(name) and not self.value(name, ())}

    def _is_required(self, name: str) -> bool:
        variable = self.declared[name]
        condition = variable.get("required_when")
        if condition is None:
            return variable.get("required") is True
        other, _, wanted = str(condition).partition("=")
        return variable.get("required") is True or self.value(other, ()) == wanted

    def value(self, name: str, path: tuple[str, ...]) -> str | None:
        """What `name` resolves to; `path` are the templates on the way here."""
        if name in path:
            raise Cycle(path)
        if name not in self.declared:
            return self.world.bootstrap.get(name) or None
        template = self.declared[name].get("compose")
        if isinstance(template, dict):
            text, encode = str(template["template"]), template.get("encode") == "url"
            parts = {used: self.value(used, (*path, name)) for used in re.findall(r"\$\{([A-Z_]+)\}", text)}
            if None not in parts.values():
                return re.sub(r"\$\{([A-Z_]+)\}", lambda found: _written(parts[found[1]] or "", encode=encode), text)
        return self._from_sources(self.declared[name])

    def _from_sources(self, variable: Mapping[str, Json]) -> str | None:
        name = str(variable["name"])
        found = self.world.bootstrap.get(name) or None
        if variable.get("source") != "local":
            found = self.world.parameters.get(name) or found
            for secret in self.world.secrets:
                found = _printed(secret.get(name)) or found
            found = self._external(variable.get("secret")) or found
        default = variable.get("default")
        return found if found is not None or default is None else str(default)

    def _external(self, secret: Json) -> str | None:
        if not isinstance(secret, dict):
            return None
        text = self.world.externals.get(self.world.bootstrap.get(str(secret["arn_from"]), ""))
        if text is None or "key" not in secret:
            return text
        return _printed(json.loads(text).get(secret["key"]))


def _written(value: str, *, encode: bool) -> str:
    if not encode:
        return value
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(byte) if chr(byte) in plain else f"%{byte:02X}" for byte in value.encode())


def _printed(value: Json) -> str | None:
    """As `jq -r` prints it; null is nothing."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False)


# Generating worlds.

PIECES = [
    "${ALPHA}",
    "${BETA}",
    "$",
    "$$",
    "$ALPHA",
    "${ALPHA:-x}",
    "${}",
    "{",
    "}",
    "\\",
    "'",
    '"',
    "%41",
    "/",
    "@",
    ":",
]
pieces = st.sampled_from([*PIECES, "a", "b", "é", "🚀", " ", "\n", "=", "#", "x"])
texts = st.lists(pieces, max_size=5).map("".join)
some_texts = st.lists(pieces, min_size=1, max_size=5).map("".join)
# Values that conditions ask for come up often, or no condition would ever hold.
values = st.one_of(st.sampled_from(["on", "ON", "", "a:/@?#[]% é$~"]), texts)
scalars: st.SearchStrategy[Json] = st.one_of(st.none(), st.booleans(), st.integers(-999, 999), values)
json_values: st.SearchStrategy[Json] = st.one_of(
    scalars,
    st.lists(scalars, max_size=2).map(list),
    st.dictionaries(st.sampled_from(["k", "l"]), scalars, max_size=2).map(dict),
)
external_refs: st.SearchStrategy[Json] = st.one_of(
    st.fixed_dictionaries(
        {"arn_from": st.just("FIRST_ARN"), "type": st.just("json"), "key": st.sampled_from(["k", "l"])}
    ),
    st.fixed_dictionaries({"arn_from": st.just("SECOND_ARN")}),
).map(lambda reference: {**reference})


def templates(known: list[str]) -> st.SearchStrategy[Json]:
    reference = st.sampled_from(known).map("${{{}}}".format)
    other = st.sampled_from(["$", "$$", "${", "}", "://", "$ALPHA", "é", "-", "${ALPHA:-x}"])
    text = st.lists(st.one_of(reference, other), min_size=1, max_size=4).map("".join)
    encoded = st.fixed_dictionaries({"template": text, "encode": st.just("url")})
    return st.one_of(st.fixed_dictionaries({"template": text}), encoded).map(dict)


@st.composite
def variables(draw: st.DrawFn, name: str, known: list[str]) -> dict[str, Json]:
    """One entry of the manifest, with a random choice of its fields."""
    condition = st.builds("{}={}".format, st.sampled_from(known), values)
    choices: dict[str, st.SearchStrategy[Json]] = {
        "required": st.booleans(),
        "required_when": condition,
        "default": values,
        "source": st.just("local"),
        "sensitive": st.booleans(),
        "secret": external_refs,
        "compose": templates(known),
    }
    fields = draw(st.sets(st.sampled_from(sorted(choices)), max_size=4))
    return {"name": name, **{field: draw(choices[field]) for field in sorted(fields)}}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    bootstrap = {
        **dict.fromkeys(ONLY_IN_BOOTSTRAP, "x$y"),
        "EMPTY": "",
        "FIRST_ARN": draw(st.sampled_from([f"{ARN}first", f"{ARN}gone", ""])),
        "SECOND_ARN": draw(st.sampled_from([f"{ARN}second", f"{ARN}gone", ""])),
        **draw(st.dictionaries(st.sampled_from(NAMES), values, max_size=4)),
    }
    known = [*names, *bootstrap]
    in_secrets = draw(st.lists(st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4), max_size=3))
    taken: set[str] = set()
    for secret in in_secrets:
        # A name twice is a fault, which other tests are about.
        for name in taken & set(secret):
            del secret[name]
        taken |= set(secret)
    first = draw(st.dictionaries(st.sampled_from(["k", "l"]), json_values, max_size=2))
    return World(
        variables=[draw(variables(name, known)) for name in names],
        bootstrap=bootstrap,
        # SSM itself refuses the empty string.
        parameters=draw(st.dictionaries(st.sampled_from(NAMES), some_texts, max_size=4)),
        secrets=in_secrets,
        externals={f"{ARN}first": json.dumps(first), f"{ARN}second": draw(texts)},
    )


# The world as the agent sees it.


def lookups(world: World) -> Lookups:
    places = ("", "deep/", "deep/er/")
    parameters = (
        Parameter(name=f"/ns/api/{places[number % 3]}{name}", value=Secret(value), secure=number % 2 == 0)
        for number, (name, value) in enumerate(world.parameters.items())
    )
    secrets = (
        Answer(asked=f"ns/api/{number}", text=Secret(json.dumps(content)))
        for number, content in enumerate(world.secrets)
    )
    externals = {arn: Answer(asked=arn, text=Secret(text)) for arn, text in world.externals.items()}
    return Lookups(
        asked=True,
        path="/ns/api/",
        prefix="ns/api/",
        parameters=tuple(parameters),
        secrets=(*secrets, Answer(asked="ns/api/secrets")),
        externals={**externals, f"{ARN}gone": Answer(asked=f"{ARN}gone")},
    )


def settled(world: World) -> dict[str, str]:
    """The environment that the agent makes of it."""
    # JSON is YAML; spellings of YAML are for other tests.
    text = json.dumps({"service": "api", "variables": world.variables}, ensure_ascii=False)
    manifest = parse(text.encode(), "vars.yaml", known=world.bootstrap)
    bootstrap = Bootstrap(path=Path("/.env"), variables=world.bootstrap, warnings=())
    resolution = resolve(manifest, bootstrap, lookups(world))
    return {name: value.reveal() for name, value in resolution.environment.items()}


@settings(
    max_examples=5_000 if LONG else 300, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
@given(worlds())
@pytest.mark.slow
def test_the_environment_and_what_is_missing_are_the_oracles(world: World) -> None:
    oracle = Oracle(world)
    try:
        environment, missing = oracle.environment(), oracle.missing()
    except Cycle:
        event("cycle")
        with pytest.raises(ManifestError) as refused:
            settled(world)
        assert any("in a cycle" in line for line in refused.value.details)
        return
    if missing:
        event("missing")
        with pytest.raises(UnresolvedError) as unresolved:
            settled(world)
        rows = [re.match(r"vars\.yaml:\d+:\d+: (\w+): ", line) for line in unresolved.value.details]
        assert [row[1] for row in rows if row] == [name for name in oracle.declared if name in missing]
    else:
        event("resolved")
        assert settled(world) == environment


@pytest.mark.parametrize("length", [2, 3, 40])
def test_a_chain_of_templates_is_built_in_the_order_of_what_it_draws_on(length: int) -> None:
    names = [f"V{number}" for number in range(length)]
    chain: list[dict[str, Json]] = [
        {"name": name, "compose": {"template": f"<${{{below}}}$>", "encode": "url"}}
        for name, below in zip(names[1:], names, strict=False)
    ]
    chain.reverse()
    environment = settled(World(variables=[*chain, {"name": "V0"}], bootstrap={"V0": "$"}))

    expected = "$"
    for _ in range(length - 1):
        expected = f"<{_written(expected, encode=True)}$>"
    assert environment[names[-1]] == expected


@pytest.mark.parametrize(
    ("condition", "value", "required"),
    [
        ("ALPHA=on", "on", True),
        ("ALPHA=on", "ON", False),
        ("ALPHA=on", " on", False),
        ("ALPHA=on", "only", False),
        ("ALPHA=a=b", "a=b", True),
        ("ALPHA=a=b", "a", False),
        ("ALPHA=", "", False),
    ],
)
def test_a_condition_compares_exactly_and_splits_at_the_first_equals_sign(
    condition: str, value: str, *, required: bool
) -> None:
    world = World(
        variables=[{"name": "ALPHA"}, {"name": "BETA", "required_when": condition}], bootstrap={"ALPHA": value}
    )

    assert Oracle(world).missing() == ({"BETA"} if required else set())
    if required:
        with pytest.raises(UnresolvedError):
            settled(world)
    else:
        assert "BETA" not in settled(world)
