# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with our rules and a real Alertmanager with our example, in a time that runs faster: every duration of the
copies is a sixtieth, and scrapes come each second instead of each minute."""

import http.server
import json
import pathlib
import re
import shutil
import threading

import pytest
import requests
import yaml

import harness
from harness import ROOT, FAST, Process

ALERTS = ROOT / "alerts"
SCALE = 60
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
QUICK = {**FAST, "probe.decode_tokens": 8, "drift.baseline_samples": 8, "drift.confirm_samples": 3}


def program(*names):
    for name in names:
        if shutil.which(name):
            return name
    pytest.skip(f"{names[0]} is not installed")


def faster(duration):
    """5m -> 5s"""
    seconds = sum(int(n) * UNITS_S[u] for n, u in re.findall(r"(\d+)([smhd])", duration))
    assert seconds >= SCALE, duration
    return f"{seconds // SCALE}s"


def faster_expression(text):
    text = re.sub(r"\[([0-9smhd]+)\]", lambda m: f"[{faster(m[1])}]", text)
    return re.sub(r"\b(\d+) \* (60|3600|86400)\b", lambda m: f"{m[1]} * {int(m[2]) // SCALE}", text)


def faster_rules():
    rules = yaml.safe_load((ALERTS / "o3.rules.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = faster_expression(rule["expr"])
            if "for" in rule:
                rule["for"] = faster(rule["for"])
    return rules


def faster_alertmanager(url):
    config = yaml.safe_load((ALERTS / "alertmanager.yaml").read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = url + "/" + receiver["name"]
    return config


class Receiver:
    """What Alertmanager sends to each of its receivers."""

    def __init__(self):
        self.got = []  # (receiver, status, labels, annotations)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for a in body["alerts"]:
                    outer.got.append((self.path.strip("/"), a["status"], a["labels"], a["annotations"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Watch:
    """Prometheus and Alertmanager over some sidecars, which may come later."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.targets = []
        self.receiver = Receiver()
        self.prometheus_port, self.alertmanager_port = harness.free_port(), harness.free_port()
        self.write("targets.json", [])
        self.write("rules.yaml", faster_rules())
        self.write("alertmanager.yaml", faster_alertmanager(self.receiver.url))
        self.write("prometheus.yaml", {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager_port}"]}]}]},
            "scrape_configs": [{"job_name": "o3", "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}]}]})
        self.processes = []
        self.run("alertmanager", [program("prometheus-alertmanager", "alertmanager"), f"--config.file={self.folder}/alertmanager.yaml",
                                  f"--storage.path={self.folder}/am", "--cluster.listen-address=",
                                  f"--web.listen-address=127.0.0.1:{self.alertmanager_port}"])
        self.run("prometheus", [program("prometheus"), f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/data",
                                f"--web.listen-address=127.0.0.1:{self.prometheus_port}"])

    def write(self, name, content):
        temporary = self.folder / (name + ".new")
        temporary.write_text(json.dumps(content))  # JSON is YAML
        temporary.replace(self.folder / name)

    def run(self, name, argv):
        self.processes.append(Process(argv, self.folder, name))

    def close(self):
        for process in self.processes:
            process.close()
        self.receiver.close()

    def add(self, sidecar):
        self.targets.append(f"127.0.0.1:{sidecar.port}")
        self.write("targets.json", [{"targets": self.targets}])
        harness.wait_for("a first scrape", lambda: self.query(f'up{{instance="127.0.0.1:{sidecar.port}"}} == 1'))

    def get(self, port, path, **parameters):
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", params=parameters, timeout=10).json()
        except requests.RequestException:
            for process in self.processes:
                assert process.is_running(), process.log[-4000:]
            return None

    def query(self, expression):
        reply = self.get(self.prometheus_port, "/api/v1/query", query=expression)
        return reply and reply["data"]["result"]

    def alerts(self, sidecar):
        """{name: state} in Prometheus, and no template that failed."""
        reply = self.get(self.prometheus_port, "/api/v1/alerts") or {"data": {"alerts": []}}
        mine = [a for a in reply["data"]["alerts"] if a["labels"].get("instance") == f"127.0.0.1:{sidecar.port}"]
        for a in mine:
            assert not re.search(r"<error|<no value>|%!", str(a["annotations"])), a
        return {a["labels"]["alertname"]: a["state"] for a in mine}

    def told(self, sidecar, name, status="firing"):
        """Receivers that Alertmanager told."""
        return [r for r, s, labels, _ in self.receiver.got
                if s == status and labels["alertname"] == name and labels["instance"] == f"127.0.0.1:{sidecar.port}"]

    def suppressed(self, sidecar, name):
        """Whether Alertmanager has the alert and an inhibition keeps it from being sent."""
        listed = self.get(self.alertmanager_port, "/api/v2/alerts") or []
        return [a for a in listed if a["labels"]["alertname"] == name and a["labels"].get("instance") == f"127.0.0.1:{sidecar.port}"
                and a["status"]["state"] == "suppressed" and a["status"]["inhibitedBy"]]

    def wait(self, sidecar, what, get, limit_s):
        try:
            return harness.wait_for(what, get, limit_s, every_s=0.3)
        except AssertionError as e:
            raise AssertionError(f"{e}; alerts {self.alerts(sidecar)}, told {self.receiver.got[-10:]}\n{sidecar.log[-3000:]}") from None

    def wait_told(self, sidecar, name, receiver, limit_s=90):
        """It fired in Prometheus and reached the receiver by way of Alertmanager."""
        self.wait(sidecar, f"{name} at {receiver}", lambda: receiver in self.told(sidecar, name), limit_s)

    def wait_suppressed(self, sidecar, name, limit_s=90):
        self.wait(sidecar, f"{name} inhibited", lambda: self.suppressed(sidecar, name), limit_s)

    def wait_gone(self, sidecar, name, limit_s=90):
        self.wait(sidecar, f"the end of {name}", lambda: name not in self.alerts(sidecar), limit_s)

    def wait_resolved(self, sidecar, name, limit_s=90):
        self.wait(sidecar, f"{name} told as resolved", lambda: self.told(sidecar, name, "resolved"), limit_s)
        self.wait_gone(sidecar, name)
