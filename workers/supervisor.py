"""Owns the life of the server as a whole: start, reload, drain, end.

It runs in the process that the user started, in an asyncio loop of its own, and never loads the
app. Who serves on the admin port it is given as an ASGI app.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from setproctitle import setproctitle

from workers.crew import Crew, CrewConfig
from workers.directories import directory_for, remove_stale
from workers.granian import ASGIApp, Host
from workers.layout import Labels, ServerState, Sizes
from workers.listener import listen, reserve
from workers.notify import notify, reloading
from workers.process import Task
from workers.segment import Segment

# `make` and a terminal both pass one Ctrl-C on, so the same stop may arrive twice at once.
SAME_SIGNAL_S = 0.3
ADMIN_STOP_S = 2.0

log = logging.getLogger("switchboard.supervisor")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What the supervisor is told.

    Attributes:
        task: what workers are told; its `segment` and `supervisor` are filled in here.
        base: the directory for what processes share.
        admin: makes the ASGI app of the admin port.
        look_again: looks at the app anew for a reload; raises with one line if it is no good. It is
            cancelled when the server is to stop.
        on_ready: called once, when the workers serve, with the admin port.
    """

    app: str
    task: Callable[[str], Task]
    crew: CrewConfig
    labels: Labels
    sizes: Sizes
    base: Path
    admin_host: str
    admin_port: int
    admin: Callable[[Segment], ASGIApp]
    look_again: Callable[[], Awaitable[Labels]]
    on_ready: Callable[[int], None]


class Supervisor:
    """One server, from its start to its end."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._stop_asked = asyncio.Event()
        self._at_once = asyncio.Event()
        self._asked_at = 0.0
        self._roll: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Serve until a signal; returns the exit code.

        Raises:
            SegmentError: the shared memory cannot be made.
            OSError: a port was taken meanwhile.
        """
        config = self._config
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        loop.add_signal_handler(signal.SIGINT, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # there is nothing to reload yet
        for directory in remove_stale(config.base):
            log.info("removed what a dead server had left: %s", directory.name)
        held = reserve(config.crew.host, config.crew.port)
        segment = self._make_segment()
        try:
            assert segment.path is not None
            task = config.task(str(segment.path))
            setproctitle(task.title)
            crew = Crew(segment, task, config.crew)
            admin = await self._start_admin(segment)
            try:
                await self._serve(segment, crew)
            finally:
                await admin.stop(ADMIN_STOP_S)
        finally:
            segment.server_state = ServerState.STOPPED
            segment.remove()
            segment.close()
            held.close()
        return 0

    def _make_segment(self) -> Segment:
        config, labels = self._config, self._config.labels
        return Segment.create(
            directory_for(config.base),
            config.sizes,
            routes=labels.routes,
            codes=labels.codes,
            statuses=labels.statuses,
            app=config.app,
            host=config.crew.host,
            port=config.crew.port,
        )

    async def _start_admin(self, segment: Segment) -> Host:
        listener = listen(
            self._config.admin_host, self._config.admin_port, self._config.crew.listener
        )
        segment.admin_port = listener.getsockname()[1]
        admin = Host(self._config.admin(segment), listener, backlog=128)
        await admin.start()
        return admin

    async def _serve(self, segment: Segment, crew: Crew) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._on_reload, segment, crew)
        crew.start()
        word = loop.create_task(self._say_ready(segment, crew))
        await self._stop_asked.wait()
        word.cancel()
        if self._roll is not None:
            self._roll.cancel()
            with suppress(asyncio.CancelledError):
                await self._roll
        segment.server_state = ServerState.DRAINING
        notify("STOPPING=1", "STATUS=draining")
        log.info("draining; once more stops at once")
        drain = loop.create_task(crew.drain())
        hurry = loop.create_task(self._at_once.wait())
        await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not drain.done():
            log.warning("stopping at once")
            drain.cancel()
            with suppress(asyncio.CancelledError):
                await drain
            await crew.stop()
        drain.cancel()

    async def _say_ready(self, segment: Segment, crew: Crew) -> None:
        """Say once that the server serves, and systemd how it is from then on."""
        wanted = self._config.crew.workers
        while not (crew.all_tried and crew.ready):
            crew.changed.clear()
            await crew.changed.wait()
        segment.server_state = ServerState.SERVING
        notify("READY=1")
        self._config.on_ready(segment.admin_port)
        while True:
            notify(f"STATUS={crew.ready} of {wanted} workers ready")
            crew.changed.clear()
            await crew.changed.wait()

    # -- signals -------------------------------------------------------------------------------

    def _on_stop(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stop_asked.is_set():
            self._asked_at = now
            self._stop_asked.set()
        elif now - self._asked_at > SAME_SIGNAL_S:
            self._at_once.set()

    def _on_reload(self, segment: Segment, crew: Crew) -> None:
        if self._stop_asked.is_set():
            return
        if self._roll is not None and not self._roll.done():
            log.warning("a reload is under way; this one is ignored")
            return
        self._roll = asyncio.get_running_loop().create_task(self._reload(segment, crew))

    async def _reload(self, segment: Segment, crew: Crew) -> None:
        log.info("reloading")
        reloading()
        reason = await self._try_reload(segment, crew)
        if reason is None:
            segment.count_reload(succeeded=True)
            log.info("reloaded")
        else:
            segment.count_reload(succeeded=False)
            log.error("reload given up, the workers not replaced serve on: %s", reason)
        notify("READY=1")

    async def _try_reload(self, segment: Segment, crew: Crew) -> str | None:
        try:
            labels = await self._config.look_again()
            segment.add_routes(labels.routes)
            return await crew.roll()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return f"{type(error).__name__}: {error}" if not str(error) else str(error)
