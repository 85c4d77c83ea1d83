"""`dataclass`, for a program of which every run loads a hundred of them and lives for half a second.

The standard library writes and compiles six methods for each class: 0.3 ms of CPU each, a tenth of what a rerun takes.
Here it makes the constructor, and the methods that compare, hash and show are the same ones for all classes. They do
what the library's do. That a frozen one is never assigned to is seen to by the type checker, which takes this for the
library's own decorator, and not again at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, kw_only: bool = False) -> object:
        """As `dataclasses.dataclass` with these options; with any other, use that one."""

        def make(made: type) -> type:
            own = made.__dict__
            if "__repr__" not in own:
                made.__repr__ = _shown
            if "__eq__" not in own:
                made.__eq__ = _same
                made.__hash__ = _hashed if frozen else None
            return dataclasses.dataclass(made, repr=False, eq=False, kw_only=kw_only)

        return make if cls is None else make(cls)

    def _compared(one: object) -> tuple[object, ...]:
        return tuple(getattr(one, field.name) for field in dataclasses.fields(one) if field.compare)

    def _same(one: object, other: object) -> bool:
        return _compared(one) == _compared(other) if other.__class__ is one.__class__ else NotImplemented

    def _hashed(one: object) -> int:
        return hash(_compared(one))

    def _shown(one: object) -> str:
        shown = (field.name for field in dataclasses.fields(one) if field.repr)
        return f"{one.__class__.__qualname__}({', '.join(f'{name}={getattr(one, name)!r}' for name in shown)})"
