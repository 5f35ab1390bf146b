# SPDX-License-Identifier: Apache-2.0
"""What of the Helm chart is made and not written: the table of values in its README, from the comments in values.yaml; the schema of
the value `config`, from the program's table of keys, and the descriptions in it; and the values by which an Ollama chart takes the sidecar in, from the chart's
own templates. `./dev docs` writes them, tests/helm compares.

    make_chart.py O3_BINARY HELM_BINARY
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/o3-sidecar"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->"

DURATION = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$"


def described_values():
    """[(dotted key, comment, default)] of the keys with a comment that begins with --, in the file's order."""
    text = (CHART / "values.yaml").read_text()
    values, rows, path, comment = yaml.safe_load(text), [], [], None
    for line in text.splitlines():
        if found := re.match(r" *# -- (.*)", line):
            comment = found[1]
        elif comment is not None and (found := re.match(r" *# (.*)", line)):
            comment += " " + found[1]
        elif found := re.match(r"( *)(\w[\w.]*):", line):
            depth = len(found[1]) // 2
            path = path[:depth] + [found[2]]
            if comment is not None:
                node = values
                for key in path:
                    node = node[key]
                rows.append((".".join(path), comment, node))
            comment = None
    return rows


def readme():
    """The chart's README with its table of values."""
    rows = [f"| `{key}` | {comment.replace('|', chr(92) + '|')} | `{json.dumps(value)}` |" for key, comment, value in described_values()]
    table = "| value | meaning | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    before, rest = (CHART / "README.md").read_text().split(BEGIN)
    return before + BEGIN + table + END + rest.split(END)[1]


def schema_of(row):
    kind, number = row["type"], {"minimum": row["min"], "maximum": row["max"]}
    limits = {name: float(text) if "." in text else int(text) for name, text in number.items() if re.fullmatch(r"-?[0-9.]+", text)}
    schema = {
        "int": {"type": "integer", **limits},
        "number": {"type": "number", **limits},
        "numbers": {"type": "array", "items": {"type": "number", **limits}},
        "bool": {"type": "boolean"},
        "enum": {"enum": row["choices"].split("|")},
        "duration": {"type": "string", "pattern": DURATION},
        "list": {"type": "array", "items": {"type": "string"}},
        "size_mb": {"anyOf": [{"type": "integer", **limits}, {"enum": ["auto"]}]},
    }.get(kind, {"type": "string"})
    return {"description": row["help"], **schema}


def describe_values(whole):
    """The comments of values.yaml, for editors that show them."""
    for key, comment, _ in described_values():
        node = whole
        for part in key.split("."):
            node = node["properties"][part]
            if "$ref" in node:
                node = whole["definitions"][node["$ref"].split("/")[-1]]
        node["description"] = comment


def schema(binary):
    """The chart's schema with that of the program's configuration and the descriptions of the values."""
    tables = json.loads(subprocess.run([binary, "tables", "--json"], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout)
    config = {"type": "object", "additionalProperties": False, "properties": {}}
    for row in tables["config"]:
        node, (*path, last) = config, row["key"].split(".")
        for key in path:
            node = node["properties"].setdefault(key, {"type": "object", "additionalProperties": False, "properties": {}})
        node["properties"][last] = schema_of(row)
    whole = json.loads((CHART / "values.schema.json").read_text())
    whole["definitions"]["config"] = config
    describe_values(whole)
    return json.dumps(whole, indent=2) + "\n"


class Dumper(yaml.SafeDumper):
    """Keys in their order, lists indented, text of several lines as a block."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


Dumper.add_representer(str, lambda d, s: d.represent_scalar("tag:yaml.org,2002:str", s, style="|" if "\n" in s else None))

OTWLD_HEAD = """# SPDX-License-Identifier: Apache-2.0
# The sidecar in the pods of the Ollama chart of otwld, with all it needs, from that chart's values alone:
#   helm upgrade --install ollama otwld/ollama -f otwld-values.yaml
# Put the registry that you pushed the image to before its name, or Ollama's pods cannot start.
# That chart evaluates the expressions. Leave out the PodMonitor where there is no Prometheus operator.
# Made by ./dev docs from the chart o3-sidecar in mode attach; change that chart, not this file.
"""
# Stands for an expression that is no name of an object, until all is rendered.
NAMESPACE = "the-namespace-of-the-release"
OTWLD_SOURCE = {
    "mode": "attach",
    "fullnameOverride": "o3",
    "attach": {
        "serviceAccountName": '{{ include "ollama.serviceAccountName" . }}',
        "podSelector": {"app.kubernetes.io/name": '{{ include "ollama.name" . }}', "app.kubernetes.io/instance": "{{ .Release.Name }}"},
    },
    "service": {"enabled": False},
    "podMonitor": {"enabled": True},
}


def ollama_chart_values(helm):
    """What an Ollama chart needs to take the sidecar in: the container and volumes of mode attach, and its objects."""
    argv = [helm, "template", "o3", str(CHART), "-f", "-", "--namespace", NAMESPACE]
    text = subprocess.run(argv, input=json.dumps(OTWLD_SOURCE), capture_output=True, text=True, check=True).stdout
    objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}
    values = yaml.safe_load(objects.pop(("ConfigMap", "o3-attach"))["data"]["values.yaml"])
    kinds = ("ConfigMap", "Role", "RoleBinding", "PodMonitor")
    values["extraObjects"] = []
    for (kind, _), made in sorted(objects.items(), key=lambda item: kinds.index(item[0][0])):
        del made["metadata"]["namespace"]
        # Theirs are of a release of the chart o3-sidecar; here the objects belong to the Ollama chart's.
        made["metadata"]["labels"] = {"app.kubernetes.io/part-of": "o3-sidecar"}
        values["extraObjects"].append(made)
    text = yaml.dump(values, Dumper=Dumper, sort_keys=False, width=200)
    return OTWLD_HEAD + text.replace(NAMESPACE, "'{{ .Release.Namespace }}'")


def files(binary, helm):
    """{path: text}"""
    return {
        CHART / "README.md": readme(),
        CHART / "values.schema.json": schema(binary),
        ROOT / "helm/examples/otwld-values.yaml": ollama_chart_values(helm),
    }


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for path, text in files(*sys.argv[1:]).items():
        path.write_text(text)


if __name__ == "__main__":
    main()
