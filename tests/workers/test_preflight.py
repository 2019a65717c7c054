"""The look at the machine before serving, against real sockets and real limits."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET6, SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET, socket

import pytest

from workers import preflight
from workers.preflight import PreflightError, claim_address, file_limit_warning, local_address

_NOBODY = 65534


@pytest.fixture
def taken() -> Iterator[int]:
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_can_be_claimed_again_and_again() -> None:
    address, port = claim_address("127.0.0.1", 0)
    assert (address, port > 0) == ("127.0.0.1", True)
    assert claim_address("127.0.0.1", port) == ("127.0.0.1", port)


def test_a_port_whose_last_server_has_just_closed_its_connections_is_free(taken: int) -> None:
    """Connections in TIME_WAIT are no reason to refuse."""
    with socket() as listener:
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket() as client:
            client.connect(("127.0.0.1", port))
            accepted, _ = listener.accept()
            accepted.close()
            client.recv(1)
    assert claim_address("127.0.0.1", port)[1] == port


def test_a_taken_port(taken: int) -> None:
    with pytest.raises(PreflightError, match=f"port {taken} on 127.0.0.1 is taken: .*--port 0"):
        claim_address("127.0.0.1", taken)


def test_a_port_of_all_addresses_is_taken_by_one(taken: int) -> None:
    with pytest.raises(PreflightError, match="is taken"):
        claim_address("0.0.0.0", taken)  # noqa: S104 - it must not


def test_a_shared_port_is_taken() -> None:
    with socket() as listener:
        listener.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(PreflightError, match="is taken"):
            claim_address("127.0.0.1", listener.getsockname()[1])


def test_a_name_becomes_an_address() -> None:
    """granian takes no name."""
    address, port = claim_address("localhost", 0)
    assert address in ("127.0.0.1", "::1")
    assert port > 0


def test_ipv6() -> None:
    try:
        with socket(AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    assert claim_address("::1", 0)[0] == "::1"


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("nosuch.invalid", "host 'nosuch.invalid': "),
        ("192.0.2.1", "host '192.0.2.1' is not an address of this machine: try 127.0.0.1"),
        ("256.1.1.1", "host '256.1.1.1': "),
    ],
)
def test_a_host_that_is_not_here(host: str, problem: str) -> None:
    with pytest.raises(PreflightError) as caught:
        claim_address(host, 0)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Be nobody for a test: root may listen on any port."""
    if (user := os.geteuid()) == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.usefixtures("unprivileged")
def test_a_privileged_port() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
        assert claim_address("127.0.0.1", 1) == ("127.0.0.1", 1)  # as Docker sets it: anybody may
        return
    with pytest.raises(PreflightError, match="needs privileges: choose one from 1024 up"):
        claim_address("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - nothing binds to it
        ("::", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_where_this_machine_reaches_it(address: str, reached: str) -> None:
    assert local_address(address) == reached


class Limits:
    """Stands in for the module `resource`, so that this process keeps its own limits."""

    RLIMIT_NOFILE = resource.RLIMIT_NOFILE

    def __init__(self, soft: int, hard: int, *, may_raise: bool = True) -> None:
        self.now = (soft, hard)
        self._may_raise = may_raise

    def getrlimit(self, which: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        if not self._may_raise:
            raise ValueError("not allowed")
        self.now = limits


@pytest.mark.parametrize(
    ("limits", "files"),
    [
        (Limits(1024, 20_000), None),
        (Limits(1024, 20_000, may_raise=False), 1024),
        (Limits(1024, 4096), 4096),
        (Limits(50, 50), 50),
    ],
)
def test_the_file_limit_is_raised_and_warned_of(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, files: int | None
) -> None:
    monkeypatch.setattr(preflight, "resource", limits)
    warning = file_limit_warning()
    if files is None:
        assert warning is None
        assert limits.now == (20_000, 20_000)
    else:
        assert warning is not None
        connections = max(0, files - 100)
        assert warning.startswith(
            f"each worker may open {files} files, so hold about {connections} connections; raise"
        )
        assert "ulimit -n 65536" in warning


def test_a_backlog_that_the_kernel_cuts_is_a_warning() -> None:
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert preflight.backlog_warning(limit) is None
    warning = preflight.backlog_warning(limit + 1)
    assert warning is not None
    assert f"sysctl net.core.somaxconn={limit + 1}" in warning


def test_pages_that_the_kernel_does_not_merge_are_a_warning(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert preflight.merge_warning(run) == "--merge-pages does nothing: this kernel has no KSM"
    for state in ("0\n", "2\n"):  # 2: it has unmerged what was merged
        run.write_text(state)
        assert preflight.merge_warning(run) == (
            f"--merge-pages does nothing while KSM is off; as root: echo 1 > {run}"
        )
    run.write_text("1\n")
    assert preflight.merge_warning(run) is None


def test_memory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    preflight.check_memory(tmp_path, 1)
    with pytest.raises(PreflightError, match=r"MiB free, and \d+ MiB are needed: lower --registry"):
        preflight.check_memory(tmp_path, 1 << 60)


def test_a_runtime_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"--runtime-dir .*/gone: No such file"):
        preflight.check_memory(tmp_path / "gone", 1)
