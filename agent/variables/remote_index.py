"""What SSM and Secrets Manager gave, by variable name (contract section 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.aws.parameters import Parameter
from agent.aws.secrets import Answer
from agent.dataclass import dataclass
from agent.secret import Secret
from agent.variables import json_text

NOT_AN_OBJECT = "is not a JSON object"


@dataclass(frozen=True)
class Value:
    """One value from AWS; None stands for JSON's null. `where` is the parameter's or secret's name."""

    text: Secret | None
    where: str
    secure: bool

    @property
    def empty(self) -> bool:
        """Whether it counts as not provided: null, or the empty string."""
        return not self.text


class RemoteIndex:
    """`parameters` and `secrets`: all values that go by a name, the same name more than once when given more than once.

    `faults` are the secrets that are not what they must be, a line each.
    """

    def __init__(self, parameters: Iterable[Parameter], secrets: Iterable[Answer]) -> None:
        self.parameters: dict[str, list[Value]] = {}
        self.secrets: dict[str, list[Value]] = {}
        self.faults: list[str] = []
        for parameter in parameters:
            value = Value(parameter.value, f"SSM {parameter.name}", parameter.secure)
            self.parameters.setdefault(parameter.name.rpartition("/")[2], []).append(value)
        for answer in secrets:
            for key, value in self._fields(answer):
                self.secrets.setdefault(key, []).append(value)

    def _fields(self, answer: Answer) -> Iterator[tuple[str, Value]]:
        if answer.text is None:
            return
        where = f"Secrets Manager {answer.asked}"
        fields = json_text.parse_object(answer.text.reveal())
        if fields is None:
            self.faults.append(f"{where} {NOT_AN_OBJECT}")
            return
        for key, value in fields.items():
            yield key, Value(as_secret(value), where, secure=True)

    def get(self, name: str) -> Secret | None:
        """The value that counts: of Secrets Manager, else of SSM; None when neither has one that is not empty."""
        for values in (self.secrets.get(name, ()), self.parameters.get(name, ())):
            for value in values:
                if not value.empty:
                    return value.text
        return None


def as_secret(value: object) -> Secret | None:
    """A JSON value as a variable's (`json_text`), None for null."""
    text = json_text.printed(value)
    return None if text is None else Secret(text)
