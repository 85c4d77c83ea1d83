"""Which steps the code has: every name that is given to `run.step(...)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.packaging.checkout import CHECKOUT


def step_names() -> set[str]:
    """Names given as they are, and those that a function's parameter brings."""
    trees = [ast.parse(path.read_text()) for path in sorted((CHECKOUT / "agent").rglob("*.py"))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = set(_texts(call.args[0] for call in calls if _name(call) == "step" and call.args))
    for function in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for place, default in _step_parameters(function):
            given = [call.args[place] for call in calls if _name(call) == function.name and len(call.args) > place]
            found |= set(_texts([*given, *default]))
    return found


def _step_parameters(function: ast.FunctionDef) -> Iterator[tuple[int, list[ast.expr]]]:
    """Place and default of each parameter that the function hands on as the name of a step."""
    inner = [node for node in ast.walk(function) if isinstance(node, ast.Call) and _name(node) == "step" and node.args]
    used = {call.args[0].id for call in inner if isinstance(call.args[0], ast.Name)}
    parameters = [*function.args.posonlyargs, *function.args.args]
    defaults: list[ast.expr | None] = [None] * (len(parameters) - len(function.args.defaults))
    for place, (parameter, default) in enumerate(zip(parameters, [*defaults, *function.args.defaults], strict=True)):
        if parameter.arg in used and function.name != "step":
            yield place, [default] if default else []


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _texts(nodes: Iterator[ast.expr] | list[ast.expr]) -> Iterator[str]:
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
