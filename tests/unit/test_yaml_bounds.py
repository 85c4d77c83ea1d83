"""A document is composed alike by both of PyYAML's scanners, and stops at the same bounds.

The packages bring the one in Python; what pip installs may have libyaml's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]

DOCUMENTS = [
    "",
    "service: api\nvariables:\n- {name: A, default: '010', containers: [x, y]}\n- {name: B, default: 1e3}\n",
    "a: &a {b: 1}\nc: *a\n",
    "a: &a {b: 1}\nd: {<<: *a}\n",
    "text: |\n  two\n  lines\nother: >-\n  folded\n  text\n",
    "x: " + "[" * 41 + "]" * 41,
    "x: " + "[" * 39 + "]" * 39,
    "x: " + "[" * 100_000,
    "a: 1\n---\nb: 2\n",
    "a: 1\n...\n---\nb: 2\n",
    "- a\n" * 400_001,
]

_SHOW = """
import json, sys
sys.path.insert(0, sys.argv[1])
import yaml
if sys.argv[2] == "python":
    vars(yaml).pop("CSafeLoader", None)
from agent.variables.yaml_bounds import OutOfBoundsError, bounded, problem

def shown(node):
    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode):
        value = node.value
    elif isinstance(node, yaml.SequenceNode):
        value = [shown(item) for item in node.value]
    else:
        value = [[shown(key), shown(item)] for key, item in node.value]
    return [node.tag, node.start_mark.line, node.start_mark.column, value]

told = []
for text in json.load(sys.stdin):
    try:
        told.append(shown(bounded(text).get_single_node()))
    except OutOfBoundsError as error:
        told.append([error.text, error.mark.line, error.mark.column])
    except yaml.MarkedYAMLError as error:
        told.append([problem(error), error.problem_mark.line, error.problem_mark.column])
json.dump(told, sys.stdout)
"""


def composed(scanner: str, documents: Sequence[str] = DOCUMENTS) -> list[object]:
    argv = [sys.executable, "-I", "-c", _SHOW, str(CHECKOUT), scanner]
    done = subprocess.run(argv, input=json.dumps(documents), capture_output=True, text=True, check=True)
    told: list[object] = json.loads(done.stdout)
    return told


@pytest.mark.slow
def test_the_scanner_in_python_stops_at_the_bounds_and_reads_the_rest() -> None:
    told = composed("python")

    assert told[0] is None
    shared = ["tag:yaml.org,2002:map", 0, 3, [[_key("b", 0, 7), ["tag:yaml.org,2002:int", 0, 10, "1"]]]]
    assert told[2] == ["tag:yaml.org,2002:map", 0, 0, [[_key("a", 0, 0), shared], [_key("c", 1, 0), shared]]]
    assert told[5] == told[7] == ["nested deeper than 40 levels", 0, 42]
    assert told[6] != told[5]
    assert told[8] == ["a second document begins; a manifest is one document", 1, 0]
    assert told[9] == ["a second document begins; a manifest is one document", 2, 0]
    assert told[10][0] == "too large for a manifest"  # type: ignore[index] # read from JSON


def test_what_is_wrong_is_told_with_the_character_and_without_the_names_of_the_file() -> None:
    assert composed(
        "python", ["a: 1\nb:\n\t- x\n", "a: [A, B\nc: 1\n", "a: *c4nary\n", "a: &c4nary 1\nb: &c4nary 2\n"]
    ) == [
        ["while scanning for the next token, found character '\\t' that cannot start any token", 2, 0],
        ["while parsing a flow sequence, expected ',' or ']', but got ':'", 1, 1],
        ["found undefined alias ...", 0, 3],
        ["found duplicate anchor ...; first occurrence, second occurrence", 1, 3],
    ]


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="this PyYAML has no libyaml")
@pytest.mark.slow
def test_that_of_libyaml_does_the_same() -> None:
    assert composed("libyaml") == composed("python")


def _key(name: str, line: int, column: int) -> list[object]:
    return ["tag:yaml.org,2002:str", line, column, name]
