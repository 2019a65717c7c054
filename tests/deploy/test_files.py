"""The other files of examples/deploy keep what they promise, with the server's own defaults."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import Settings
from tests.deploy.support import program, text_of, written
from tests.support.servers import ROOT, free_port, granian

DEFAULTS = Settings()
STOP_S = DEFAULTS.drain_s + DEFAULTS.stop_timeout_s


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", text_of("Dockerfile"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for line in lines for word, _, rest in [line.partition(" ")]]


def _documents() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(text_of("kubernetes.yaml"))}


def _pod() -> Any:
    return _documents()["Deployment"]["spec"]["template"]["spec"]


def _probes() -> dict[str, list[str]]:
    """Return the commands that look at a server, in the image and in the pod."""
    health = dict(_instructions())["HEALTHCHECK"]
    container = _pod()["containers"][0]
    kinds = ("startupProbe", "readinessProbe", "livenessProbe")
    pod = {kind: container[kind]["exec"]["command"] for kind in kinds}
    return {"HEALTHCHECK": json.loads(health.partition("CMD ")[2]), **pod}


def test_the_image_is_pinned_and_installs_only_what_the_lock_file_has() -> None:
    steps = _instructions()
    images = [rest for word, rest in steps if word == "FROM"]
    assert all(re.match(r"python:3\.\d+\.\d+-slim-\w+", image) for image in images)
    install = next(rest for word, rest in steps if word == "RUN" and "pip install" in rest)
    assert "--require-hashes" in install
    assert "-r /build/requirements.lock" in install
    copied = [rest.split()[0] for word, rest in steps if word == "COPY" and "--from" not in rest]
    kept = text_of("Dockerfile.dockerignore").splitlines()
    assert all((ROOT / source).exists() and f"!{source}" in kept for source in copied)


def test_the_image_runs_the_server_as_nobody_and_passes_signals_on() -> None:
    last = dict(_instructions())
    assert last["USER"].split(":")[0] not in ("root", "0")
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["CMD"])[:4] == ["python", "-m", "server", "serve"]
    timeout = re.search(r"--stop-timeout (\d+)", text_of("Dockerfile"))
    assert timeout
    assert int(timeout[1]) > STOP_S


@pytest.mark.e2e
def test_the_probes_find_a_server_and_notice_when_it_is_gone() -> None:
    admin = free_port()
    written_port = f":{DEFAULTS.admin_port}/"
    probes = _probes()
    assert all(written_port in command[-1] for command in probes.values())
    run = {command[-1].replace(written_port, f":{admin}/") for command in probes.values()}
    with granian("tests.deploy.app:app", "--admin-port", str(admin)) as server:
        server.wait_for_output("ready")
        for code in run:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.returncode == 0, f"{code}: {done.stderr}"
    for code in run:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode != 0, code


def test_kubernetes_waits_longer_than_a_drain_takes() -> None:
    pod = _pod()
    container = pod["containers"][0]
    before_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before_s + STOP_S
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > DEFAULTS.ready_timeout_s


def test_kubernetes_gives_the_segment_memory_and_the_process_no_rights() -> None:
    pod = _pod()
    container = pod["containers"][0]
    shm = next(one for one in pod["volumes"] if one["name"] == "shm")["emptyDir"]
    assert shm["medium"] == "Memory"
    assert int(shm["sizeLimit"].removesuffix("Mi")) > 2 * DEFAULTS.journal_mib
    assert {"name": "shm", "mountPath": DEFAULTS.runtime_dir} in container["volumeMounts"]
    user = dict(_instructions())["USER"].split(":")[0]
    assert pod["securityContext"]["runAsUser"] == int(user)
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert [port["containerPort"] for port in container["ports"]] == [DEFAULTS.port]
    documents = _documents()
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert documents["Service"]["spec"]["selector"] == labels
    assert documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels


def test_the_unit_gives_a_drain_its_time() -> None:
    unit = dict(
        line.split("=", 1)
        for line in text_of("switchboard.service").splitlines()
        if re.match(r"\w+=", line)
    )
    assert unit["Type"] == "notify"
    assert unit["KillMode"] == "mixed"
    assert int(unit["TimeoutStopSec"]) > STOP_S
    assert int(unit["TimeoutStartSec"]) > DEFAULTS.ready_timeout_s


@pytest.mark.config
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    replaced = {"/opt/switchboard/.venv/bin/python": sys.executable}
    unit = written("switchboard.service", tmp_path, replaced)
    command = [program("systemd-analyze"), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    about = [line for line in done.stderr.splitlines() if "switchboard.service" in line]
    assert not about, done.stderr


def test_the_kernel_settings_hold_the_backlog_and_each_has_its_reason() -> None:
    lines = text_of("99-switchboard.conf").splitlines()
    settings = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    assert int(settings["net.core.somaxconn"]) >= DEFAULTS.backlog
    for before, line in itertools.pairwise(lines):
        assert line.startswith("#") or before.startswith("#"), line
    for name in settings:
        assert (Path("/proc/sys") / name.replace(".", "/")).exists() or "tcp" in name, name


def test_the_environment_file_has_settings_alone() -> None:
    for line in text_of("switchboard.env").splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            setting = name.removeprefix("SWITCHBOARD_").lower()
            assert hasattr(DEFAULTS, setting), line
            assert value, line
            assert "secret" not in setting
            assert "key" not in setting
