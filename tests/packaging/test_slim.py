"""What a package brings of botocore's descriptions is enough for botocore, and for every call of the agent."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape

from tests.packaging.checkout import CHECKOUT

SLIM = runpy.run_path(str(CHECKOUT / "packaging" / "build" / "slim.py"))
OPERATIONS: dict[str, set[str]] = SLIM["OPERATIONS"]
# How the agent calls: `client.get_object(...)`, also without the brackets, or a paginator by the operation's name.
CALL = re.compile(r"client\.([a-z0-9_]+)\b")
PAGES = re.compile(r"get_paginator\(\"([a-z0-9_]+)\"\)")
NOT_CALLS = {"_endpoint", "get_paginator", "meta"}


def described(service: str) -> Any:  # noqa: ANN401 - any JSON
    return Loader().load_service_model(service, "service-2")


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_without_its_words_a_description_has_all_that_botocore_asks_it_for(service: str) -> None:
    whole = described(service)
    slim = ServiceModel(SLIM["without_words"](whole))
    words = ServiceModel(whole)

    assert [item.name for item in slim.client_context_parameters] == [
        item.name for item in words.client_context_parameters
    ]
    assert slim.operation_names == words.operation_names
    assert slim.shape_names == words.shape_names


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_an_operation_that_stays_has_all_of_its_members_errors_and_rules(service: str) -> None:
    whole = described(service)
    slim = ServiceModel(SLIM["with_operations"](SLIM["without_words"](whole), OPERATIONS[service]))

    assert set(slim.operation_names) == OPERATIONS[service]
    assert slim.metadata == ServiceModel(whole).metadata
    for name in OPERATIONS[service]:
        assert told(slim.operation_model(name)) == told(ServiceModel(whole).operation_model(name))


def told(operation: OperationModel) -> dict[str, object]:
    """All that botocore asks of an operation, down to the last member."""
    return {
        "http": operation.http,
        "input": tree(operation.input_shape),
        "output": tree(operation.output_shape),
        "errors": [(shape.name, tree(shape)) for shape in operation.error_shapes],
        "context": operation.context_parameters,
        "static": operation.static_context_parameters,
        "auth": (operation.auth_type, operation.unsigned_payload),
        "checksum": operation.http_checksum,
    }


def tree(shape: Shape | None, above: tuple[str, ...] = ()) -> object:
    if shape is None or shape.name in above:
        return shape and shape.name
    above = (*above, shape.name)
    parts = {name: tree(member, above) for name, member in getattr(shape, "members", {}).items()}
    for part in ("member", "key", "value"):
        if isinstance(inner := getattr(shape, part, None), Shape):
            parts[part] = tree(inner, above)
    return shape.type_name, shape.name, dict(shape.serialization), dict(shape.metadata), parts


def test_every_call_of_the_agent_is_an_operation_that_stays() -> None:
    kept = {xform_name(name) for names in OPERATIONS.values() for name in names}
    texts = [path.read_text() for path in sorted((CHECKOUT / "agent" / "aws").rglob("*.py"))]
    calls = {name for text in texts for name in (*CALL.findall(text), *PAGES.findall(text))} - NOT_CALLS

    assert {"list_objects_v2", "get_secret_value"} <= calls
    assert calls - kept == set()


def test_every_service_that_the_agent_makes_a_client_of_has_operations() -> None:
    tree = (CHECKOUT / "packaging" / "build" / "tree.py").read_text()
    (pattern,) = re.findall(r"CLIENT = re.compile\(r'(.*)'\)", tree)
    services = set(re.findall(pattern, (CHECKOUT / "agent" / "aws" / "session.py").read_text()))

    assert services == set(OPERATIONS)
