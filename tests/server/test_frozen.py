"""Owns the proof that frozen values are like plain ones, but for being changed."""

import copy
import json
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.frozen import freeze

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(map(is_plain, value.values()))
    if isinstance(value, list):
        return type(value) is list and all(map(is_plain, value))
    return True


@given(_json)
def test_a_frozen_value_is_equal_to_a_plain_one_and_encoded_like_it(value: Any) -> None:
    frozen = freeze(value)
    assert frozen == value
    assert repr(frozen) == repr(value)
    assert json.dumps(frozen) == json.dumps(value)


def test_msgspec_encodes_it() -> None:
    value = {"user": {"name": "ann"}, "cart": [{"item": "tea"}, [1.5, None]]}
    assert msgspec.json.encode(freeze(value)) == msgspec.json.encode(value)
    assert msgspec.msgpack.encode(freeze(value)) == msgspec.msgpack.encode(value)


@given(_json)
def test_a_copy_of_it_is_plain_however_deep(value: Any) -> None:
    for copied in (copy.deepcopy(freeze(value)), pickle.loads(pickle.dumps(freeze(value)))):  # noqa: S301
        assert copied == value
        assert is_plain(copied)


def test_it_does_not_follow_what_it_was_made_from() -> None:
    inner = [1]
    frozen = freeze({"inner": inner})
    inner.append(2)
    assert frozen == {"inner": [1]}


def test_any_mapping_becomes_a_dict() -> None:
    assert freeze(MappingProxyType({"a": [1]})) == {"a": [1]}


def _item(value: Any, key: Any = 0) -> None:
    value[key] = 1


def _delete(value: Any, key: Any = 0) -> None:
    del value[key]


def _slice(value: Any) -> None:
    value[:] = []


def _or(value: Any) -> None:
    value |= {"b": 1}


def _add(value: Any) -> None:
    value += [1]


def _times(value: Any) -> None:
    value *= 2


@pytest.mark.parametrize(
    "change",
    [
        lambda value: _item(value, "a"),
        lambda value: _delete(value, "a"),
        _or,
        lambda value: value.clear(),
        lambda value: value.pop("a"),
        lambda value: value.popitem(),
        lambda value: value.setdefault("b", 1),
        lambda value: value.update(b=1),
    ],
)
def test_a_dict_refuses_every_change(change: Callable[[Any], None]) -> None:
    frozen = freeze({"a": 1})
    with pytest.raises(TypeError, match="read-only"):
        change(frozen)
    assert frozen == {"a": 1}
    assert not hasattr(frozen, "__dict__")


@pytest.mark.parametrize(
    "change",
    [
        _item,
        _delete,
        _slice,
        _add,
        _times,
        lambda value: value.append(1),
        lambda value: value.clear(),
        lambda value: value.extend([1]),
        lambda value: value.insert(0, 1),
        lambda value: value.pop(),
        lambda value: value.remove(3),
        lambda value: value.reverse(),
        lambda value: value.sort(),
    ],
)
def test_a_list_refuses_every_change(change: Callable[[Any], None]) -> None:
    frozen = freeze([3, 2])
    with pytest.raises(TypeError, match="read-only"):
        change(frozen)
    assert frozen == [3, 2]
