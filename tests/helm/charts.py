# SPDX-License-Identifier: Apache-2.0
"""Rendering with both majors of helm, and what the test files share."""

import copy
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/o3-sidecar"
EXAMPLES = ROOT / "helm/examples"
# A stand-in for the Ollama chart of otwld; O3_TEST_OLLAMA_CHART names the folder or package of the real one.
OLLAMA_CHART = pathlib.Path(os.environ.get("O3_TEST_OLLAMA_CHART") or pathlib.Path(__file__).parent / "ollama-chart")
FIXTURE = pathlib.Path(__file__).parent / "fixture"
TOOLS = pathlib.Path(os.environ.get("O3_TEST_CHARTS") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "o3/charts"))
HELMS = (3, 4)


def helm(*args, major=4, values=None, check=True, cwd=None):
    """The finished process; values go in through stdin, as a file would. Nothing of the caller's helm or cluster is seen."""
    argv = [str(TOOLS / f"helm-{major}" / "helm"), *map(str, args)]
    if values is not None:
        argv += ["-f", "-"]
    with tempfile.TemporaryDirectory(prefix="o3-helm-") as home:
        env = {"HOME": home, "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"}
        done = subprocess.run(argv, input=None if values is None else yaml.safe_dump(values), capture_output=True, text=True, env=env,
                              cwd=cwd, timeout=120)
    assert not check or done.returncode == 0, f"{' '.join(argv)}\n{json.dumps(values)}\n{done.stderr}"
    return done


def objects_of(text):
    """{(kind, name): object}; two of one kind and name are a mistake."""
    made = {}
    for o in yaml.safe_load_all(text):
        if o:
            key = o["kind"], o["metadata"]["name"]
            assert key not in made, f"twice: {key}"
            made[key] = o
    return made


def render(values=None, *, name="o3", namespace="ollama", major=4, chart=CHART, args=()):
    done = helm("template", name, chart, "--namespace", namespace, *args, major=major, values=values or {})
    return objects_of(done.stdout)


def same_on_both(values=None, **more):
    """What both majors render, which must be the same."""
    first, second = (render(values, major=major, **more) for major in HELMS)
    assert first == second
    return first


def refused(values, major=4, chart=CHART):
    done = helm("template", "o3", chart, major=major, values=values, check=False)
    assert done.returncode != 0, f"rendered: {json.dumps(values)}"
    return done.stderr


def kinds(objects):
    return sorted(kind for kind, _ in objects)


def only(objects, kind):
    (found,) = [o for (k, _), o in objects.items() if k == kind]
    return found


def pod_specs(objects):
    for (kind, name), o in objects.items():
        if kind == "Pod":
            yield name, o["spec"]
        elif kind in ("Deployment", "StatefulSet", "DaemonSet"):
            yield name, o["spec"]["template"]["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def sidecar(objects):
    """Our container, wherever it stands."""
    (found,) = [c for name, spec in pod_specs(objects) for c in containers(spec) if c["name"] == "o3"]
    return found


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def paths(tree, above=()):
    """Every key of a tree of maps, as a tuple."""
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def tree(path, value):
    return {path[0]: value if len(path) == 1 else tree(path[1:], value)}


def merged(*trees):
    result = {}
    for t in trees:
        for key, value in copy.deepcopy(t).items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def ci_values():
    return {path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) for path in sorted((CHART / "ci").glob("*-values.yaml"))}


def with_fixture(folder):
    """A copy of the chart with the rules and dashboard of fixture/."""
    shutil.copytree(CHART, folder, ignore=shutil.ignore_patterns("files"))
    shutil.copytree(FIXTURE, folder / "files")
    shutil.copy(CHART / "values.yaml", folder / "files/values.yaml")
    return folder
