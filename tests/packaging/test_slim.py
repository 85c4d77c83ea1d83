"""What a package brings of botocore's descriptions is enough for botocore."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from tests.packaging.checkout import CHECKOUT

SLIM = runpy.run_path(str(CHECKOUT / "packaging" / "build" / "slim.py"))


@pytest.mark.parametrize("service", ["s3", "ssm", "secretsmanager", "ecr", "sts"])
def test_without_its_words_a_description_has_all_that_botocore_asks_it_for(service: str) -> None:
    whole: Any = Loader().load_service_model(service, "service-2")
    slim = ServiceModel(SLIM["without_words"](whole))
    words = ServiceModel(whole)

    assert [item.name for item in slim.client_context_parameters] == [
        item.name for item in words.client_context_parameters
    ]
    assert slim.operation_names == words.operation_names
    assert slim.shape_names == words.shape_names
    for name in slim.operation_names:
        ours, theirs = slim.operation_model(name), words.operation_model(name)
        assert ours.context_parameters == theirs.context_parameters
        assert [shape.name for shape in ours.error_shapes] == [shape.name for shape in theirs.error_shapes]
