# SPDX-License-Identifier: Apache-2.0
"""The numbers of the README, measured here and now, each with the command or the way it was taken.

    ./dev bench [--quick]

Beside the sidecar stands prometheus-node-exporter, a well-known small exporter, under the same scrapes. Nothing passes or
fails: this is a report. --quick shortens the long measurements and says so.
"""

import argparse
import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
os.environ.setdefault("O3_BINARY", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/o3"))
import harness  # noqa: E402
from harness import FAST, Process, Sidecar, Simulator  # noqa: E402

MODELS = ["sim-small:latest", "sim-medium:latest", "sim-think:latest"]
rows = []


def row(what, value, how):
    rows.append((what, value, how))
    print(f"  {what}: {value}    ({how})", flush=True)


def status_kib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def memory(pid):
    return f"{status_kib(pid, 'VmRSS') / 1024:.1f} MiB RSS, {status_kib(pid, 'RssAnon') / 1024:.1f} MiB anonymous"


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wakeups(pid):
    """Voluntary context switches of all threads: each is one wake-up that ended in waiting again."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def scrape_times(url, n, per_second=100):
    """Milliseconds of n scrapes at a steady pace over one kept connection, asking as Prometheus does (OpenMetrics, gzip)."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "Accept-Encoding": "gzip"}
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times, size = [], 0
    begin = time.monotonic() + 0.1
    for i in range(-10, n):  # the first ten warm up both sides
        pause = begin + i / per_second - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        start = time.monotonic()
        connection.request("GET", where.path, headers=headers)
        reply = connection.getresponse()
        size = len(reply.read())
        assert reply.status == 200
        if i >= 0:
            times.append((time.monotonic() - start) * 1e3)
    connection.close()
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)], size


def scrape_row(what, url, n, how):
    p50, p99, size = scrape_times(url, n)
    row(what, f"p50 {p50:.2f} ms, p99 {p99:.2f} ms ({size / 1024:.1f} KiB of gzip)", f"{n} scrapes at 100/s, {how}")
    return p50, p99


def started_exporter(stack, folder):
    if not shutil.which("prometheus-node-exporter"):
        return None
    port = harness.free_port()
    exporter = stack.enter_context(harness.started(
        Process, ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"], folder, "node-exporter"))
    exporter.url = f"http://127.0.0.1:{port}"

    def answers():
        with contextlib.suppress(requests.RequestException):
            return requests.get(exporter.url + "/metrics", timeout=5).ok

    harness.wait_for("node-exporter", answers)
    return exporter


def measure_start(folder):
    """Milliseconds from exec to the first byte of /metrics, five times."""
    times = []
    for i in range(5):
        port = harness.free_port()
        sidecar_folder = folder / f"start{i}"
        sidecar_folder.mkdir()
        begin = time.monotonic()
        with harness.started(Process, [harness.BINARY, "serve", f"--web.listen=127.0.0.1:{port}", "--ollama.url=http://127.0.0.1:9",
                                       f"--results.path={sidecar_folder}/r"], sidecar_folder, "serve"):
            while True:
                with contextlib.suppress(requests.RequestException):
                    with requests.get(f"http://127.0.0.1:{port}/metrics", stream=True, timeout=5) as reply:
                        next(reply.iter_content(1))
                    break
                time.sleep(0.001)
            times.append((time.monotonic() - begin) * 1e3)
    times.sort()
    row("start to first byte of /metrics", f"median {times[2]:.0f} ms, worst {times[-1]:.0f} ms", "o3 serve with an empty store, polled each ms, 5 starts")


def measure_binary(folder):
    stripped = folder / "o3-stripped"
    subprocess.run(["strip", "-o", stripped, harness.BINARY], check=True)
    row("binary", f"{stripped.stat().st_size / 1024:.0f} KiB stripped", "strip -o OUT build/release/o3; stat -c %s OUT")


def measure_busy(stack, folder, options):
    probes = 100 if options.quick else 1000
    n = 3000
    exporter = started_exporter(stack, folder)
    simulator = stack.enter_context(harness.started(Simulator, folder, load=None))
    for model in MODELS:
        simulator.load(model)
    serve = folder / "busy"
    sidecar = stack.enter_context(harness.started(Sidecar, serve, simulator.url, {**FAST, "log.level": "info"}))

    def ok():
        return sidecar.metrics().sum("o3_probes_total", result="ok")

    print(f"  (waiting for {probes} probes of {len(MODELS)} models)", flush=True)
    end = time.monotonic() + probes + 600
    while ok() < probes and time.monotonic() < end:
        time.sleep(1)
        if exporter:
            requests.get(exporter.url + "/metrics", timeout=10)  # the same scrapes for both
    done = ok()
    how = f"/proc/PID/status after {done:.0f} probes of {len(MODELS)} models at probe.interval 1s, scraped each second"
    row("memory of o3 serve", memory(sidecar.pid), how)
    if exporter:
        row("memory of node-exporter", memory(exporter.pid), "the same scrapes")

    ours_busy = scrape_row("/metrics while probing", sidecar.url + "/metrics", n, "simulator busy, probes each second")
    simulator.send(signal.SIGSTOP)
    time.sleep(1)
    scrape_row("/metrics while Ollama hangs", sidecar.url + "/metrics", n, "simulator under SIGSTOP")
    simulator.send(signal.SIGCONT)
    if exporter:
        theirs = scrape_row("/metrics of node-exporter", exporter.url + "/metrics", n, "the same machine, right after")
        row("p99 of o3 over node-exporter", f"{ours_busy[1] / theirs[1]:.2f}", "the two rows above")
    row("memory after the scrapes", memory(sidecar.pid), f"/proc/PID/status after {2 * n} scrapes more")


def measure_default(stack, folder, options):
    """At the default cadence: what a pod pays all day."""
    seconds = 60 if options.quick else 600
    simulator = stack.enter_context(harness.started(Simulator, folder, load=None, name="sim-default"))
    for model in MODELS:
        simulator.load(model)
    sidecar = stack.enter_context(harness.started(Sidecar, folder / "default", simulator.url, {"log.level": "info"}))
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 1)
    time.sleep(5)
    cpu, begin = cpu_seconds(sidecar.pid), time.monotonic()
    switches = wakeups(sidecar.pid)
    time.sleep(30)
    row("wake-ups per second", f"{(wakeups(sidecar.pid) - switches) / 30:.2f}",
        "voluntary_ctxt_switches of all threads in /proc/PID/task/*/status over 30 s, default configuration, no scrapes")
    while time.monotonic() < begin + seconds:
        requests.get(sidecar.url + "/metrics", timeout=10)
        time.sleep(15)
    per_hour = (cpu_seconds(sidecar.pid) - cpu) / (time.monotonic() - begin) * 3600
    row("processor time per hour", f"{per_hour:.2f} s ({per_hour / 36:.3f} % of one core)",
        f"utime + stime of /proc/PID/stat over {seconds} s, default configuration, {len(MODELS)} models, a scrape each 15 s")


SMALL_REQUESTS = ["GET /api/version", "GET /api/ps",
                  'POST /api/generate {"model":"sim-small","prompt":"hi there","stream":false,"options":{"num_predict":2}}']
CONNECTIONS = 32

# As small as a server of the yardstick's library can be: kept connections, a short answer of known length.
PYTHON_SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", -1, True
    def do_GET(self):
        body = b'{"version":"0.0.0"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
"""
NODE_SERVER = """
const server = require("http").createServer((request, reply) => {
    const body = '{"version":"0.0.0"}';
    reply.writeHead(200, {"Content-Type": "application/json", "Content-Length": body.length});
    reply.end(body);
});
server.listen(0, "127.0.0.1", () => console.log("http://127.0.0.1:" + server.address().port));
"""


def small_requests(url, seconds, requests_sent):
    """Answers a second, as tests/bench/http_load.c counts them, and its line."""
    load = pathlib.Path(harness.BINARY).parent / "http_load"
    line = subprocess.run([load, url.removeprefix("http://"), str(CONNECTIONS), str(seconds), *requests_sent],
                          check=True, capture_output=True, text=True).stdout.split()
    found = {name: int(value) for name, value in zip(line[::2], line[1::2])}
    assert found["not_200"] == 0, found
    return found


def load_row(what, found, how):
    row(what, f"{found['per_second']:,}/s, p50 {found['p50_us'] / 1e3:.2f} ms, p99 {found['p99_us'] / 1e3:.2f} ms", how)


def measure_simulator(stack, folder, options):
    """Scaled time that leaves no wait between requests. Idle models would unload at once: a keep-alive passes as fast."""
    seconds = 2 if options.quick else 5
    flags = ["--preload", "sim-small", "--keep-alive", "-1"]
    simulator = stack.enter_context(harness.started(Simulator, folder, load=None, speed=100000, flags=flags, name="sim-fast"))
    how = f"http_load, {CONNECTIONS} kept connections, {seconds} s; o3 sim --speed 100000 {' '.join(flags)}"
    mixed = small_requests(simulator.url, seconds, SMALL_REQUESTS)
    load_row("o3 sim, small requests", mixed, f"version, ps and a generate of 2 tokens in turn; {how}")
    for request in SMALL_REQUESTS:
        load_row(f"o3 sim, {' '.join(request.split()[:2])}", small_requests(simulator.url, seconds, [request]), how)
    row("memory of o3 sim", memory(simulator.pid), "/proc/PID/status after the rows above")
    others = [("python's http.server", [sys.executable, "-c", PYTHON_SERVER])]
    if shutil.which("node"):
        others.append(("node's http", ["node", "-e", NODE_SERVER]))
    for name, command in others:
        other = stack.enter_context(harness.started(Process, command, folder, name.split("'")[0]))
        url = other.wait_log(r"(http://127\.0\.0\.1:\d+)")[1]
        found = small_requests(url, seconds, SMALL_REQUESTS[:1])
        load_row(f"yardstick: {name}", found, f"a fixed answer, the same load, the same machine, {seconds} s")
        row(f"o3 sim over {name}", f"{mixed['per_second'] / found['per_second']:.2f}", "answers a second, first row over this one")


def simulate(*args):
    """Processor seconds, peak KiB and the output of one o3 simulate of one run, which is one process."""
    peak = 0
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([harness.BINARY, "simulate", *map(str, args)], stdout=out, stderr=subprocess.DEVNULL, env=harness.clean_environment())
        while True:
            # Not ru_maxrss: that remembers the Python process which the child was forked from.
            with contextlib.suppress(OSError):
                peak = max(peak, status_kib(child.pid, "VmHWM"))
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode in (0, 1), child.returncode  # 1: an expectation was not met, which is not asked here
        out.seek(0)
        return usage.ru_utime + usage.ru_stime, peak, out.read()


def measure_rehearsal(options):
    times, peaks, outputs = zip(*(simulate("--days", 30, "--json") for _ in range(3)))
    assert len(set(outputs)) == 1, "the same seed gave other bytes"
    row("30 simulated days", f"{sorted(times)[1]:.2f} s (of 3: {', '.join(f'{t:.2f}' for t in times)})",
        "user + sys of o3 simulate --days 30: 3 models, users, a twin world, default probing, one process on one core, median of 3")
    days = 120 if options.quick else 365
    _, peak, _ = simulate("--days", days, "--json")
    row(f"memory of {days} simulated days", f"{peak / 1024:.1f} MiB, {peak / max(peaks):.2f} times that of 30 days ({max(peaks) / 1024:.1f} MiB)",
        f"VmHWM of /proc/PID/status, o3 simulate --days {days} and --days 30")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="o3-bench-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        measure_binary(folder)
        measure_start(folder)
        measure_busy(stack, folder, options)
        measure_default(stack, folder, options)
        measure_simulator(stack, folder, options)
        measure_rehearsal(options)
    cpu = next((l.split(":", 1)[1].strip() for l in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")), "unknown")
    print(f"\n{os.cpu_count()} cores, {cpu}, load {os.getloadavg()[0]:.1f}" + (", quick" if options.quick else "") + "\n")
    print("| what | measured | how |\n|---|---|---|")
    for what, value, how in rows:
        print(f"| {what} | {value} | {how} |")


if __name__ == "__main__":
    main()
