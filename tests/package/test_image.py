# SPDX-License-Identifier: Apache-2.0
"""The file set of the container image: what is in it, how large it is, and that the program runs with nothing else."""

import hashlib
import http.server
import os
import pathlib
import re
import signal
import ssl
import subprocess
import threading

import pytest

import harness
from harness import FAST, ROOT, wait_for
from package import image_root
from package.image_root import LIBCURL, PACKAGE, RELEASE, USER, assemble, jail, run, status_kib

SIZE_MAX = 15_000_000
RSS_MAX_KIB = 8 * 1024


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return assemble(tmp_path_factory.mktemp("image") / "root")


@pytest.fixture
def inside(root, tmp_path):
    """argv of programs that run in a copy of the root, which a test may change."""
    copy = tmp_path / "root"
    run("cp", "-a", root, copy)
    prefix = jail(copy, tmp_path / "state")
    if not prefix:
        pytest.skip("no mount namespace may be made here, so nothing can be run in a chroot with a read-only root")
    prefix_of = lambda *argv: [*prefix, *map(str, argv)]
    prefix_of.root, prefix_of.state = copy, tmp_path / "state"
    return prefix_of


def files(root):
    return [p for p in sorted(root.rglob("*")) if p.is_file() and not p.is_symlink()]


def needed(path):
    text = run("readelf", "-d", path)
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", text))


def test_exactly_the_libraries_that_are_needed(root):
    present = {p.name: p for p in files(root) if ".so" in p.name}
    wanted, todo = set(), needed(root / "usr/bin/o3")
    while todo:
        name = todo.pop()
        assert name in present, f"{name} is needed and not there"
        wanted.add(name)
        todo |= needed(present[name]) - wanted
    loader = re.search(r"interpreter: (\S+)\]", run("readelf", "-l", root / "usr/bin/o3"))[1]
    assert (root / loader[1:]).exists(), loader
    assert set(present) - {pathlib.Path(loader).name} == wanted - {pathlib.Path(loader).name}
    for unwanted in ("libssl", "libcrypto", "libldap", "libssh2", "librtmp", "libkrb5", "libnghttp2", "libpsl"):
        assert not [n for n in present if n.startswith(unwanted)], unwanted


def test_size(root):
    size = sum(p.stat().st_size for p in files(root))
    print(f"measured: files of the image {size / 1e6:.2f} MB (at most {SIZE_MAX / 1e6:.0f}), of these program and libraries "
          f"{sum(p.stat().st_size for p in files(root) if p.name == 'o3' or '.so' in p.name) / 1e6:.2f} MB")
    assert size <= SIZE_MAX


def test_no_shell_no_privileges_one_folder_to_write(root):
    programs = [p for p in files(root) if os.access(p, os.X_OK) and ".so" not in p.name]
    assert [p.name for p in programs] == ["o3"]
    for p in [root, *root.rglob("*")]:
        mode, owner = p.lstat().st_mode, p.lstat().st_uid
        assert not mode & 0o6000, p
        if not p.is_symlink() and p.name != "tmp":
            assert not mode & 0o022, p
        if os.geteuid() == 0:
            assert owner == (USER if p == root / "var/lib/o3" else 0), p


def test_each_package_has_its_licence_and_its_record(root):
    records = {p.name: p.read_text() for p in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libgnutls30", "libcurl3-gnutls", "ca-certificates"} <= set(records)
    for name, text in records.items():
        assert re.search(rf"^Package: {re.escape(name)}$", text, re.M) and re.search(r"^Version: \S+$", text, re.M), text
        assert (root / "usr/share/doc" / name / "copyright").stat().st_size > 0
    assert len(records) >= len([p for p in files(root) if ".so" in p.name]) - 4  # libc6 brings three


def test_same_input_same_bytes(root, tmp_path):
    def digest(folder):
        tar = subprocess.run(["tar", "--sort=name", "-C", folder, "-c", "."], capture_output=True, check=True).stdout
        return hashlib.sha256(tar).hexdigest()

    assert digest(root) == digest(assemble(tmp_path / "again"))


def test_serves_probes_and_writes_with_a_read_only_root(inside, start, simulator):
    port = harness.free_port()
    config = {"ollama.url": simulator.url, "web.listen": f"0.0.0.0:{port}", **FAST}
    (inside.root / "etc/o3/o3.yaml").write_text(harness.yaml.safe_dump(harness.nest(config)))
    serve = harness.Process(inside("/usr/bin/o3", "serve"), inside.state.parent, "serve")
    try:
        serve.wait_log(r"event=started\b")
        done = wait_for("a probe and its preset", lambda: list(inside.state.glob("o3_results/defaults/*.yaml")) or not serve.is_running())
        assert done and serve.is_running(), serve.log
        healthy = subprocess.run(inside("/usr/bin/o3", "healthcheck", "--timeout=60s"), capture_output=True, text=True)
        assert (healthy.returncode, healthy.stdout) == (0, "healthy\n"), healthy
        wait_for("30 probes", lambda: samples(port) >= 30)
        owner = os.stat(inside.state / "o3_results/o3.db").st_uid
        assert owner == (USER if os.geteuid() == 0 else os.geteuid())
        rss = status_kib(serve.pid, "VmRSS")
        print(f"measured: resident memory of the sidecar in the image, after 30 probes: {rss / 1024:.2f} MiB "
              f"(anonymous {status_kib(serve.pid, 'RssAnon') / 1024:.2f} MiB)")
        assert rss <= RSS_MAX_KIB
        serve.send(signal.SIGSTOP)  # takes connections, answers nothing: the check must end by itself
        silent = subprocess.run(inside("/usr/bin/o3", "healthcheck"), capture_output=True, text=True, timeout=harness.LIMIT_S)
        serve.send(signal.SIGCONT)
        assert silent.returncode == 1 and "imed out" in silent.stderr, silent
        assert serve.stop() == 0, serve.log
    finally:
        serve.close()
    gone = subprocess.run(inside("/usr/bin/o3", "healthcheck"), capture_output=True, text=True, timeout=60)
    assert gone.returncode == 1 and "connect" in gone.stderr.lower(), gone


def samples(port):
    text = harness.requests.get(f"http://127.0.0.1:{port}/metrics", timeout=harness.LIMIT_S).text
    return harness.Metrics(text).sum("o3_probes_total")


def test_nothing_but_the_state_folder_can_be_written(inside):
    def write_to(folder):
        argv = inside("/usr/bin/o3", "simulate", "--for", "1h", "--no-twin", "--html", f"{folder}/page.html")
        return subprocess.run(argv, capture_output=True, text=True)

    for folder in ("/tmp", "/etc/o3"):
        done = write_to(folder)
        assert done.returncode == 75 and re.search("Read-only file system|Permission denied", done.stderr), done
    assert "Read-only file system" in write_to("/tmp").stderr  # that folder is everybody's
    done = write_to("/var/lib/o3")
    assert done.returncode == 0 and (inside.state / "page.html").exists(), done


@pytest.mark.parametrize("name", ["libcurl-gnutls.so.4", "libgnutls.so.30", "libz.so.1", "libffi.so.8"])
def test_a_missing_library_is_found(inside, name):
    found = [p for p in files(inside.root) if p.name == name]
    assert found
    found[0].unlink()
    done = subprocess.run(inside("/usr/bin/o3", "version"), capture_output=True, text=True)
    assert done.returncode == 127 and name in done.stderr, done


def test_names_are_resolved_without_more_libraries(inside, simulator):
    (inside.root / "etc/hosts").write_text("127.0.0.1 ollama.test\n")
    done = subprocess.run(inside("/usr/bin/o3", "ack", "m", "--url", f"http://ollama.test:{simulator.port}"), capture_output=True, text=True)
    assert "status 404" in done.stderr, done


class Answer404(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = b'{"error": "no such model"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def tls_server(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer404)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", certificate
    server.shutdown()
    server.server_close()


def test_tls_with_the_certificates_in_the_image(inside, tls_server):
    url, certificate = tls_server
    argv = inside("/usr/bin/o3", "ack", "m", "--url", url)
    stranger = subprocess.run(argv, capture_output=True, text=True)
    assert stranger.returncode == 69 and "certificate" in stranger.stderr, stranger
    (inside.root / "etc/ssl/certs/ca-certificates.crt").write_bytes(certificate.read_bytes())
    known = subprocess.run(argv, capture_output=True, text=True)
    assert known.returncode == 1 and "no such model" in known.stderr, known


@pytest.mark.parametrize("program", ["unit_test_io_http", "torture_test_http"])
def test_the_http_client_with_the_rebuilt_libcurl(root, program):
    path = pathlib.Path(harness.BINARY).parent / program
    assert path.exists(), "build the C tests first"
    env = {**harness.clean_environment(), "LD_LIBRARY_PATH": str(LIBCURL)}
    assert str(LIBCURL) in subprocess.run(["ldd", path], capture_output=True, text=True, env=env).stdout
    done = subprocess.run([path], capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]


# ---- the Dockerfile ----


@pytest.fixture(scope="module")
def dockerfile():
    return (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def test_dockerfile_says_what_a_runtime_must_know(dockerfile):
    build, final = dockerfile.split("\nFROM scratch\n")
    assert "src/package/libcurl.sh" in build and "src/package/assemble.sh" in build
    assert re.findall(r"^COPY (.*)$", final, re.M) == ["--from=build /rootfs /"]
    assert not re.search(r"^RUN ", final, re.M)
    assert re.search(rf"^USER {USER}:{USER}$", final, re.M)
    assert re.search(r'^HEALTHCHECK .*--timeout=5s .*CMD \["/usr/bin/o3", "healthcheck"\]$', final, re.M)
    assert re.search(r'^ENTRYPOINT \["/usr/bin/o3"\]$', final, re.M) and re.search(r'^CMD \["serve"\]$', final, re.M)
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in final, label
    version = re.search(r"project\(o3-sidecar VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert f"ARG VERSION={version}\n" in final


def test_dockerfile_builds_for_every_architecture(dockerfile):
    for name in ("Dockerfile", "src/package/libcurl.sh", "src/package/assemble.sh"):
        text = (ROOT / name).read_text()
        assert not re.search(r"x86_64|amd64|aarch64|arm64", re.sub(r"#.*", "", text)), name


def test_dockerfile_installs_what_the_build_needs(dockerfile):
    installed = set(re.search(r"apt-get install (.*)$", dockerfile, re.M)[1].split())
    listed = re.search(r"build_packages\(\) \{\s*cat <<'LIST'\n(.*?)\nLIST", (ROOT / "dev").read_text(), re.S)[1]
    assert {line.split()[0] for line in listed.splitlines()} <= installed
    wanted = re.search(r'^packages="(.*)"$', (PACKAGE / "libcurl.sh").read_text(), re.M)[1].split()
    assert set(wanted) - {"dpkg-dev", "make", "gcc", "libc6-dev"} <= installed  # these come with build-essential


def test_build_context_is_what_the_build_reads():
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    allowed = {r[1:] for r in rules if r.startswith("!")}
    assert "*" in rules and all((ROOT / a).exists() for a in allowed)
    cmake = (ROOT / "CMakeLists.txt").read_text()
    assert {"CMakeLists.txt", "CMakePresets.json", "include", "src"} <= allowed
    for name in ("LICENSE", "README.md", "CHANGELOG.md"):
        assert name in allowed or name not in cmake
