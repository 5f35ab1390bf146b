# SPDX-License-Identifier: Apache-2.0
"""The systemd unit and the compose files, checked by the tools that read them, where these are there."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from harness import BINARY, ROOT, run_o3

UNIT = ROOT / "src/package/o3-sidecar.service"
COMPOSE = ROOT / "src/package/compose"
EXPOSURE_MAX = 2.0  # of 10, where 10 is all open


def text(path):
    return (COMPOSE / path).read_text()


# ---- systemd ----


def unit_values(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)


def test_systemd_reads_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=o3 ", f"ExecStart={BINARY} "))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert not said, said


def test_systemd_counts_little_exposure():
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    if not found:
        pytest.skip(f"this systemd-analyze does not judge unit files offline: {done.stderr.strip()[:200]}")
    print(f"measured: exposure of the systemd unit {found[1]} of 10, by systemd-analyze security")
    assert float(found[1]) <= EXPOSURE_MAX


def test_unit_matches_the_program():
    assert unit_values("ExecStart") == ["o3 serve"]
    assert unit_values("StateDirectory") == ["o3"] and unit_values("User") == ["o3"]
    assert re.search(r"^u o3 ", (ROOT / "src/package/o3-sidecar.sysusers").read_text(), re.M)
    # A wrong configuration is not tried again and again.
    assert unit_values("RestartPreventExitStatus") == [str(run_o3("serve", "--no.such.key", "1").returncode)]


# ---- compose ----


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(text("compose.yaml"))


def test_compose_keeps_the_schema():
    check = pathlib.Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([check, "--builtin-schema", "vendor.compose-spec", COMPOSE / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def mounts(compose):
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            yield source, target


def test_compose_mounts_what_is_there(compose):
    missing = []
    for source, target in mounts(compose):
        if not source.startswith("."):
            assert source in compose["volumes"], source
        elif not (COMPOSE / source).exists():
            missing.append((COMPOSE / source).resolve().relative_to(ROOT))
    assert set(map(str, missing)) <= {"alerts", "dashboards"}, missing
    if missing:
        pytest.skip(f"not in this tree: {', '.join(map(str, missing))}")


def test_compose_services(compose):
    services = compose["services"]
    assert set(services) == {"ollama", "o3", "prometheus", "grafana"}
    o3 = services["o3"]
    assert (COMPOSE / o3["build"]).resolve() == ROOT
    assert o3["read_only"] is True and o3["cap_drop"] == ["ALL"]
    assert o3["network_mode"] == "service:ollama" and o3["pid"] == "service:ollama"
    version = re.search(r"project\(o3-sidecar VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert o3["image"] == f"o3-sidecar:{version}"
    for service in services.values():
        assert "." not in service["image"].split("/")[0].split(":")[0], "no registry hosts"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    # Ports of a container that shares another's network are published there.
    assert "127.0.0.1:21434:21434" in services["ollama"]["ports"] and "ports" not in o3


def test_compose_configuration_is_valid():
    done = run_o3("check-config", COMPOSE / "o3.yaml", "--json")
    assert done.returncode == 0, done
    dump = json.loads(run_o3("config", "dump", "--json", "--config.file", COMPOSE / "o3.yaml").stdout)
    assert "0.0.0.0:21434" in json.dumps(dump)
    image = run_o3("check-config", ROOT / "src/package/image.yaml")
    assert image.returncode == 0, image


def test_prometheus_takes_the_configuration(compose, tmp_path):
    (tmp_path / "prometheus.yml").write_text(text("prometheus.yml"))
    (tmp_path / "alerts").mkdir()
    for path in (ROOT / "alerts").glob("*.yaml"):
        shutil.copy(path, tmp_path / "alerts")
    done = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    targets = dict(mounts(compose))
    assert targets["./prometheus.yml"] == "/etc/prometheus/prometheus.yml" and targets["../../../alerts"] == "/etc/prometheus/alerts"
    config = yaml.safe_load(text("prometheus.yml"))
    assert config["rule_files"] == ["alerts/*.rules.yaml"]
    assert not (ROOT / "alerts").exists() or list((ROOT / "alerts").glob("*.rules.yaml"))
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["ollama:21434"]


def test_grafana_provisioning_points_to_what_is_mounted(compose):
    targets = dict(mounts(compose))
    source = yaml.safe_load(text("grafana/datasource.yaml"))["datasources"][0]
    assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090" and source["isDefault"] is True
    provider = yaml.safe_load(text("grafana/dashboards.yaml"))["providers"][0]
    assert provider["type"] == "file" and provider["options"]["path"] == targets["../../../dashboards"]
    assert targets["./grafana/datasource.yaml"].startswith("/etc/grafana/provisioning/datasources/")
    assert targets["./grafana/dashboards.yaml"].startswith("/etc/grafana/provisioning/dashboards/")
