"""Owns the proof that a server's metrics are read as they are, and that their lack is said."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from loadtest import watch
from loadtest.results import WorkerUse
from loadtest.watch import Look, Scrape, WatchError
from tests.loadtest import runs
from tests.support import servers

TEXT = """\
# TYPE ws_connections gauge
ws_connections{route="/a",worker="0"} 3
ws_connections{route="/b",worker="0"} 4
ws_connections{route="/a",worker="1"} 5
# TYPE ws_connections_opened_total counter
ws_connections_opened_total{route="/a"} %d
ws_connections_opened_total{route="/b"} 7
# TYPE ws_worker_cpu_seconds_total counter
ws_worker_cpu_seconds_total{worker="0"} 1.5
ws_worker_cpu_seconds_total{worker="1"} 0.25
# TYPE ws_worker_resident_memory_bytes gauge
ws_worker_resident_memory_bytes{worker="0"} 52428800
# TYPE ws_worker_event_loop_lag_seconds gauge
ws_worker_event_loop_lag_seconds{worker="0"} 0.0025
# TYPE ws_worker_open_files gauge
ws_worker_open_files{worker="0"} 50
# TYPE ws_worker_max_files gauge
ws_worker_max_files{worker="0"} 200
"""


@contextmanager
def _serving(texts: list[str], status: int = 200) -> Iterator[str]:
    """Serve these texts one after the other, the last one from then on."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (texts.pop(0) if len(texts) > 1 else texts[0]).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def test_read():
    """Counters by series, gauges by worker, summed over routes."""
    scrape = watch.read(TEXT % 12, at=5.0)

    assert scrape.counters['ws_connections_opened_total{route="/a"}'] == 12
    assert scrape.connections == 12
    assert scrape.workers["0"]["ws_connections"] == 7


def test_use_between():
    """The processor is what was used in between; a worker that was started anew began at 0."""
    earlier = Scrape(0.0, {}, {"0": {"ws_worker_cpu_seconds_total": 0.5}})
    later = watch.read(TEXT % 1, at=2.0)
    reborn = Scrape(0.0, {}, {"0": {"ws_worker_cpu_seconds_total": 90.0}})

    first = WorkerUse(
        worker="0", cpu_cores=0.5, resident_mib=50, connections=7, lag_ms=2.5, files_share=0.25
    )
    assert watch.use_between(earlier, later)[0] == first
    assert watch.use_between(reborn, later)[0].cpu_cores == 0.75


def test_watch():
    """It looks again and again, and tells what has grown, and nothing else."""
    with _serving([TEXT % 2, TEXT % 9]) as url:
        seen = watch.Watch(url, every_s=0.02)
        seen.start()
        while len(seen.looks) < 2:
            pass
        seen.stop()
        assert seen.deltas(settle_s=0) == {'ws_connections_opened_total{route="/a"}': 7.0}
    assert seen.connections_before == 12
    assert [use.worker for use in seen.looks[0].workers] == ["0", "1"]


def test_a_server_that_has_gone():
    """The watch goes on with what it has; the counts are not known."""
    with _serving([TEXT % 2]) as url:
        seen = watch.Watch(url, every_s=0.02)
        seen.start()
    seen.stop()
    assert seen.deltas(settle_s=0) == {}


def test_a_server_that_was_started_anew():
    """What has fallen is no difference that means anything."""
    with _serving([TEXT % 9, TEXT % 2]) as url:
        assert watch.Watch(url).deltas(settle_s=0) == {}


def test_nobody_answers():
    """It is said who, and why."""
    url = f"http://127.0.0.1:{servers.free_port()}/metrics"
    with pytest.raises(WatchError, match=rf"{url} does not answer: .*refused"):
        watch.Watch(url)


@pytest.mark.parametrize("text", ["<html>", "", "# TYPE up gauge\nup 1\n"])
def test_something_else_answers(text: str):
    """A page, or the metrics of another program, are not taken for the server's."""
    with (
        _serving([text]) as url,
        pytest.raises(WatchError, match="answers, but not with metrics of Switchboard"),
    ):
        watch.Watch(url)


def test_an_error_answers():
    """Its status is named."""
    with _serving(["no"], status=404) as url, pytest.raises(WatchError, match="answered 404"):
        watch.Watch(url)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("9464", "http://127.0.0.1:9464/metrics"),
        ("10.0.0.5:9464", "http://10.0.0.5:9464/metrics"),
        ("http://[::1]:9464/", "http://[::1]:9464/metrics"),
        ("https://ops.example/x/metrics", "https://ops.example/x/metrics"),
    ],
)
def test_admin_url(given: str, url: str):
    """A port, a host and port, or a whole address."""
    assert watch.admin_url(given) == url


def test_no_admin_url():
    """Another scheme is not tried."""
    with pytest.raises(WatchError, match=r"--admin file:///x is no address"):
        watch.admin_url("file:///x")


def test_add_to():
    """Each second has the look that was next to it, unless that was long ago."""
    use = WorkerUse(worker="0", cpu_cores=0.5, resident_mib=50, connections=7)
    run = runs.run(seconds=10, workers=0)
    looks = [Look(run.started_at + at, [_at(use, at)]) for at in (0.4, 1.6, 2.4)]

    seen = [sample.server for sample in watch.add_to(run, looks, {"x": 1.0}).samples]

    assert [uses[0].connections if uses else None for uses in seen[:6]] == [0, 0, 1, 2, 2, None]


def _at(use: WorkerUse, at: float) -> WorkerUse:
    """Return the use with the second in it."""
    return WorkerUse(
        worker=use.worker,
        cpu_cores=use.cpu_cores,
        resident_mib=use.resident_mib,
        connections=int(at),
    )
