"""Tests of the reading of signatures: kinds of parameters, annotations, kinds of functions."""

import functools
import uuid
from typing import Annotated, Any

import pytest

from server import Header, Query
from server.params import read_signature
from tests.server.read_arguments import ID, arguments, view_of
from tests.support import annotated


def test_first_parameter_is_the_connection_whatever_its_name():
    async def view(anything: "NoSuchName", n: int): ...  # type: ignore[name-defined]  # noqa: F821

    assert [p.name for p in read_signature(view, ()).parameters] == ["n"]


def test_providers_have_no_connection_in_front():
    def provider(n: int): ...

    signature = read_signature(provider, (), skip_first=False)
    assert [p.name for p in signature.parameters] == ["n"]


def test_keyword_only_parameters_are_read():
    async def view(ws, *, n: int = 1, m: int): ...

    assert arguments(view, "m=2") == {"n": 1, "m": 2}


def test_variadic_parameters_stay_empty():
    async def view(ws, *args: int, n: int = 1, **kwargs: int): ...

    assert arguments(view, "args=1&kwargs=2&other=3") == {"n": 1}


def test_variadic_parameters_may_take_the_connection():
    async def view(*args, n: int = 1): ...

    assert arguments(view, "n=2") == {"n": 2}


def test_positional_only_connection_is_fine():
    async def view(ws, /, n: int): ...

    assert arguments(view, "n=2") == {"n": 2}


def test_positional_only_parameter_cannot_be_passed():
    async def view(ws, n: int, /): ...

    with pytest.raises(TypeError, match=r"view\(\): 'n' is positional-only"):
        read_signature(view, ())


def test_text_annotations_are_evaluated():
    async def view(ws, a: "int", b: "Annotated[list[int], Query('x')]", c: "uuid.UUID"): ...

    assert arguments(view, f"a=1&x=2&x=3&c={ID}") == {"a": 1, "b": [2, 3], "c": uuid.UUID(ID)}


def test_annotations_of_a_module_that_postpones_them_are_evaluated():
    signature = read_signature(annotated.view, ["item"])
    assert [(p.name, p.source, p.wire_name, p.type) for p in signature.parameters] == [
        ("item", "path", "item", uuid.UUID),
        ("limit", "query", "limit", int | None),
        ("tags", "query", "tag", Annotated[list[str], Query("tag")]),
        ("agent", "header", "agent", Annotated[str, Header]),
    ]
    assert signature.depends == {"user": annotated.current_user}


def test_name_that_only_type_checkers_import_is_a_type_error():
    with pytest.raises(TypeError, match=r"only_for_type_checkers\(\).*'Decimal' of 'price'"):
        read_signature(annotated.only_for_type_checkers, ())


def test_local_name_that_the_function_uses_is_found():
    view = annotated.make_closure()
    assert read_signature(view, ()).annotations == {"number": int}


def test_local_name_that_the_function_does_not_use_is_a_type_error():
    view = annotated.make_closure_over_nothing()
    with pytest.raises(TypeError, match="define that name at module level"):
        read_signature(view, ())


def test_local_name_that_is_assigned_later_does_no_harm():
    local = int

    async def view(ws, n: "local"):  # type: ignore[valid-type]
        return local, later

    signature = read_signature(view, ())
    later = 1
    assert signature.annotations == {"n": int}
    assert later


def test_unevaluable_annotation_of_any_kind_is_a_type_error():
    for annotation in ("1 +", "1 / 0", "int[0]"):
        with pytest.raises(TypeError, match=r"cannot evaluate the annotation .* of 'value'"):
            read_signature(view_of(annotation), ())


def test_wrapped_function_is_read_in_its_own_module():
    @functools.wraps(annotated.view)
    async def wrapper(*args, **kwargs): ...

    names = [p.name for p in read_signature(wrapper, ["item"]).parameters]
    assert names == ["item", "limit", "tags", "agent"]


def test_partial_is_read_without_what_it_binds():
    view = functools.partial(annotated.view, user="bob")
    signature = read_signature(view, ["item"])
    assert [p.name for p in signature.parameters] == ["item", "limit", "tags", "agent"]
    assert [p.type for p in signature.parameters][:2] == [uuid.UUID, int | None]


def test_bound_method_has_its_connection_after_self():
    class Chat:
        async def view(self, ws, n: "int"): ...

    assert arguments(Chat().view, "n=2") == {"n": 2}


def test_callable_object_is_read_by_its_call():
    class Dependency:
        def __call__(self, n: int): ...

    signature = read_signature(Dependency(), (), skip_first=False)
    assert [p.name for p in signature.parameters] == ["n"]


def test_unannotated_function_has_any_for_every_annotation():
    async def view(ws, a, b=1): ...

    assert read_signature(view, ()).annotations == {"a": Any, "b": Any}
