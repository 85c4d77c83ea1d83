"""What Compose makes of a text with variables in it, also where not every value is known."""

from __future__ import annotations

from collections.abc import Mapping

from agent.compose_file.interpolation import Literal, Malformed, Part, Reference

# Stands in a filled text for a value that is not known; no text of a compose file can hold it.
UNKNOWN = "\0"

Values = Mapping[str, str | None]


def fill(parts: tuple[Part, ...], values: Values) -> str | None:
    """The text with its variables filled in; None when Compose refuses it.

    A name with the value None may have one that nobody knows here, a name that is absent has none.
    """
    filled = [_one(part, values) for part in parts]
    return "".join(text for text in filled if text is not None) if None not in filled else None


def _one(part: Part, values: Values) -> str | None:
    if isinstance(part, Literal):
        return part.text
    # Compose 2.26 reads what follows an operator also where it does not need it.
    argument = None if isinstance(part, Malformed) else fill(part.argument, values)
    if isinstance(part, Malformed) or argument is None:
        return None
    if part.name in values and values[part.name] is None:
        # Either nothing or nothing else is known all the same.
        return "" if part.operator.endswith("+") and not argument else UNKNOWN
    return _known(part, argument, values.get(part.name))


def _known(part: Reference, argument: str, value: str | None) -> str | None:
    """By the operator: with a colon, an empty value is as good as none."""
    there = bool(value) if part.operator.startswith(":") else value is not None
    match part.operator[-1:]:
        case "?" if not there:
            return None
        case "-" if not there:
            return argument
        case "+":
            return argument if there else ""
    return value or ""
