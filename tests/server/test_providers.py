"""Tests of the declaration of providers: names, scopes, options, overriding."""

import functools
import sys

import pytest

from server import (
    ProviderDeclarationError,
    ProviderDoesNotExist,
    UnknownScope,
    discover_providers,
    override_provider,
    provider,
    providers,
    useprovider,
)
from server.providers import Provider, ProviderStore, used_providers


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> ProviderStore:
    """Take the place of the store that every declaration goes to."""
    fresh = ProviderStore()
    monkeypatch.setattr(providers, "STORE", fresh)
    return fresh


def value(made: Provider | None) -> object:
    assert made is not None
    return made.function()


# -- declaration -----------------------------------------------------------------------------------


def test_bare_decorator_declares_under_the_functions_name(store):
    @provider
    def clients():
        return set()

    assert isinstance(clients, Provider)
    assert store.get("clients") is clients
    assert (clients.name, clients.scope) == ("clients", "request")
    assert (clients.lazy, clients.autouse) == (False, False)


def test_decorator_with_options_declares_under_the_given_name(store):
    @provider(scope="app", name="history", autouse=True)
    def make_history():
        return []

    assert store.get("history") is make_history
    assert store.get("make_history") is None
    assert (make_history.scope, make_history.autouse) == ("app", True)


def test_decorator_may_be_called_without_options(store):
    @provider()
    async def user(): ...

    assert store.get("user") is user


@pytest.mark.parametrize("kind", ["def", "async def", "generator", "async generator"])
def test_all_four_kinds_of_functions_are_providers(kind):
    def function():
        return 1

    async def coroutine_function(): ...

    def generator():
        yield 1

    async def async_generator():
        yield 1

    kinds = {
        "def": function,
        "async def": coroutine_function,
        "generator": generator,
        "async generator": async_generator,
    }
    assert provider(kinds[kind]).function is kinds[kind]


def test_repr_shows_name_and_scope():
    assert repr(provider(dict.fromkeys, name="x", scope="app")) == "<Provider 'x' scope='app'>"


@pytest.mark.parametrize("scope", ["session", "", None, "App", ["app"]])
def test_unknown_scope_is_refused(scope):
    with pytest.raises(UnknownScope, match=r"'db': scope .* is neither 'request' nor 'app'"):

        @provider(scope=scope)
        def db(): ...


def test_lazy_provider_of_the_app_is_refused():
    with pytest.raises(ProviderDeclarationError, match="lazy needs scope 'request'"):

        @provider(scope="app", lazy=True)
        def db(): ...


def test_lazy_autouse_provider_is_refused():
    with pytest.raises(ProviderDeclarationError, match="autouse makes lazy pointless"):

        @provider(lazy=True, autouse=True)
        def db(): ...


@pytest.mark.parametrize("function", ["app", 42, dict, object()])
@pytest.mark.parametrize("options", [{}, {"name": "x"}])
def test_what_is_no_function_is_refused(function, options, store):
    with pytest.raises(ProviderDeclarationError, match="expected a function"):
        provider(function, **options)
    assert store.version == 0


def test_partial_takes_its_name_as_an_option(store):
    made = provider(functools.partial(int, "7"), name="seven")
    assert store.get("seven") is made
    assert value(made) == 7


def test_later_declaration_of_a_name_replaces_the_earlier(store):
    @provider
    def db():
        return "real"

    before = store.version

    @provider(name="db")
    def fake():
        return "fake"

    assert value(store.get("db")) == "fake"
    assert store.version > before


def test_autouse_providers_come_in_order_of_declaration(store):
    for name in ("b", "a", "c"):
        provider(lambda: None, name=name, autouse=name != "a")
    assert [made.name for made in store.autouse()] == ["b", "c"]


# -- lookup ----------------------------------------------------------------------------------------


def test_unknown_name_is_none_or_an_error_that_lists_the_known(store):
    assert store.get("x") is None
    with pytest.raises(ProviderDoesNotExist, match="no provider is called 'x'; declared: none"):
        store.require("x")
    provider(lambda: None, name="b")
    provider(lambda: None, name="a")
    with pytest.raises(ProviderDoesNotExist, match="declared: a, b"):
        store.require("x")


def test_provider_object_stands_for_the_one_in_force_under_its_name(store):
    first = provider(lambda: 1, name="a")
    assert store.require("a") is first
    assert store.require(first) is first
    second = provider(lambda: 2, name="a")
    assert store.require(first) is second


def test_provider_object_of_another_store_does_not_exist(store):
    stranger = Provider(lambda: 1, "stranger", "request", lazy=False, autouse=False)
    with pytest.raises(ProviderDoesNotExist):
        store.require(stranger)


# -- override --------------------------------------------------------------------------------------


def test_override_lasts_as_long_as_the_block(store):
    real = provider(lambda: "real", name="db", scope="app", autouse=True)
    versions = [store.version]
    with override_provider("db", lambda: "fake"):
        fake = store.get("db")
        assert value(fake) == "fake"
        assert (fake.scope, fake.autouse, fake.lazy) == ("app", True, False)
        versions.append(store.version)
    assert store.get("db") is real
    versions.append(store.version)
    assert versions == sorted(set(versions))


def test_override_keeps_a_lazy_provider_lazy(store):
    provider(lambda: "real", name="db", lazy=True)
    with override_provider("db", "fake"):
        assert store.get("db").lazy


@pytest.mark.parametrize("replacement", [None, 7, "text", [], {"a": 1}, dict, object()])
def test_override_takes_a_value_as_it_is(store, replacement):
    with override_provider("db", replacement):
        assert value(store.get("db")) is replacement


def test_override_takes_generators_and_methods_as_functions(store):
    class Fakes:
        def db(self):
            return self

    def generator():
        yield 1

    fakes = Fakes()
    for replacement in (generator, fakes.db):
        with override_provider("db", replacement):
            assert store.get("db").function == replacement


def test_override_of_an_unknown_name_disappears_again(store):
    with override_provider("db", 1):
        made = store.get("db")
        assert (made.scope, made.lazy, made.autouse) == ("request", False, False)
        version = store.version
    assert store.get("db") is None
    assert store.version > version


def test_override_ends_with_an_exception_too(store):
    real = provider(lambda: "real", name="db")
    with pytest.raises(KeyError), override_provider("db", 1):
        raise KeyError
    assert store.get("db") is real


def test_overrides_nest(store):
    real = provider(lambda: "real", name="db")
    with override_provider("db", 1):
        with override_provider("db", 2):
            assert value(store.get("db")) == 2
        assert value(store.get("db")) == 1
    assert store.get("db") is real


def test_override_keeps_the_order_of_autouse_providers(store):
    for name in ("a", "b"):
        provider(lambda: None, name=name, autouse=True)
    with override_provider("a", 1):
        assert [made.name for made in store.autouse()] == ["a", "b"]
    assert [made.name for made in store.autouse()] == ["a", "b"]


# -- useprovider -----------------------------------------------------------------------------------


def test_useprovider_marks_the_view_and_returns_it():
    async def view(ws): ...

    db = provider(lambda: 1, name="db")
    assert used_providers(view) == ()
    assert useprovider("a", db)(view) is view
    assert used_providers(view) == ("a", db)


def test_useprovider_may_stand_several_times_and_reads_downwards():
    @useprovider("a", "b")
    @useprovider("c")
    async def view(ws): ...

    assert used_providers(view) == ("a", "b", "c")


def test_useprovider_does_not_look_the_name_up_yet():
    @useprovider("declared_later")
    async def view(ws): ...

    assert used_providers(view) == ("declared_later",)


# -- discovery -------------------------------------------------------------------------------------


def test_discovery_imports_modules(store, tmp_path, monkeypatch):
    (tmp_path / "some_providers.py").write_text(
        "from server import provider\n\n@provider\ndef found():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    discover_providers("some_providers")
    monkeypatch.delitem(sys.modules, "some_providers")
    assert value(store.get("found")) == 1


def test_discovery_of_a_missing_module_is_an_import_error():
    with pytest.raises(ImportError, match="no_such_module"):
        discover_providers("no_such_module")
