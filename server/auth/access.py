"""Owns who may come in on a route: it asks the backends, then the guards; knows no connection."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.auth.guards import (
    AllowAny,
    Denied,
    Guard,
    GuardLike,
    check_guard_list,
    check_guards,
)
from server.auth.identity import AuthenticationFailed, Backend, Identity, check_backends
from server.auth.places import find_token
from server.handshake import Scope


@dataclass(frozen=True)
class Access:
    """The backends and guards of a route; None leaves it to the app."""

    backends: tuple[Backend, ...] | None = None
    guards: tuple[Guard, ...] | None = None

    @classmethod
    def of(cls, auth: Sequence[Backend] | None, guards: Sequence[GuardLike] | None) -> "Access":
        """Return it for what was given.

        Raises:
            TypeError: something in the lists is no backend or no guard.
        """
        return cls(
            None if auth is None else check_backends(auth),
            None if guards is None else check_guard_list(guards),
        )

    def over(self, default: "Access") -> "Access":
        """Return it with what it leaves open taken from another."""
        return Access(
            default.backends if self.backends is None else self.backends,
            default.guards if self.guards is None else self.guards,
        )

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for anything."""
        return not self.backends and not self.guards

    @property
    def is_public(self) -> bool:
        """Whether it lets in everybody in so many words."""
        return bool(self.guards) and isinstance(self.guards[0], AllowAny)  # type: ignore[index]

    @property
    def first_message_s(self) -> float | None:
        """How long the first message may take that brings the token; None: it never does."""
        waits = [backend.places.first_message_s for backend in self.backends or ()]
        return max((wait_s for wait_s in waits if wait_s is not None), default=None)

    async def identify(self, scope: Scope, *, is_websocket: bool) -> Identity | None:
        """Return whose handshake or request it is; None if it has no token.

        Raises:
            AuthenticationFailed: it has, and no backend finds it good; but where everybody may come
                in, that is as if it had none.
        """
        failure: AuthenticationFailed | None = None
        for backend in self.backends or ():
            try:
                found = find_token(backend.places, scope, is_websocket=is_websocket)
                if found is not None:
                    return await backend.identify(found.token)
            except AuthenticationFailed as error:
                failure = failure or error
        if failure is not None and not self.is_public:
            raise failure
        return None

    async def identify_token(self, token: str, *, late: bool) -> Identity:
        """Return whose token it is that came in a message.

        Args:
            late: only backends that take it from the first message count.

        Raises:
            AuthenticationFailed: no backend finds it good.
        """
        failure = AuthenticationFailed("No token is taken here")
        for backend in self.backends or ():
            if late and backend.places.first_message_s is None:
                continue
            try:
                return await backend.identify(token)
            except AuthenticationFailed as error:
                failure = error
        raise failure

    def check(self, identity: Identity | None) -> Denied | None:
        """Return what the guards have against this client, or None."""
        return check_guards(self.guards or (), identity)
