"""Owns the look at the server from outside: what its admin port serves at /metrics, each second.

It is told the address and knows no server; without an answer it has seen nothing, and goes on.
"""

import threading
import time
import urllib.error
import urllib.request
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from http.client import HTTPException

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from loadtest.results import Run, Sample, WorkerUse

EVERY_S = 1.0
TIMEOUT_S = 5.0
SETTLED_S = 0.2  # what a connection has counted is swept up when it ends
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # straight to the server
_USED = (
    "ws_worker_cpu_seconds_total",
    "ws_worker_resident_memory_bytes",
    "ws_connections",
    "ws_worker_event_loop_lag_seconds",
    "ws_worker_open_files",
    "ws_worker_max_files",
)


class WatchError(Exception):
    """There are no metrics at that address; the text says why."""


class Scrape(msgspec.Struct, frozen=True):
    """What /metrics said at one time.

    Attributes:
        at: Unix time.
        counters: by series, such as `ws_connections_opened_total{route="/ws/echo"}`.
        workers: by worker, then by the metric that is of interest, summed over other labels.
    """

    at: float
    counters: dict[str, float]
    workers: dict[str, dict[str, float]]

    @property
    def connections(self) -> int:
        """All that are open."""
        return round(sum(used.get("ws_connections", 0) for used in self.workers.values()))


class Look(msgspec.Struct, frozen=True):
    """What the workers use at one time."""

    at: float
    workers: list[WorkerUse]


def scrape(url: str) -> Scrape:
    """Fetch and read the metrics.

    Raises:
        WatchError: nobody answers, or not with metrics.
    """
    try:
        with _OPENER.open(url, timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
        return read(text, time.time())
    except urllib.error.HTTPError as error:
        raise WatchError(f"{url} answered {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise WatchError(f"{url} does not answer: {reason}") from None
    except ValueError:
        raise WatchError(f"{url} answers, but not with metrics of Switchboard") from None


def read(text: str, at: float) -> Scrape:
    """Read the Prometheus text format."""
    counters: dict[str, float] = {}
    workers: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.type == "counter" and sample.name.endswith("_total"):
                counters[_series(sample.name, sample.labels)] = sample.value
            if sample.name in _USED and "worker" in sample.labels:
                workers[sample.labels["worker"]][sample.name] += sample.value
    if not any(name.startswith("ws_") for name in counters):
        raise ValueError("no metric begins with ws_")
    return Scrape(at, counters, {worker: dict(used) for worker, used in workers.items()})


def _series(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def admin_url(admin: str) -> str:
    """Complete what the user gave as the admin port: 9464, 10.0.0.5:9464, or a whole address.

    Raises:
        WatchError: it is none.
    """
    if "://" not in admin:
        admin = f"http://127.0.0.1:{admin}" if admin.isdigit() else f"http://{admin}"
    if not admin.startswith(("http://", "https://")):
        raise WatchError(f"--admin {admin} is no address; give it as in http://127.0.0.1:9464")
    return admin if admin.endswith("/metrics") else f"{admin.rstrip('/')}/metrics"


def use_between(earlier: Scrape, later: Scrape) -> list[WorkerUse]:
    """Say what each worker uses, its processor from one scrape to the next."""
    seconds = max(later.at - earlier.at, 1e-3)
    uses = []
    for worker, now in sorted(later.workers.items(), key=lambda item: item[0].zfill(4)):
        cpu = now.get("ws_worker_cpu_seconds_total", 0.0)
        before = earlier.workers.get(worker, {}).get("ws_worker_cpu_seconds_total", 0.0)
        # A worker that was started anew begins at 0 again.
        spent = cpu - before if cpu >= before else cpu
        uses.append(
            WorkerUse(
                worker=worker,
                cpu_cores=round(spent / seconds, 3),
                resident_mib=round(now.get("ws_worker_resident_memory_bytes", 0) / 2**20, 1),
                connections=round(now.get("ws_connections", 0)),
                lag_ms=round(1e3 * now.get("ws_worker_event_loop_lag_seconds", 0), 1),
                files_share=round(
                    now.get("ws_worker_open_files", 0) / (now.get("ws_worker_max_files", 0) or 1), 3
                ),
            )
        )
    return uses


def deltas(start: Scrape, end: Scrape) -> dict[str, float]:
    """Return by how much each counter has grown, without those that have not."""
    grown = {
        series: value - start.counters.get(series, 0.0) for series, value in end.counters.items()
    }
    return {series: delta for series, delta in grown.items() if delta}


class Watch:
    """Looks at the server once a second, in a thread, from `start` to `stop`."""

    def __init__(self, url: str, every_s: float = EVERY_S) -> None:
        self.url = url
        self.looks: list[Look] = []
        self._every_s = every_s
        self._first = self._last = scrape(url)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def connections_before(self) -> int:
        """Those that others had open when the watch began."""
        return self._first.connections

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join()

    def deltas(self, settle_s: float = SETTLED_S, patience_s: float = 10.0) -> dict[str, float]:
        """Return what the counters have changed by, once the server is done with our connections.

        Empty if it no longer answers, or was started anew meanwhile.
        """
        deadline = time.monotonic() + patience_s
        try:
            while scrape(self.url).connections > self.connections_before:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.1)
            time.sleep(settle_s)
            end = scrape(self.url)
        except WatchError:
            return {}
        changed = deltas(self._first, end)
        return {} if any(_is_ours(series) and d < 0 for series, d in changed.items()) else changed

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            # A slow answer does not make the next ones come in a burst.
            due = max(due + self._every_s, time.monotonic())
            try:
                now = scrape(self.url)
            except WatchError:
                continue
            if now.at - self._last.at >= self._every_s / 4:
                self.looks.append(Look(now.at, use_between(self._last, now)))
                self._last = now


def _is_ours(series: str) -> bool:
    """Tell the counters that outlive a worker from those of its process."""
    return not series.startswith("ws_worker_")


def add_to(run: Run, looks: list[Look], server_deltas: dict[str, float]) -> Run:
    """Put what was seen of the server into a run: to each sample the look that was next to it."""
    samples = [_with(sample, run.started_at + sample.at_s, looks) for sample in run.samples]
    return msgspec.structs.replace(run, samples=samples, server_deltas=server_deltas)


def _with(sample: Sample, at: float, looks: list[Look]) -> Sample:
    place = bisect_left(looks, at, key=lambda look: look.at)
    near: Iterable[Look] = looks[max(0, place - 1) : place + 1]
    nearest = min(near, key=lambda look: abs(look.at - at), default=None)
    if nearest is None or abs(nearest.at - at) > 2 * EVERY_S:
        return sample
    return msgspec.structs.replace(sample, server=nearest.workers)
