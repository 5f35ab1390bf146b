# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with our rules and a real Alertmanager with our example, in a time that runs faster: every duration of the
copies is a sixtieth, and scrapes come each second instead of each minute."""

import contextlib
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
import pki
from boards.induced import PASSWORD, USER
from harness import FAST, ROOT, STEADY, STEADY_TTFT, Process

ALERTS = ROOT / "alerts"
SCALE = 60
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
QUICK = {**FAST, **STEADY, "probe.decode_tokens": 8, "probe.suspect_interval": "1s", "probe.prefill_interval": "1h", "drift.baseline_samples": 8,
         "drift.confirm_samples": 3, "drift.false_alarms": "1 per 1h"}


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


def broken_parts(text):
    """What Prometheus leaves of a template that it could not fill in."""
    return re.findall(r"<error[^>]*>?|<no value>|%!\S*|\{\{|\}\}", text)


# Not one of ours: it fires always, and its template cannot be filled in, so that a check for that is seen to work.
CONTROL = {"alert": "Control", "expr": "vector(1)", "labels": {"severity": "info"}, "annotations": {"description": "{{ .NoSuchThing }}"}}


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


def labels_of(who):
    """Of a sidecar; or labels as they are."""
    return who if isinstance(who, dict) else {"instance": f"127.0.0.1:{who.port}"}


class Watch:
    """Prometheus and Alertmanager over some sidecars, which may come later. Threads may share it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.lock = threading.Lock()
        self.groups = []  # of targets, as Prometheus reads them from a file
        self.told_of, self.resolved = set(), set()  # names of alerts that went all the way
        self.receiver = Receiver()
        pki.make_ca(self.folder)
        self.prometheus_port, self.alertmanager_port = harness.free_port(), harness.free_port()
        rules = faster_rules()
        self.pending = {r["alert"] for g in rules["groups"] for r in g["rules"] if "for" in r}
        self.write("targets.json", [])
        self.write("rules.yaml", {"groups": [*rules["groups"], {"name": "control", "rules": [CONTROL]}]})
        self.write("alertmanager.yaml", faster_alertmanager(self.receiver.url))
        job = {"job_name": "o3", "basic_auth": {"username": USER, "password": PASSWORD}, "tls_config": {"ca_file": str(self.folder / "ca.pem")},
               "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}]}
        self.write("prometheus.yaml", {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"], "scrape_configs": [job],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager_port}"]}]}]}})
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

    def add(self, sidecar, **labels):
        """To what is scraped; __scheme__ and job may be given as labels."""
        group = {"targets": [f"127.0.0.1:{sidecar.port}"], "labels": labels}
        with self.lock:
            self.groups.append(group)
            self.write("targets.json", self.groups)
        self.wait(sidecar, "a first scrape", lambda: self.query("up", sidecar))
        return group

    def remove(self, group):
        with self.lock:
            self.groups.remove(group)
            self.write("targets.json", self.groups)

    def get(self, port, path, **parameters):
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", params=parameters, timeout=30).json()
        except requests.RequestException:
            for process in self.processes:
                assert process.is_running(), process.log[-4000:]
            return None

    def query(self, name, who, window="", **labels):
        """Values of a series of one sidecar, [] without any."""
        matchers = ",".join(f'{k}="{v}"' for k, v in {**labels_of(who), **labels}.items())
        expression = f"{name}{{{matchers}}}" if not window else f"count_over_time({name}{{{matchers}}}[{window}])"
        reply = self.get(self.prometheus_port, "/api/v1/query", query=expression)
        return [float(r["value"][1]) for r in reply["data"]["result"]] if reply else []

    def alerts(self, who):
        """{name: state} in Prometheus."""
        reply = self.get(self.prometheus_port, "/api/v1/alerts") or {"data": {"alerts": []}}
        mine = [a for a in reply["data"]["alerts"] if labels_of(who).items() <= a["labels"].items()]
        return {a["labels"]["alertname"]: a["state"] for a in mine}

    def told(self, who, name, status="firing"):
        """Receivers that Alertmanager told."""
        return [r for r, s, labels, _ in self.receiver.got if s == status and labels["alertname"] == name and labels_of(who).items() <= labels.items()]

    def suppressed(self, who, name):
        """Whether Alertmanager has the alert and an inhibition keeps it from being sent."""
        listed = self.get(self.alertmanager_port, "/api/v2/alerts") or []
        return [a for a in listed if a["labels"]["alertname"] == name and labels_of(who).items() <= a["labels"].items()
                and a["status"]["state"] == "suppressed" and a["status"]["inhibitedBy"]]

    def wait(self, who, what, get, limit_s=180):
        try:
            return harness.wait_for(what, get, limit_s, every_s=0.5)
        except AssertionError as e:
            told = [(r, s, labels["alertname"]) for r, s, labels, _ in self.receiver.got if labels_of(who).items() <= labels.items()]
            log = "" if isinstance(who, dict) else who.log[-3000:]
            raise AssertionError(f"{e}; alerts {self.alerts(who)}, told {told}\n{log}") from None

    def wait_told(self, who, name, receiver, limit_s=180):
        """It was pending, where it has to be, fired in Prometheus and reached the receiver by way of Alertmanager."""
        self.wait(who, f"{name} at {receiver}", lambda: receiver in self.told(who, name), limit_s)
        seen = lambda state: self.query("ALERTS", who, "1h", alertname=name, alertstate=state)
        assert seen("firing") and bool(seen("pending")) == (name in self.pending), name
        self.told_of.add(name)

    def wait_suppressed(self, who, name, limit_s=180):
        self.wait(who, f"{name} inhibited", lambda: self.suppressed(who, name), limit_s)

    def wait_gone(self, who, name, limit_s=180):
        self.wait(who, f"the end of {name}", lambda: name not in self.alerts(who), limit_s)

    def wait_resolved(self, who, name, limit_s=180):
        self.wait(who, f"{name} told as resolved", lambda: self.told(who, name, "resolved"), limit_s)
        self.wait_gone(who, name)
        self.resolved.add(name)


class Stage:
    """What one story needs: a folder, processes that end with it, and the watch that all share."""

    def __init__(self, folder, watch):
        self.folder, self.watch = pathlib.Path(folder), watch
        self.processes = contextlib.ExitStack()
        self.n = 0

    def start(self, factory, *args, **more):
        self.n += 1
        folder = self.folder / f"{factory.__name__.lower()}{self.n}"
        folder.mkdir()
        return self.processes.enter_context(harness.started(factory, folder, *args, **more))

    def ollama(self, events=(STEADY_TTFT,), flags=(), context=4096, port=None, **more):
        """A server with a GPU that keeps its model, loaded by a request."""
        simulator = self.start(harness.Simulator, events=events, flags=["--gpu", "24GiB", "--keep-alive", "-1", *flags], load=None,
                               port=port or harness.free_port(), **more)
        simulator.load(num_ctx=context)
        return simulator

    def again(self, simulator, *events, **more):
        """The server restarts at once at the same place, with trouble or without."""
        simulator.kill()
        return self.ollama([STEADY_TTFT, *events], port=simulator.port, **more)

    def sidecar(self, simulator, config=None, **labels):
        """Probes each second, and is scraped."""
        sidecar = self.start(harness.Sidecar, simulator.url, {**QUICK, **(config or {})})
        self.watch.add(sidecar, **labels)
        return sidecar

    def wait_baseline(self, sidecar, signal="decode_rate"):
        sidecar.wait_metric("o3_baseline_value", limit_s=120, model=harness.Simulator.MODEL, signal=signal)
