"""Owns what a worker process does with its assignment: it loads the app and gives it its place.

`workers.worker` calls `load` by name; it knows no more of this package.
"""

from dataclasses import replace
from typing import Any

import msgspec

from server.app import App
from server.close_codes import CloseCode
from server.exceptions import SettingsError
from server.loader import load_app
from server.logs import configure
from server.settings import Settings
from workers.doorbell import Message
from workers.granian import ASGIApp
from workers.worker import Place


class Served:
    """An app in its worker."""

    def __init__(self, app: App | ASGIApp) -> None:
        self._app = app if isinstance(app, App) else None
        self.asgi: ASGIApp = app.call if isinstance(app, App) else app

    async def drain(self, *, drain_s: float, is_replaced: bool) -> None:
        """Close all connections: 1012 if another worker takes over, 1001 if the server ends.

        What a foreign ASGI app holds is its own.
        """
        if self._app is not None:
            code = CloseCode.SERVICE_RESTART if is_replaced else CloseCode.GOING_AWAY
            await self._app.drain(code=code, drain_s=drain_s, refuse=not is_replaced)

    def handle_message(self, message: Message) -> None:
        """Take what another process sent."""
        if self._app is not None:
            self._app.handle_message(message)


def load(options: dict[str, Any], place: Place) -> Served:
    """Load the app and hand it its settings and its place in the server.

    Args:
        options: `{"app": "pkg.mod:attribute", "settings": {...}}`.

    Raises:
        SystemExit: the app cannot be used; with one line.
    """
    settings = msgspec.convert(options["settings"], Settings)
    configure(settings.log_level, settings.log_format, worker=place.index)
    try:
        app = load_app(options["app"])
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    if isinstance(app, App):
        app.configure(
            settings.connection.limits(),
            admission=vars(settings.admission),
            limits=vars(settings.limits),
            trusted_proxies=settings.proxies(),
        )
        app.adopt(place.segment, place.slot, generation=place.generation, worker_index=place.index)
    return Served(app)


def options(app: str, settings: Settings) -> dict[str, Any]:
    """Return what `load` takes, in plain values; the key is none of a worker's business."""
    told = replace(settings, admin_key="", admin_key_file="")
    return {"app": app, "settings": msgspec.to_builtins(told)}
