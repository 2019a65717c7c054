"""compose.yml and the provisioning fit each other and the files that they name.

Whether Grafana takes them no test can see: there is no Grafana to be had without Docker.
"""

import os
import re
import shutil
import subprocess

import pytest

from tests.grafana.rules import CONFIG, load
from tests.support.servers import ROOT

GRAFANA = ROOT / "grafana"
COMPOSE = load(GRAFANA / "compose.yml")["services"]
PROVISIONING = GRAFANA / "provisioning"


@pytest.mark.config
@pytest.mark.skipif(
    shutil.which("docker-compose") is None,
    reason="no docker-compose: apt-get install docker-compose has it",
)
def test_it_fits_the_schema_of_compose():
    done = subprocess.run(
        ["docker-compose", "--file", GRAFANA / "compose.yml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "PORT": "8000"},
    )
    assert done.returncode == 0, done.stderr


def test_images_are_pinned():
    """To a version; the server's is built from what is here."""
    images = {name: service.get("image") for name, service in COMPOSE.items()}
    assert images.pop("server") is None
    for image in images.values():
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", image)


def test_nothing_listens_beyond_this_machine():
    published = [port for service in COMPOSE.values() for port in service.get("ports", ())]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_is_mounted_is_there():
    mounts = [
        mount.split(":")[0]
        for service in COMPOSE.values()
        for mount in service.get("volumes", ())
        if mount.startswith("./")
    ]
    assert set(mounts) == {"./prometheus", "./provisioning", "./dashboards"}
    assert all((GRAFANA / mount).is_dir() for mount in mounts)


def test_the_datasource_is_that_prometheus():
    """With its scrape interval, and at the address that compose gives."""
    (source,) = load(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    variable = source["url"].removeprefix("$")
    assert COMPOSE["grafana"]["environment"][variable] == "http://server:9090"
    assert COMPOSE["prometheus"]["network_mode"] == "service:server"
    assert source["jsonData"]["timeInterval"] == load(CONFIG)["global"]["scrape_interval"]


def test_dashboards_come_from_where_they_are_mounted():
    (provider,) = load(PROVISIONING / "dashboards" / "switchboard.yml")["providers"]
    path = provider["options"]["path"]
    assert f"./dashboards:{path}:ro" in COMPOSE["grafana"]["volumes"]
    home = COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(f"{path}/")
    assert (GRAFANA / "dashboards" / home.removeprefix(f"{path}/")).is_file()
