# SPDX-License-Identifier: Apache-2.0
"""The Debian package: built by CPack, unpacked, and its program run; the user that it makes; lintian."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness
from harness import FAST, ROOT, wait_for
from package.image_root import run

# What a package outside Debian's archive cannot keep: no bug of Debian asked for it, and the address is nobody's.
LINTIAN_KNOWN = {"bogus-mail-host", "bogus-mail-host-in-debian-changelog", "initial-upload-closes-no-bugs"}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deb")
    run("cpack", "-G", "DEB", "--config", ROOT / "build/release/CPackConfig.cmake", "-B", folder)
    found = list(folder.glob("*.deb"))
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked") / "root"
    run("dpkg", "-x", package, folder)
    return folder


def field(package, name):
    return run("dpkg-deb", "-f", package, name).strip()


def test_what_it_says_of_itself(package):
    version = re.search(r"project\(o3-sidecar VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    architecture = run("dpkg", "--print-architecture").strip()
    assert package.name == f"o3-sidecar_{version}-1_{architecture}.deb"
    assert field(package, "Package") == "o3-sidecar" and field(package, "Version") == f"{version}-1"
    assert f"o3-sidecar ({version}-1)" in (ROOT / "src/package/debian/changelog").read_text()
    assert int(field(package, "Installed-Size")) < 4096


def test_it_depends_on_what_the_program_links(package, unpacked):
    depends = {d.split(" ")[0] for d in re.split(r"[,|] *", field(package, "Depends"))}
    text = run("readelf", "-d", unpacked / "usr/bin/o3")
    for library in re.findall(r"\(NEEDED\).*\[(.+)\]", text):
        path = re.search(rf"{re.escape(library)} => (\S+)", run("ldd", unpacked / "usr/bin/o3"))[1]
        owners = [line.split(":")[0] for p in (path, path.removeprefix("/usr"), "/usr" + path)
                  for line in subprocess.run(["dpkg", "-S", p], capture_output=True, text=True).stdout.splitlines()]
        assert depends & set(owners), (library, owners, depends)


def test_all_files_are_where_their_readers_look(unpacked):
    there = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    assert {"usr/bin/o3", "usr/share/man/man1/o3.1.gz", "usr/share/man/man5/o3.yaml.5.gz", "usr/lib/systemd/system/o3-sidecar.service",
            "usr/lib/sysusers.d/o3-sidecar.conf", "usr/share/bash-completion/completions/o3", "usr/share/zsh/vendor-completions/_o3",
            "usr/share/fish/vendor_completions.d/o3.fish", "usr/share/doc/o3-sidecar/copyright", "usr/share/doc/o3-sidecar/o3.yaml",
            "usr/share/doc/o3-sidecar/README.md", "usr/share/doc/o3-sidecar/changelog.gz",
            "usr/share/doc/o3-sidecar/changelog.Debian.gz"} == there


def test_the_program_in_it_runs(unpacked, tmp_path, simulator):
    program = unpacked / "usr/bin/o3"
    assert "o3 " in run(program, "version")
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "o3.yaml"
    config.write_text(harness.yaml.safe_dump(harness.nest({"ollama.url": simulator.url, "web.listen": "127.0.0.1:0", **FAST})))
    serve = harness.Process([program, "serve", "--config.file", config], tmp_path, "serve", env={"STATE_DIRECTORY": str(state)})
    try:
        serve.wait_log(r"event=started\b")
        wait_for("a measurement", lambda: list((state / "o3_results/logs").glob("*.jsonl")))
        assert serve.stop() == 0
    finally:
        serve.close()


def test_man_finds_the_pages(unpacked):
    if not shutil.which("man"):
        pytest.skip("man is not installed")
    env = {**os.environ, "MANPATH": str(unpacked / "usr/share/man")}
    for page, section in (("o3", "1"), ("o3.yaml", "5")):
        done = subprocess.run(["man", "-w", section, page], capture_output=True, text=True, env=env)
        assert pathlib.Path(done.stdout.strip()).is_relative_to(unpacked), done


def test_it_makes_its_user(unpacked, tmp_path):
    if not shutil.which("systemd-sysusers"):
        pytest.skip("systemd-sysusers is not installed")
    if os.geteuid() != 0:
        pytest.skip("not root, who alone may make users, also in a folder")
    root = tmp_path / "root"
    shutil.copytree(unpacked, root)
    (root / "etc").mkdir()
    done = subprocess.run(["systemd-sysusers", f"--root={root}", "o3-sidecar.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done
    assert re.search(r"^o3:x:\d+:\d+:O3 Sidecar:/var/lib/o3:", (root / "etc/passwd").read_text(), re.M)


COPY = """
set -e
mount -t tmpfs -o mode=755 o3-test "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" o3-test "$0/root"
mount --rbind /proc "$0/root/proc"
mount --rbind /dev "$0/root/dev"
cp "$1" "$0/root/package.deb"
exec chroot "$0/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive sh -e -c "$2"
"""
LIFE = """
rm -rf /run/systemd/system  # as in a container: there is nothing to be told
dpkg -i /package.deb
o3 version
getent passwd o3
test "$(stat -c %U /usr/bin/o3)" = root
man -w 1 o3
test ! -e /etc/systemd/system/multi-user.target.wants/o3-sidecar.service
systemctl --root=/ enable o3-sidecar.service
mkdir /var/lib/o3
touch /var/lib/o3/kept
dpkg -i /package.deb  # an upgrade
test -L /etc/systemd/system/multi-user.target.wants/o3-sidecar.service
dpkg -r o3-sidecar
test ! -e /usr/bin/o3
test -e /var/lib/o3/kept
dpkg -P o3-sidecar
test ! -e /var/lib/o3
test ! -L /etc/systemd/system/multi-user.target.wants/o3-sidecar.service
if dpkg -s o3-sidecar; then exit 1; fi
find /etc /usr /var /run -xdev -newer /package.deb -name '*o3*' | sed 's/^/left: /'
echo all of it was done
"""


def test_it_is_installed_upgraded_removed_and_purged(package, tmp_path):
    """On a copy on write of this machine, which is gone afterwards."""
    for tool in ("systemctl", "systemd-sysusers"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    where = tmp_path / "copy"
    where.mkdir()
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "sh", "-c", COPY, where, package, "true"], capture_output=True).returncode != 0:
        pytest.skip("no overlay may be mounted here, to install a package into")
    done = subprocess.run(["unshare", "-m", "sh", "-c", COPY, where, package, LIFE], capture_output=True, text=True)
    assert done.returncode == 0 and "all of it was done" in done.stdout, done.stdout + done.stderr
    # The account stays, which may own files elsewhere.
    assert "left: " not in done.stdout, done.stdout


def test_maintainer_scripts_are_shell():
    for name in ("postinst", "prerm", "postrm"):
        path = ROOT / "src/package/debian" / name
        assert os.access(path, os.X_OK)
        done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_lintian(package):
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed")
    done = subprocess.run(["lintian", package], capture_output=True, text=True)
    said = re.findall(r"^[EW]: o3-sidecar: (\S+)(.*)$", done.stdout, re.M)
    assert {tag for tag, _ in said} <= LINTIAN_KNOWN, done.stdout


def test_the_same_tree_gives_the_same_files(package, unpacked, tmp_path):
    run("cpack", "-G", "DEB", "--config", ROOT / "build/release/CPackConfig.cmake", "-B", tmp_path)
    again = tmp_path / "root"
    run("dpkg", "-x", next(tmp_path.glob("*.deb")), again)
    assert not subprocess.run(["diff", "-r", unpacked, again], capture_output=True, text=True).stdout
