# SPDX-License-Identifier: Apache-2.0
"""The files of the container image, assembled by the script that the Dockerfile runs, and programs that run with nothing
else: chroot in a mount namespace of its own, read-only root, the image's user."""

import os
import shutil
import subprocess

import harness
from harness import ROOT

USER = 65532
PACKAGE = ROOT / "src/package"
RELEASE = ROOT / "build/release/o3"
LIBCURL = ROOT / "build/libcurl"


def run(*argv, **more):
    """A command that must succeed; its standard output."""
    env = {**os.environ, **harness.PROXIES, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, env=env, **more)
    assert done.returncode == 0, (argv, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout


def assemble(root):
    run(PACKAGE / "libcurl.sh", LIBCURL)
    run(PACKAGE / "assemble.sh", RELEASE, LIBCURL, root)
    return root


SCRIPT = """
set -e
mount --bind "$0" "$0"
mount --rbind /proc "$0/proc"
mount --bind "$1" "$0/var/lib/o3"
mount -o remount,bind,ro "$0"
root=$0 user=$2
shift 3
exec env -i STATE_DIRECTORY=/var/lib/o3 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $user "$root" "$@"
"""


def jail(root, state):
    """A prefix for argv (of programs inside the root); None where this machine allows no mount namespace."""
    state.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(state, USER, USER)
        unshare, user = ["unshare", "-m"], f"--userspec={USER}:{USER}"
    else:
        unshare, user = ["unshare", "-rm"], "--userspec=0:0"
    trial = [*unshare, "sh", "-c", 'mount --bind "$0" "$0" && mount --rbind /proc "$0/proc"', str(root)]
    if not shutil.which("unshare") or subprocess.run(trial, capture_output=True).returncode != 0:
        return None
    return [*unshare, "sh", "-c", SCRIPT, str(root), str(state), user, "--"]


def status_kib(pid, field):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(field)
