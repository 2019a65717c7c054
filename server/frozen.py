"""Owns JSON values that cannot be changed; does not know where they come from.

They are dicts and lists: equal to plain ones, and encoded like them. But to change one raises,
because the change would be lost.
"""

from collections.abc import Mapping
from typing import Any, NoReturn


def freeze(value: Any) -> Any:
    """Return a copy of dicts and lists, however deep, that refuses to be changed.

    Everything else stays what it is: no other JSON value can be changed.
    """
    if isinstance(value, Mapping):
        return FrozenDict({key: freeze(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return FrozenList([freeze(inner) for inner in value])
    return value


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("this is read-only; a copy.deepcopy() of it is not")


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a copy is a plain one


class FrozenList(list[Any]):
    """A list that cannot be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)
