# SPDX-License-Identifier: Apache-2.0
"""TLS and passwords by a web configuration file: a real Prometheus, wrong credentials, rotation, hostile clients."""

import base64
import concurrent.futures
import contextlib
import http.client
import itertools
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest
import requests
import yaml

import harness
from harness import FAST, Metrics, Process, Sidecar
from pki import NAMES, key_args, make_ca, make_cert, openssl
from scraping import FAILED_SCRAPES

PASSWORD = "correct horse"
HASH = "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi"  # of PASSWORD, at the lowest cost
TOKEN = "token-of-the-api"


@pytest.fixture
def pki(tmp_path):
    """A folder with ca.pem and server.{pem,key} made by it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path / "pki"
    folder.mkdir()
    make_ca(folder)
    make_cert(folder, "server")
    return folder


def write_web(folder, **config):
    """Replaced as a whole."""
    path = folder / "web.yml"
    (folder / "web.new").write_text(yaml.safe_dump(config))
    os.replace(folder / "web.new", path)
    return path


def replace(folder, source, name):
    shutil.copy(folder / source, folder / "copy.new")
    os.replace(folder / "copy.new", folder / name)


TLS = {"cert_file": "server.pem", "key_file": "server.key"}


class Guarded(Sidecar):
    """Knows how to reach itself: over TLS, as a user."""

    def __init__(self, folder, ollama_url, web, config=None, **more):
        self.pki = web.parent
        self.is_tls = "tls_server_config" in web.read_text()
        super().__init__(folder, ollama_url, {"web.config_file": str(web), **(config or {})}, **more)

    def wait_started(self):
        super().wait_started()
        if self.is_tls:
            self.url = f"https://127.0.0.1:{self.port}"

    def get(self, path, auth=("prom", PASSWORD), **more):
        return self.request("GET", path, auth=auth, verify=str(self.pki / "ca.pem"), **more)

    def run(self, command, *args, env=None):
        return harness.run_o3(command, *args, "--config.file", self.config_path, "--web.listen", f"127.0.0.1:{self.port}", env=env)


def start_guarded(start, simulator, web, config=None, **more):
    return start(Guarded, simulator.url, web, {**FAST, **(config or {})}, **more)


# ---- passwords ----


def test_pages_ask_for_a_password_and_health_does_not(start, simulator, pki):
    web = write_web(pki, tls_server_config=TLS, basic_auth_users={"prom": HASH},
                    http_server_config={"headers": {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=60"}})
    sidecar = start_guarded(start, simulator, web, {"web.token": TOKEN})
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/metrics", "/config", "/api/v1/status", "/no/such/page"):
        none = sidecar.get(path, auth=None)
        assert (none.status_code, none.headers["WWW-Authenticate"].split()[0]) == (401, "Basic"), path
        assert none.headers["X-Frame-Options"] == "deny" and none.headers["Strict-Transport-Security"] == "max-age=60"
        assert sidecar.get(path, auth=("prom", "wrong")).status_code == 401
        expected = 404 if path == "/no/such/page" else 200
        assert sidecar.get(path).status_code == expected
        assert sidecar.get(path, auth=None, headers=bearer).status_code == expected
    for path in ("/-/healthy", "/-/ready"):
        assert sidecar.get(path, auth=None).text == "ok\n"
    for header in ("Basic", "Basic !!!", "Bearer wrong", "Digest x", "Basic " + base64.b64encode(b"prom:" + b"x" * 5000).decode()):
        assert sidecar.get("/metrics", auth=None, headers={"Authorization": header}).status_code == 401, header
    # What changes something needs the token: a reader's password is not enough.
    reload = lambda **more: sidecar.request("POST", "/-/reload", verify=str(pki / "ca.pem"), **more).status_code
    assert (reload(), reload(auth=("prom", PASSWORD)), reload(headers=bearer)) == (401, 401, 200)
    metrics = sidecar.metrics()
    assert metrics.sum("o3_web_sign_ins_total", result="wrong") > 0 and metrics.sum("o3_web_sign_ins_total", result="ok") > 0
    for secret in (PASSWORD, HASH, TOKEN, base64.b64encode(f"prom:{PASSWORD}".encode()).decode()):
        assert secret not in sidecar.log and secret not in sidecar.get("/config").text, secret
        assert secret not in sidecar.get("/api/v1/events").text


def test_guessing_is_limited_and_does_not_lock_out_who_is_known(start, simulator, pki):
    web = write_web(pki, basic_auth_users={"prom": HASH})
    sidecar = start_guarded(start, simulator, web)
    began = time.monotonic()
    assert sidecar.get("/metrics").status_code == 200
    answers = [sidecar.get("/metrics", auth=("prom", f"guess-{i}")) for i in range(40)]
    codes = [a.status_code for a in answers]
    assert codes[0] == 401 and set(codes) == {401, 429} and codes.count(401) < 20
    assert all(int(a.headers["Retry-After"]) >= 1 for a in answers if a.status_code == 429)
    assert sidecar.get("/metrics").status_code == 200
    # A wrong password that was seen before costs no check and no try.
    assert sidecar.get("/metrics", auth=("prom", "guess-0")).status_code == 401
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda i: sidecar.get("/metrics", auth=(f"user-{i % 7}", f"other-{i}")).status_code, range(60)))
    assert set(codes) <= {401, 429, 503}
    assert sidecar.get("/metrics").status_code == 200
    minutes = (time.monotonic() - began) / 60  # it is told once in each
    assert 1 <= sidecar.log.count("event=sign_in_refused") <= 1 + minutes and "guess-" not in sidecar.log and "user-" not in sidecar.log
    assert sidecar.stop() == 0


def ask(sidecar, method, path, authorization, source="127.0.0.1"):
    """(status, headers), from an address of the loopback network."""
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=harness.LIMIT_S, source_address=(source, 0))
    try:
        connection.request(method, path, headers={"Authorization": authorization})
        reply = connection.getresponse()
        reply.read()
        return reply.status, reply.headers
    finally:
        connection.close()


def asked_while_limited(guess, ask_right):
    """The status of the right one from a client that has no try left: a guess has just used up the last one, and the next one, some
    seconds later, had not come yet."""

    def attempt():
        status, headers = guess()
        if status != 429 or int(headers["Retry-After"]) < 4:
            return None
        began = time.monotonic()
        right = ask_right()
        return right if time.monotonic() - began < 2 else None

    return harness.wait_for("a client without tries", attempt, every_s=0)


@pytest.mark.parametrize("has_users", [False, True], ids=["token only", "with users"])
def test_guessing_a_token_is_limited(start, simulator, pki, has_users):
    path, method = ("/metrics", "GET") if has_users else ("/-/reload", "POST")
    config = {"web.token": TOKEN, **({"web.config_file": str(write_web(pki, basic_auth_users={"prom": HASH}))} if has_users else {})}
    sidecar = start(Sidecar, simulator.url, {**FAST, **config})
    right, guess = f"Bearer {TOKEN}", lambda i: f"Bearer guess-{i}"
    assert ask(sidecar, method, path, right, "127.0.0.3")[0] == 200
    codes = []
    for i in range(40):
        status, headers = ask(sidecar, method, path, guess(i), "127.0.0.3")
        codes.append(status)
        assert status == 401 or 1 <= int(headers["Retry-After"]) <= 60
    assert codes[0] == 401 and set(codes) == {401, 429} and codes.count(401) < 20
    # Who was right before goes on, from the same address, too; so does everybody at another one.
    assert ask(sidecar, method, path, right, "127.0.0.3")[0] == 200
    assert ask(sidecar, method, path, right, "127.0.0.4")[0] == 200
    # A right guess of a client that is limited is not told apart from a wrong one.
    numbers = itertools.count()
    ask_wrong = lambda: ask(sidecar, method, path, guess(next(numbers)), "127.0.0.5")
    assert asked_while_limited(ask_wrong, lambda: ask(sidecar, method, path, right, "127.0.0.5")[0]) == 429
    if has_users:
        scrape = f"Basic {base64.b64encode(f'prom:{PASSWORD}'.encode()).decode()}"
        assert asked_while_limited(ask_wrong, lambda: ask(sidecar, "GET", "/metrics", scrape, "127.0.0.5")[0]) == 429
        assert ask(sidecar, "GET", "/metrics", scrape, "127.0.0.6")[0] == 200
        metrics = Metrics(requests.get(sidecar.url + "/metrics", auth=("prom", PASSWORD), timeout=harness.LIMIT_S).text)
    else:
        metrics = sidecar.metrics()
    assert metrics.get("o3_web_sign_ins_total", result="limited") > 20 and metrics.get("o3_web_sign_ins_total", result="wrong") >= 2
    assert "event=sign_in_refused" in sidecar.log and "guess-" not in sidecar.log and TOKEN not in sidecar.log
    assert sidecar.stop() == 0


def test_a_stop_does_not_wait_for_a_costly_check(start, simulator, pki):
    """Nothing interrupts bcrypt, which takes seconds at this cost; the stop ends in order without it."""
    web = write_web(pki, basic_auth_users={"prom": HASH, "slow": HASH.replace("$04$", "$14$")})
    sidecar = start_guarded(start, simulator, web)
    sidecar.wait_log("event=config_warning .*cost 14")
    with contextlib.ExitStack() as stack:
        for i in range(4):  # checked one after the other: for so long that it is seen
            s = stack.enter_context(socket.create_connection(("127.0.0.1", sidecar.port), timeout=harness.LIMIT_S))
            credentials = base64.b64encode(f"slow:{i}".encode()).decode()
            s.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n".encode())
        harness.wait_for("the check's thread", lambda: len(os.listdir(f"/proc/{sidecar.pid}/task")) >= 3)
        assert sidecar.stop() == 0
    assert "event=stopped" in sidecar.log and "ending without it" not in sidecar.log
    assert harness.run_o3("check-config", "--web.config.file", web).stderr.count("a hash of cost 14") == 1


def test_many_first_requests_share_one_check(start, simulator, pki):
    """A dashboard opens many connections at once, right after a restart."""
    web = write_web(pki, basic_auth_users={"prom": HASH})
    sidecar = start_guarded(start, simulator, web)
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        codes = list(pool.map(lambda _: sidecar.get("/metrics").status_code, range(30)))
    assert codes == [200] * 30


def test_clients_that_leave_while_their_password_is_checked(start, simulator, pki):
    """The costly hash keeps the check busy while they go."""
    slow = HASH.replace("$04$", "$10$")  # nobody's password: only its cost matters
    web = write_web(pki, basic_auth_users={"prom": HASH, "slow": slow})
    sidecar = start_guarded(start, simulator, web)
    for i in range(8):
        with socket.create_connection(("127.0.0.1", sidecar.port), timeout=harness.LIMIT_S) as s:
            credentials = base64.b64encode(f"slow:{i}".encode()).decode()
            s.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n".encode())
    assert sidecar.get("/metrics").status_code in (200, 429, 503)
    harness.wait_for("the first check", lambda: sidecar.get("/metrics").status_code == 200)
    assert sidecar.stop() == 0


# ---- a real Prometheus ----


def test_prometheus_scrapes_over_tls_with_credentials_through_a_rotation(start, simulator, pki, tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed")
    make_ca(pki, "client-ca")
    make_cert(pki, "prometheus", "client-ca", "subjectAltName=DNS:prometheus.example", "clientAuth")
    web = write_web(pki, basic_auth_users={"prom": HASH}, tls_server_config={
        **TLS, "client_ca_file": "client-ca.pem", "client_auth_type": "RequireAndVerifyClientCert", "client_allowed_sans": ["prometheus.example"]})
    sidecar = start(Guarded, simulator.url, web, FAST)
    port = harness.free_port()
    tls = {"ca_file": str(pki / "ca.pem"), "cert_file": str(pki / "prometheus.pem"), "key_file": str(pki / "prometheus.key")}

    def job(name, password, tls_config, scheme="https"):
        return {"job_name": name, "scheme": scheme, "tls_config": tls_config, "basic_auth": {"username": "prom", "password": password},
                "static_configs": [{"targets": [f"localhost:{sidecar.port}"]}]}

    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [
        job("good", PASSWORD, tls), job("wrong_password", "wrong", tls), job("no_certificate", PASSWORD, {"ca_file": tls["ca_file"]}),
        job("plain", PASSWORD, {}, "http")]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}"]
    with harness.started(Process, argv, tmp_path, "prometheus") as prometheus:

        def get(path, **params):
            try:
                return requests.get(f"http://127.0.0.1:{port}{path}", params=params, timeout=harness.LIMIT_S).json()["data"]
            except requests.RequestException:
                assert prometheus.is_running(), prometheus.log
                return None

        def query(expression):
            data = get("/api/v1/query", query=expression)
            return data and {r["metric"].get("job"): float(r["value"][1]) for r in data["result"]}

        everybody = {"good", "wrong_password", "no_certificate", "plain"}
        harness.wait_for("scrapes of all", lambda: set(query("count_over_time(up[5m]) >= 5") or {}) == everybody)
        expiry = query("last_over_time(o3_web_certificate_expiry_timestamp_seconds[5m])")["good"]
        assert expiry - query("last_over_time(o3_web_certificate_start_timestamp_seconds[5m])")["good"] == 3 * 86400
        assert query("max_over_time(up[5m])") == {"good": 1, "wrong_password": 0, "no_certificate": 0, "plain": 0}

        def are_told_apart():
            errors = {t["labels"]["job"]: t["lastError"] for t in (get("/api/v1/targets") or {"activeTargets": []})["activeTargets"]}
            return set(errors) == everybody and "401" in errors["wrong_password"] and "400" in errors["plain"] and errors["good"] == ""

        harness.wait_for("what is wrong with each", are_told_apart)
        # A new key and certificate, one file after the other: for a moment they do not match.
        openssl("req", *key_args("next"), "-out", "next.csr", "-subj", "/CN=next", cwd=pki)
        (pki / "next.ext").write_text(NAMES + "\n")
        openssl("x509", "-req", "-in", "next.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "next.pem", "-days", "20", "-extfile", "next.ext", cwd=pki)
        replace(pki, "next.pem", "server.pem")
        replace(pki, "next.key", "server.key")
        harness.wait_for("the new certificate", lambda: (query("o3_web_certificate_expiry_timestamp_seconds") or {}).get("good", 0) > expiry)
        seen = query("sum_over_time(up[5m])")["good"]
        harness.wait_for("scrapes afterwards", lambda: (query("sum_over_time(up[5m])") or {}).get("good", 0) >= seen + 5)
        assert set(query(FAILED_SCRAPES)) == everybody - {"good"}, "a scrape failed during the rotation"
    assert sidecar.is_running() and PASSWORD not in sidecar.log


# ---- reload ----


def metric(sidecar, name, **more):
    return Metrics(sidecar.get("/metrics", **more).text).get(name)


def served_certificate(sidecar):
    return ssl.get_server_certificate(("127.0.0.1", sidecar.port)).strip()


def test_a_broken_file_keeps_the_old_one_and_says_so(start, simulator, pki):
    web = write_web(pki, tls_server_config=TLS, basic_auth_users={"prom": HASH})
    sidecar = start_guarded(start, simulator, web, {"web.token": TOKEN})
    before = served_certificate(sidecar)
    make_ca(pki, "foreign")

    def rejected(why):
        sidecar.wait_log(f"event=web_config_rejected .*{why}")
        assert metric(sidecar, "o3_web_config_last_reload_successful") == 0
        assert served_certificate(sidecar) == before

    replace(pki, "foreign.key", "server.key")
    shutil.copy(pki / "server.pem", pki / "good.pem")
    rejected("do not match")
    write_web(pki, tls_server_config=TLS, basic_auth_users={"prom": "swordfish"})
    rejected("expected a bcrypt hash")
    write_web(pki, tls_server_config={**TLS, "cert_fil": "x"})
    rejected("unknown key")
    write_web(pki, basic_auth_users={"prom": HASH})
    rejected("TLS cannot be switched off without a restart")
    os.remove(web)
    rejected("No such file")
    reply = sidecar.request("POST", "/-/reload", verify=str(pki / "ca.pem"), headers={"Authorization": f"Bearer {TOKEN}"})
    assert reply.status_code == 500 and "web.yml" in reply.json()["error"]
    assert "swordfish" not in sidecar.log
    # A good one again, with another key.
    make_cert(pki, "server")
    write_web(pki, tls_server_config=TLS, basic_auth_users={"prom": HASH})
    sidecar.wait_log("event=web_config_reloaded")
    harness.wait_for("the metric", lambda: metric(sidecar, "o3_web_config_last_reload_successful") == 1)
    assert served_certificate(sidecar) != before


def test_a_user_who_is_taken_away_is_out_at_once(start, simulator, pki):
    web = write_web(pki, basic_auth_users={"prom": HASH, "leaver": HASH})
    sidecar = start_guarded(start, simulator, web)
    assert sidecar.get("/metrics", auth=("leaver", PASSWORD)).status_code == 200
    write_web(pki, basic_auth_users={"prom": HASH})
    sidecar.send(signal.SIGHUP)
    sidecar.wait_log("event=web_config_reloaded")
    assert sidecar.get("/metrics", auth=("leaver", PASSWORD)).status_code == 401
    assert sidecar.get("/metrics").status_code == 200


def test_rotation_as_kubernetes_mounts_do_it(start, simulator, pki, tmp_path):
    """..data is a link that is swapped: the files' own names never change."""
    mount = tmp_path / "mount"
    mount.mkdir()

    def publish(version):
        folder = mount / f"..{version}"
        folder.mkdir()
        for name in ("server.pem", "server.key"):
            shutil.copy(pki / name, folder / name)
        os.symlink(folder.name, mount / "..data_tmp")
        os.replace(mount / "..data_tmp", mount / "..data")

    publish("1")
    for name in ("server.pem", "server.key"):
        os.symlink(f"..data/{name}", mount / name)
    web = write_web(pki, tls_server_config={"cert_file": str(mount / "server.pem"), "key_file": str(mount / "server.key")})
    sidecar = start_guarded(start, simulator, web)
    before = served_certificate(sidecar)
    make_cert(pki, "server")
    publish("2")
    harness.wait_for("the new certificate", lambda: served_certificate(sidecar) != before)
    assert "event=web_config_rejected" not in sidecar.log


# ---- what clients do ----


def test_client_certificates_and_versions(start, simulator, pki):
    make_ca(pki, "client-ca")
    make_cert(pki, "known", "client-ca", "subjectAltName=DNS:known.example,IP:10.1.2.3", "clientAuth")
    make_cert(pki, "nameless", "client-ca", "subjectAltName=DNS:else.example", "clientAuth")
    make_cert(pki, "server-only", "client-ca", "subjectAltName=DNS:known.example", "serverAuth")
    make_cert(pki, "foreign", "ca", "subjectAltName=DNS:known.example", "clientAuth")
    web = write_web(pki, tls_server_config={**TLS, "client_ca_file": "client-ca.pem", "client_auth_type": "RequireAndVerifyClientCert",
                                            "client_allowed_sans": ["10.1.2.3"], "min_version": "TLS13"})
    sidecar = start_guarded(start, simulator, web)

    def scrape(name, max_version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=pki / "ca.pem")
        context.maximum_version = max_version
        if name:
            context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
        try:
            with socket.create_connection(("127.0.0.1", sidecar.port), timeout=harness.LIMIT_S) as s, context.wrap_socket(s, server_hostname="localhost") as t:
                t.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return t.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    assert scrape("known")
    assert not scrape("known", ssl.TLSVersion.TLSv1_2)
    for name in (None, "nameless", "server-only", "foreign"):
        assert not scrape(name), name
    # The sidecar's own command has its own certificate.
    done = sidecar.run("healthcheck", "--timeout=60s")
    assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr
    assert sidecar.is_running()


@pytest.mark.parametrize("auth_type, expected", [("RequireAnyClientCert", (False, True, True)), ("VerifyClientCertIfGiven", (True, False, True)),
                                                 ("RequestClientCert", (True, True, True))])
def test_kinds_of_client_authentication(start, simulator, pki, auth_type, expected):
    make_ca(pki, "client-ca")
    make_cert(pki, "known", "client-ca", NAMES, "clientAuth")
    make_cert(pki, "foreign", "ca", NAMES, "clientAuth")
    web = write_web(pki, tls_server_config={**TLS, "client_ca_file": "client-ca.pem", "client_auth_type": auth_type})
    sidecar = start_guarded(start, simulator, web)

    def scrape(name):
        try:
            cert = name and (str(pki / f"{name}.pem"), str(pki / f"{name}.key"))
            return requests.get(sidecar.url + "/metrics", verify=str(pki / "ca.pem"), cert=cert, timeout=harness.LIMIT_S).status_code == 200
        except requests.ConnectionError:
            return False

    assert (scrape(None), scrape("foreign"), scrape("known")) == expected


def test_commands_reach_it(start, simulator, pki):
    web = write_web(pki, tls_server_config=TLS, basic_auth_users={"prom": HASH})
    sidecar = start_guarded(start, simulator, web, {"web.token": TOKEN})
    for ready in ((), ("--ready",)):
        done = sidecar.run("healthcheck", "--timeout=60s", *ready)
        assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr
    done = sidecar.run("ack", "no-such-model")
    assert done.returncode == 1 and "status 404" in done.stderr, done.stderr
    # The token goes only to who shows the certificate of the file.
    make_ca(pki, "foreign")
    elsewhere = pki / "elsewhere"
    elsewhere.mkdir()
    for name in ("foreign.pem", "foreign.key"):
        shutil.copy(pki / name, elsewhere / name)
    foreign = write_web(elsewhere, tls_server_config={"cert_file": "foreign.pem", "key_file": "foreign.key"})
    done = sidecar.run("ack", "no-such-model", "--web.config.file", foreign)
    assert done.returncode == 69 and "certificate" in done.stderr, done.stderr


def test_plain_http_and_rubbish_on_the_tls_port(start, simulator, pki):
    web = write_web(pki, tls_server_config=TLS)
    sidecar = start_guarded(start, simulator, web)
    reply = requests.get(f"http://127.0.0.1:{sidecar.port}/metrics", timeout=harness.LIMIT_S)
    assert reply.status_code == 400 and "https://" in reply.json()["error"]
    for rubbish in (b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 200, b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x\r\n", b"\x16"):
        with socket.create_connection(("127.0.0.1", sidecar.port), timeout=harness.LIMIT_S) as s:
            try:  # the server may be done with it before we are
                s.sendall(rubbish)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
            except OSError:
                pass
    assert sidecar.get("/-/healthy", auth=None).status_code == 200


def test_a_thousand_slow_handshakes(start, simulator, pki):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 1200 if hard == resource.RLIM_INFINITY else min(1200, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, want), hard))
    web = write_web(pki, tls_server_config=TLS, basic_auth_users={"prom": HASH})
    sidecar = start_guarded(start, simulator, web, {"web.timeout": "2s"})
    context = ssl.create_default_context(cafile=pki / "ca.pem")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    hello = outgoing.read()
    sockets = []
    try:
        for i in range(want - 200):
            s = socket.socket()
            s.setblocking(False)
            sockets.append(s)
            s.connect_ex(("127.0.0.1", sidecar.port))
        for i, s in enumerate(sockets):
            try:
                # Half stop within the first message, half after it: these cost the server a signature.
                s.send(hello[:50] if i % 2 else hello)
            except OSError:
                pass

        def scrape():
            try:
                reply = requests.get(sidecar.url + "/metrics", auth=("prom", PASSWORD), verify=str(pki / "ca.pem"), timeout=5)
                return reply.status_code == 200 and Metrics(reply.text)
            except requests.RequestException:
                return None

        metrics = harness.wait_for("a scrape among the slow clients", scrape)
        before = metrics.sum("o3_probes_total", result="ok")
        harness.wait_for("another probe", lambda: (m := scrape()) and m.sum("o3_probes_total", result="ok") > before)
    finally:
        for s in sockets:
            s.close()
    assert sidecar.stop() == 0


# ---- starting ----


def test_a_wrong_file_stops_the_start_and_the_check(tmp_path, pki):
    cases = [({"tls_server_config": {**TLS, "cert_file": "absent.pem"}}, "web.yml:2:14: tls_server_config.cert_file: cannot read"),
             ({"tls_server_config": {**TLS, "key_file": "ca.key"}}, "do not match"),
             ({"tls_server_config": {**TLS, "key_file": "server.pem"}}, "tls_server_config.key_file"),
             ({"tls_server_config": {**TLS, "cert_file": "/dev/zero"}}, "not a plain file"),
             ({"tls_server_config": {**TLS, "cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA"]}}, "not a suite that this server knows"),
             ({"tls_server_config": {**TLS, "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                                                              "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]}}, "cannot offer these without also"),
             ({"tls_server_config": {**TLS, "curve_preferences": ["P-256"]}}, "expected CurveP256"),
             ({"basic_auth_users": {"a": "b"}}, "web.yml:2:6: basic_auth_users: expected a bcrypt hash"),
             ({"basic_auth": {"a": "b"}}, "web.yml:1:1: unknown key")]
    for config, why in cases:
        web = write_web(pki, **config)
        for command in (("check-config",), ("config", "check"), ("serve", "--web.listen", "127.0.0.1:0")):
            done = harness.run_o3(*command, "--web.config.file", web, cwd=tmp_path)
            assert done.returncode == 2 and why in done.stderr, (command, done.stderr)
    good = write_web(pki, tls_server_config={**TLS, "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"],
                                             "curve_preferences": ["CurveP256", "X25519"], "max_version": "TLS12"})
    done = harness.run_o3("check-config", "--web.config.file", good, cwd=tmp_path)
    assert done.returncode == 0 and f"{good} is valid" in done.stdout, done.stderr


def test_chosen_ciphers_are_the_only_ones(start, simulator, pki):
    web = write_web(pki, tls_server_config={**TLS, "max_version": "TLS12", "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]})
    sidecar = start_guarded(start, simulator, web)

    def cipher(names):
        context = ssl.create_default_context(cafile=pki / "ca.pem")
        context.set_ciphers(names)
        try:
            with socket.create_connection(("127.0.0.1", sidecar.port), timeout=harness.LIMIT_S) as s, context.wrap_socket(s, server_hostname="localhost") as t:
                return t.version(), t.cipher()[0]
        except OSError:
            return None

    assert cipher("ALL") == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert cipher("ECDHE-ECDSA-AES128-GCM-SHA256") is None


def test_a_tls_1_3_handshake_needs_one_round(start, simulator, pki):
    """Another first choice of curve than the clients' makes them begin again, at ten times the price."""
    sidecar = start_guarded(start, simulator, write_web(pki, tls_server_config=TLS))
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{sidecar.port}", "-CAfile", pki / "ca.pem", "-msg"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.LIMIT_S)
    assert "TLSv1.3" in done.stdout and done.stdout.count("ServerHello") == 1, done.stdout
