"""Owns the declaration of providers: names, scopes, overriding; knows no connection.

A provider makes a value that views ask for by parameter name. Values of scope "request" are made
once per connection (or HTTP request), values of scope "app" once per worker process.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, overload

from server.exceptions import ProviderDeclarationError, ProviderDoesNotExist, UnknownScope

Scope = Literal["request", "app"]
F = TypeVar("F", bound=Callable[..., Any])
_USED = "__switchboard_providers__"


class Provider:
    """A declared provider.

    Attributes:
        name: what views call their parameter.
        function: makes the value; def, async def, or a generator of either kind whose code
            after `yield` runs at teardown.
        lazy: the view gets an awaitable and pays only when it awaits it.
        autouse: made for every view, asked for or not.
    """

    __slots__ = ("autouse", "function", "lazy", "name", "scope")

    def __init__(
        self, function: Callable[..., Any], name: str, scope: Scope, lazy: bool, autouse: bool
    ) -> None:
        if scope not in ("request", "app"):
            raise UnknownScope(f"provider {name!r}: scope {scope!r} is neither 'request' nor 'app'")
        if lazy and scope == "app":
            raise ProviderDeclarationError(f"provider {name!r}: lazy needs scope 'request'")
        if lazy and autouse:
            raise ProviderDeclarationError(f"provider {name!r}: autouse makes lazy pointless")
        if inspect.isclass(function) or not callable(function):
            raise ProviderDeclarationError(f"provider {name!r}: expected a function")
        self.function = function
        self.name = name
        self.scope: Scope = scope
        self.lazy = lazy
        self.autouse = autouse

    def __repr__(self) -> str:
        return f"<Provider {self.name!r} scope={self.scope!r}>"


class ProviderStore:
    """All declared providers by name.

    Attributes:
        version: rises with every change, so that plans made before know they are stale.
    """

    def __init__(self) -> None:
        self._providers: dict[str, Provider] = {}
        self.version = 0

    def get(self, name: str) -> Provider | None:
        """Return the provider of that name, if any."""
        return self._providers.get(name)

    def require(self, name_or_provider: str | Provider) -> Provider:
        """Return the provider in force under that name.

        Raises:
            ProviderDoesNotExist: it was never declared.
        """
        name = name_or_provider if isinstance(name_or_provider, str) else name_or_provider.name
        found = self._providers.get(name)
        if found is None:
            known = ", ".join(sorted(self._providers)) or "none"
            raise ProviderDoesNotExist(f"no provider is called {name!r}; declared: {known}")
        return found

    def declare(self, provider: Provider) -> None:
        """Add a provider; one of the same name is replaced."""
        self._providers[provider.name] = provider
        self.version += 1

    def autouse(self) -> list[Provider]:
        """Return the providers made for every view, in order of declaration."""
        return [provider for provider in self._providers.values() if provider.autouse]

    @contextmanager
    def override(self, name: str, replacement: Any) -> Iterator[None]:
        """Put `replacement` (a function, or the value itself) in the place of a provider."""
        old = self._providers.get(name)
        function = replacement if inspect.isroutine(replacement) else lambda: replacement
        scope: Scope = old.scope if old else "request"
        lazy = old.lazy if old else False
        self.declare(Provider(function, name, scope, lazy, old.autouse if old else False))
        try:
            yield
        finally:
            if old is None:
                del self._providers[name]
                self.version += 1
            else:
                self.declare(old)


STORE = ProviderStore()
"""The store that `provider` declares into; one per process, like the modules that declare."""


@overload
def provider(
    function: Callable[..., Any],
    *,
    scope: Scope = "request",
    name: str | None = None,
    lazy: bool = False,
    autouse: bool = False,
) -> Provider: ...


@overload
def provider(
    *, scope: Scope = "request", name: str | None = None, lazy: bool = False, autouse: bool = False
) -> Callable[[Callable[..., Any]], Provider]: ...


def provider(
    function: Callable[..., Any] | None = None,
    *,
    scope: Scope = "request",
    name: str | None = None,
    lazy: bool = False,
    autouse: bool = False,
) -> Provider | Callable[[Callable[..., Any]], Provider]:
    """Declare a provider; the decorated name becomes the `Provider`.

    Usable as `@provider` and as `@provider(scope="app")`. Declaring a name again replaces it.

    Raises:
        UnknownScope: the scope is neither "request" nor "app".
        ProviderDeclarationError: a lazy provider of scope "app", or not a function.
    """

    def declare(function: Callable[..., Any]) -> Provider:
        label = name or str(getattr(function, "__name__", function))
        made = Provider(function, label, scope, lazy, autouse)
        STORE.declare(made)
        return made

    return declare if function is None else declare(function)


def useprovider(*names_or_providers: str | Provider) -> Callable[[F], F]:
    """Make providers for a view that does not take their values; goes under the route decorator.

    A name that is not declared by then is reported when the route is first used or at startup.
    """

    def mark(view: F) -> F:
        setattr(view, _USED, names_or_providers + used_providers(view))
        return view

    return mark


def used_providers(view: Callable[..., Any]) -> tuple[str | Provider, ...]:
    """Return what `useprovider` asked for on this view."""
    return tuple(getattr(view, _USED, ()))


def override_provider(name: str, replacement: Any) -> Any:
    """Replace a provider inside a `with` block, for tests.

    Args:
        name: the provider's name; it need not exist.
        replacement: a function in the manner of a provider, or simply the value.
    """
    return STORE.override(name, replacement)


def discover_providers(*modules: str) -> None:
    """Import modules by dotted name so that the providers in them are declared.

    Raises:
        ImportError: a module cannot be imported.
    """
    for module in modules:
        importlib.import_module(module)
