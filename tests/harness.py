# SPDX-License-Identifier: Apache-2.0
"""Processes under test: the sidecar and the simulator, each in its own folder, on loopback ports that the system picks.

Waiting is always for an observable fact with a generous limit; how long something took is never a test's verdict.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import prometheus_client.parser
import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("O3_BINARY", str(ROOT / "build/asan/o3"))
PROXIES = {}  # what the caller's environment said
LIMIT_S = 120  # of any single wait that is not told otherwise; a sanitizer build on a busy machine is slow
PORTS = range(22000, 32768)  # below those that Linux gives to whoever asks for any
RESERVED = []

# Probing without its budget: what takes days in a pod takes a minute in a test.
FAST = {
    "probe.interval": "1s",
    "probe.max_busy_ratio": 1,
    "probe.max_tokens_per_day": 0,
    "probe.linger": "24h",
    "probe.idle_for": "0s",
    "probe.keep_conversation": "0s",
    "ollama.poll_interval": "500ms",
}


# And a verdict after the fewest samples that make a baseline, for one model.
QUICK = {**FAST, "drift.baseline_samples": 8, "models.include": ["sim-small:latest"]}


def wait_for(what, get, limit_s=LIMIT_S, every_s=0.1):
    """The first true value of get(); what is for the message."""
    end = time.monotonic() + limit_s
    while True:
        value = get()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_s} s for {what}")
        time.sleep(every_s)


def clean_environment(extra=None):
    """No proxy, no O3_* of the caller: a test says itself what the program sees."""
    env = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY") and not k.startswith("O3_") and k != "STATE_DIRECTORY"}
    env["LC_ALL"] = "C.UTF-8"
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(extra or {})
    return env


def nest(dotted):
    """{"probe.interval": "1s"} -> {"probe": {"interval": "1s"}}"""
    tree = {}
    for key, value in dotted.items():
        node = tree
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def is_free(port):
    with socket.socket() as s, contextlib.suppress(OSError):
        s.bind(("127.0.0.1", port))
        return True
    return False


def free_port():
    """For a server that is started later or again: no connection and no other test takes it meanwhile."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        claim = socket.socket(socket.AF_UNIX)  # held until this process ends
        with contextlib.suppress(OSError):
            claim.bind(f"\0o3-test-port-{port}")
            if is_free(port):
                RESERVED.append(claim)
                return port
        claim.close()


def run_o3(*args, env=None, cwd=None, timeout=LIMIT_S, stdin=None):
    """A command that ends by itself."""
    return subprocess.run([BINARY, *map(str, args)], env=clean_environment(env), cwd=cwd, text=True, capture_output=True,
                          timeout=timeout, input=stdin)


class Metrics:
    """One scrape: samples by name and labels."""

    def __init__(self, text):
        self.text = text
        self.families = list(prometheus_client.parser.text_string_to_metric_families(text))
        self.samples = [s for f in self.families for s in f.samples]

    def all(self, name, **labels):
        return [s for s in self.samples if s.name == name and labels.items() <= s.labels.items()]

    def get(self, name, **labels):
        """The value of the only such series; None when there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, f"{name} {labels}: {found}"
        return found[0].value if found else None

    def sum(self, name, **labels):
        return sum(s.value for s in self.all(name, **labels))


class Process:
    """A child with its output in a file. Leaves nothing behind: close() kills what still runs."""

    def __init__(self, argv, folder, name, env=None, cwd=None):
        self.folder = pathlib.Path(folder)
        self.log_path = self.folder / f"{name}.log"
        self.log_file = open(self.log_path, "ab")
        self.argv = [str(a) for a in argv]
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file,
                                        env=clean_environment(env), cwd=cwd or folder, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def is_running(self):
        return self.process.poll() is None

    def wait_log(self, pattern, limit_s=LIMIT_S):
        """The match of a pattern in the output so far; fails early when the process ends without it."""

        def look():
            found = re.search(pattern, self.log, re.M)
            if not found and not self.is_running():
                found = re.search(pattern, self.log, re.M)
                assert found, f"{self.argv[1:]} ended with {self.process.returncode} before /{pattern}/:\n{self.log}"
            return found

        try:
            return wait_for(f"/{pattern}/ in the log", look, limit_s)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log[-4000:]}") from None

    def send(self, signo):
        self.process.send_signal(signo)

    def wait(self, limit_s=LIMIT_S):
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.argv[1:]} still runs after {limit_s} s:\n{self.log[-4000:]}") from None

    def stop(self, limit_s=LIMIT_S):
        """SIGTERM; returns the exit status."""
        if self.is_running():
            self.send(signal.SIGTERM)
        return self.wait(limit_s)

    def kill(self):
        if self.is_running():
            self.process.kill()
        self.process.wait(LIMIT_S)

    def close(self):
        try:
            self.kill()
        finally:
            self.log_file.close()
        # Whatever the test looked at: a sanitizer's report is a failure.
        assert "ERROR: AddressSanitizer" not in self.log and "ERROR: LeakSanitizer" not in self.log, self.log[-8000:]
        assert "runtime error:" not in self.log, self.log[-8000:]


class Simulator(Process):
    """`o3 sim` with one model loaded by a request, as a user would."""

    MODEL = "sim-small:latest"

    def __init__(self, folder, seed=1, events=(), flags=(), port=0, load=MODEL, name="sim", speed=None):
        args = ["sim", "--listen", f"127.0.0.1:{port}", "--seed", seed]
        for event in events:
            args += ["--event", event]
        if speed:
            args += ["--speed", speed]
        super().__init__([BINARY, *args, *flags], folder, name)
        self.url = self.wait_log(r"(http://127\.0\.0\.1:\d+)")[1].rstrip("/")
        self.port = urllib.parse.urlsplit(self.url).port
        if load:
            self.load(load)

    def load(self, model=MODEL, **options):
        body = {"model": model, "prompt": "hello", "stream": False, "options": {"num_predict": 4, **options}}
        reply = requests.post(self.url + "/api/generate", json=body, timeout=LIMIT_S)
        assert reply.status_code == 200, reply.text
        return reply.json()


# The time to first token is the real one. What a server adds to it is so much that a busy machine, which adds some tens of
# milliseconds, changes it by less than the smallest effect that counts here.
STEADY_TTFT = "at 0s ttft +400ms"
STEADY = {"drift.min_effect": 0.25}


def replace(start, simulator, *events, flags=()):
    """The server again, at once and at the same place (its port must be a free_port()), with its model loaded and with other
    events: a change comes when it may come, on a slow machine, too."""
    simulator.kill()
    return start(Simulator, port=simulator.port, events=events, flags=["--preload", Simulator.MODEL.split(":")[0], *flags], load=None)


class Sidecar(Process):
    """`o3 serve` with a configuration file, a results folder and a port of its own."""

    def __init__(self, folder, ollama_url, config=None, flags=(), env=None, name="serve", wait=True, wrap=()):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.results = folder / "o3_results"
        self.config_path = folder / "o3.yaml"
        self.config = {
            "ollama.url": ollama_url,
            "web.listen": "127.0.0.1:0",
            "results.path": str(self.results),
            "log.level": "debug",
            **(config or {}),
        }
        self.write_config(self.config)
        super().__init__([*wrap, BINARY, "serve", "--config.file", self.config_path, *flags], folder, name, env)
        self.url = None
        if wait:
            self.wait_started()

    def write_config(self, config):
        """Replaced as a whole, as an editor or Kubernetes does."""
        self.config = config
        text = config if isinstance(config, str) else yaml.safe_dump(nest(config))
        temporary = self.config_path.with_suffix(".new")
        temporary.write_text(text)
        os.replace(temporary, self.config_path)

    def wait_started(self):
        listen = self.wait_log(r'event"?[=:]"?started\b.*\blisten"?[=:]"?([0-9.]+:\d+)')[1]
        self.url = "http://" + listen
        self.port = int(listen.rsplit(":", 1)[1])

    def request(self, method, path, **more):
        try:
            return requests.request(method, self.url + path, timeout=LIMIT_S, **more)
        except requests.ConnectionError:
            assert self.is_running(), f"the sidecar ended with {self.process.returncode}:\n{self.log[-6000:]}"
            raise

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def json(self, path):
        reply = self.get(path)
        assert reply.status_code == 200, (path, reply.status_code, reply.text)
        assert reply.headers["Content-Type"].startswith("application/json"), (path, reply.headers)
        return reply.json()

    def metrics(self):
        reply = self.get("/metrics")
        assert reply.status_code == 200, reply.text
        return Metrics(reply.text)

    def wait_metric(self, name, predicate=lambda v: v is not None, limit_s=LIMIT_S, **labels):
        """The value of a series once it satisfies the predicate (None: the series is absent)."""
        seen = []

        def look():
            assert self.is_running(), f"the sidecar ended with {self.process.returncode}:\n{self.log[-4000:]}"
            value = self.metrics().get(name, **labels)
            seen[:] = [value]
            return predicate(value) and (value,)

        try:
            return wait_for(f"{name}{labels}", look, limit_s, every_s=0.2)[0]
        except AssertionError as e:
            raise AssertionError(f"{e}; last value {seen}\n{self.log[-3000:]}") from None

    def wait_sum(self, name, at_least, limit_s=LIMIT_S, **labels):
        return wait_for(f"{name}{labels} >= {at_least}", lambda: self.metrics().sum(name, **labels) >= at_least, limit_s, 0.2)

    def samples(self, model=None):
        """Lines of the results' logs, oldest first. The last one may be there by half while it is written."""
        lines = []
        for path in sorted((self.results / "logs").glob("*.jsonl*")):
            lines += [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [s for s in lines if "record" not in s and (model is None or s["model"] == model)]

    def reload(self):
        self.send(signal.SIGHUP)


def load_for_good(simulator, sidecar, **options):
    """The model with these options, as a client that goes on asking: a probe on its way may still ask for the ones before, and
    then the server has loaded it as that again."""
    mine = {"model": Simulator.MODEL}

    def is_in_force():
        with contextlib.suppress(requests.RequestException, AssertionError):
            simulator.load(**options)
        sidecar.wait_sum("o3_probes_total", sidecar.metrics().sum("o3_probes_total", **mine) + 2, **mine)
        return sidecar.metrics().get("o3_model_context_tokens", **mine) == options["num_ctx"]

    wait_for(f"the model with {options}", is_in_force, 300)


@contextlib.contextmanager
def started(factory, *args, **more):
    process = factory(*args, **more)
    try:
        yield process
    finally:
        process.close()


def private_mount(folder, options, prepare="true"):
    """A prefix for argv that runs a program where `folder` is a private tmpfs with these mount options, as a read-only or
    full disk; None where this machine allows no mount namespace. `prepare` is shell run inside before the program; from
    outside the folder is reached through inside()."""
    script = f'mount -t tmpfs -o {options} o3-test "$0" && {{ {prepare}; }} && exec "$@"'
    for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
        if not shutil.which("unshare"):
            return None
        argv = [*unshare, "sh", "-c", script, str(folder)]
        if subprocess.run([*unshare, "sh", "-c", 'mount -t tmpfs o3-test "$0"', str(folder)], capture_output=True).returncode == 0:
            return argv
    return None


def inside(pid, path):
    """A path as the process sees it."""
    return pathlib.Path(f"/proc/{pid}/root{path}")
