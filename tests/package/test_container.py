# SPDX-License-Identifier: Apache-2.0
"""The image built from the Dockerfile by a container engine, and unpacked. What an engine pulls elsewhere (the base image)
is made here by debootstrap, once, where it cannot be pulled."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

import harness
from harness import ROOT
from package.image_root import USER, assemble

BASE = "localhost/o3-debian-base"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "o3-sidecar" / "images"
RELEASE_OF_DEBIAN = "bookworm"

pytestmark = pytest.mark.timeout(840)


class Buildah:
    def __init__(self, folder, driver):
        self.folder, self.driver = folder / driver, driver
        self.folder.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, **harness.PROXIES, "BUILDAH_ISOLATION": "chroot", "BUILDAH_FORMAT": "docker"}

    def __call__(self, *argv, check=True):
        storage = ["--storage-driver", self.driver, "--root", self.folder / "store", "--runroot", self.folder / "run"]
        done = subprocess.run(["buildah", *storage, *map(str, argv)], capture_output=True, text=True, env=self.env, cwd=ROOT)
        assert not check or done.returncode == 0, (argv, done.stdout[-3000:], done.stderr[-3000:])
        return done


def make_base(buildah, tmp_path):
    """debian:bookworm-slim from wherever the engine finds it, else made of the same packages."""
    if buildah("inspect", "--type", "image", BASE, check=False).returncode == 0:
        return BASE
    slim = f"debian:{RELEASE_OF_DEBIAN}-slim"
    pulled = buildah("pull", "-q", slim, check=False)
    if pulled.returncode == 0:
        return slim
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        pytest.skip(f"the base image cannot be pulled ({pulled.stderr.strip()[-160:]}), and it takes debootstrap and root to make it")
    tree = tmp_path / "base"
    done = subprocess.run(["debootstrap", "--variant=minbase", RELEASE_OF_DEBIAN, tree], capture_output=True, text=True, env=buildah.env)
    assert done.returncode == 0, done.stdout[-2000:]
    for path in pathlib.Path("/etc/apt/sources.list.d").glob("debian*.sources"):
        shutil.copy(path, tree / "etc/apt/sources.list.d")
        (tree / "etc/apt/sources.list").unlink(missing_ok=True)
    container = buildah("from", "scratch").stdout.strip()
    buildah("add", "-q", container, tree, "/")
    buildah("commit", "-q", "--rm", container, BASE)
    return BASE


@pytest.fixture(scope="module")
def buildah():
    if not shutil.which("buildah"):
        pytest.skip("no container engine: buildah is not installed")
    for driver in ("overlay", "vfs"):
        tool = Buildah(CACHE, driver)
        container = tool("from", "scratch", check=False)
        mounted = tool("mount", container.stdout.strip(), check=False)
        if container.returncode == 0:
            tool("rm", container.stdout.strip())
        if mounted.returncode == 0:
            return tool
    pytest.skip(f"buildah cannot work here: {(container.stderr or mounted.stderr).strip()[-160:]}")


@pytest.fixture(scope="module")
def image(buildah, tmp_path_factory):
    base = make_base(buildah, tmp_path_factory.mktemp("base"))
    name = f"localhost/o3-sidecar-test-{os.getpid()}"
    buildah("build", "--build-arg", f"BASE={base}", "--build-arg", "REVISION=0123abcd", "-t", name, ".")
    yield name
    buildah("rmi", "-f", name)


@pytest.fixture(scope="module")
def unpacked(buildah, image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked") / "root"
    container = buildah("from", "--pull-never", image).stdout.strip()
    mount = buildah("mount", container).stdout.strip()
    subprocess.run(["cp", "-a", mount, folder], check=True)
    yield folder, container
    buildah("rm", container)


def test_what_the_image_tells_the_engine(buildah, image):
    config = json.loads(buildah("inspect", "--type", "image", image).stdout)["Docker"]["config"]
    assert config["User"] == f"{USER}:{USER}" and config["Entrypoint"] == ["/usr/bin/o3"] and config["Cmd"] == ["serve"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/o3", "healthcheck"]
    assert config["Volumes"] == {"/var/lib/o3": {}} and "STATE_DIRECTORY=/var/lib/o3" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.revision"] == "0123abcd"


def test_its_files_are_those_of_the_script(unpacked, tmp_path):
    root, _ = unpacked
    ours = assemble(tmp_path / "root")
    listed = lambda folder: {(str(p.relative_to(folder)), p.lstat().st_mode, p.lstat().st_uid) for p in folder.rglob("*")}
    assert listed(root) == listed(ours)
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    print(f"measured: the image, built by buildah and unpacked, {size / 1e6:.2f} MB")
    assert size <= 15_000_000


def test_the_engine_runs_it(buildah, unpacked):
    done = buildah("run", unpacked[1], "--", "/usr/bin/o3", "version")
    assert done.stdout.startswith("o3 ") and "0123abcd" in done.stdout, done
