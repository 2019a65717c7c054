"""Owns what authentication finds out about a client, and how it says no; knows no connection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from server.auth.places import Places


class AuthenticationFailed(Exception):
    """A token was presented and is no good; answered with 401, or with 4502 on an open connection.

    Attributes:
        detail: for the client; nothing of the token or a key may be in it.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a client is, as one backend has found.

    Attributes:
        backend: "jwt" or "api_key", or the name of an app's own backend.
        user_id: at most 64 bytes of UTF-8; None if the token does not say.
        claims: what else the token says.
        permissions: for the guards.
        is_staff, is_superuser: for the guards.
        expires_at_s: Unix time at which the token is good no longer; None: never.
    """

    backend: str
    user_id: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    permissions: frozenset[str] = frozenset()
    is_staff: bool = False
    is_superuser: bool = False
    expires_at_s: float | None = None

    def context(self) -> dict[str, Any]:
        """Return it as the keys of `websocket.context`, which are Django-Bolt's."""
        found: dict[str, Any] = {
            "user_id": self.user_id,
            "is_staff": self.is_staff,
            "is_superuser": self.is_superuser,
            "auth_backend": self.backend,
            "auth_claims": dict(self.claims),
        }
        if self.permissions:
            found["permissions"] = sorted(self.permissions)
        return found


class Backend(Protocol):
    """A way to authenticate: where its tokens are, and what one is worth.

    Attributes:
        places: where a client may put its token.
    """

    places: Places

    async def identify(self, token: str) -> Identity:
        """Return whose token it is.

        Raises:
            AuthenticationFailed: it is no good.
        """
