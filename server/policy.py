"""Owns what an app asks of its clients, and the gate that makes of it for each route."""

from collections.abc import Iterable, Mapping
from typing import Any

from server.auth.access import Access
from server.gate import Gate
from server.limits import ConnectionLimits, tighten
from server.origin import Origins
from server.proxies import TrustedProxies
from server.rates import RateLimiter
from server.routes import HTTPRoute
from server.websocket_route import WebSocketRoute


class Policy:
    """What routes have that do not say.

    Attributes:
        access, origins, limits: for them.
        ceilings: limits by name that no route's own may be wider than; None is no ceiling.
        proxies: those who may say for whom they speak; None: nobody.
    """

    def __init__(
        self,
        *,
        access: Access | None = None,
        origins: Origins | None = None,
        limits: ConnectionLimits | None = None,
        proxies: Iterable[str] = (),
    ) -> None:
        self.access = access or Access()
        self.origins = origins or Origins()
        self.limits = limits or ConnectionLimits()
        self.ceilings: Mapping[str, Any] = {}
        self.proxies: TrustedProxies | None = None
        self._rates = RateLimiter()
        self._gates: dict[WebSocketRoute | HTTPRoute, Gate] = {}
        self.trust(proxies)

    def trust(self, proxies: Iterable[str]) -> None:
        """Believe these proxies, and no others.

        Raises:
            ValueError: one is no address and no network.
        """
        trusted = [*proxies]
        self.proxies = TrustedProxies(trusted) if trusted else None

    def gate(self, route: WebSocketRoute | HTTPRoute) -> Gate:
        """Return the gate of a route."""
        gate = self._gates.get(route)
        if gate is None:
            origins, limits = self.origins, self.limits
            if isinstance(route, WebSocketRoute):
                origins = route.origins or origins
                if route.limits is not None:
                    limits = tighten(route.limits, self.ceilings)
            gate = self._gates[route] = Gate(
                route,
                access=route.access.over(self.access),
                origins=origins,
                limits=limits,
                rates=self._rates,
            )
        return gate
