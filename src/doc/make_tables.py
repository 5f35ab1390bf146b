# SPDX-License-Identifier: Apache-2.0
"""The reference pages, made from what the program says about itself: `./dev docs` writes them, tests/tables compares.

    make_tables.py O3_BINARY [--check]
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SPDX = "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
MADE = "Made by `./dev docs` from `o3 tables --json`; change the tables in `include/o3/tables`, not this page.\n"


def table(header, rows):
    escape = lambda cell: str(cell).replace("|", "\\|")
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(escape(c) for c in line) + " |\n" for line in lines)


def code(text):
    return f"`{text}`" if text not in ("", None) else ""


def configuration(tables):
    rows = []
    for r in tables["config"]:
        limits = ""
        if r["choices"]:
            limits = ", ".join(code(c) for c in r["choices"].split("|")) if r["type"] == "enum" else r["choices"]
        elif r["min"] or r["max"]:
            limits = f"{r['min']} to {r['max']}"
        remarks = [] if r["used"] else ["not used by this version"]
        remarks += [] if r["live"] else ["needs a restart"]
        rows.append([code(r["key"]), r["type"], code(r["default"]), limits, r["help"] + (f" ({', '.join(remarks)})" if remarks else "")])
    return (SPDX + "# Configuration\n\n" + MADE + "\nEach key is also an environment variable, `O3_` and the key in capitals with `_` for `.`, and a flag,\n"
            "`--` and the key. Precedence: built-in < file < environment < flag. Durations: `90s`, `1h30m`, `250ms`, `2d`.\n\n"
            + table(["key", "type", "default", "allowed", "meaning"], rows))


def metrics(tables):
    rows = [[code(m["name"]), m["kind"], ", ".join(code(l) for l in m["labels"]), m["help"] + (" (not filled by this version)" if m["later"] else "")]
            for m in tables["metrics"]]
    closed = [[code(l["label"]), code(l["metric"]) if l.get("metric") else "any", ", ".join(code(v) for v in l["values"])] for l in tables["labels"]]
    return (SPDX + "# Metrics\n\n" + MADE + "\n" + table(["name", "kind", "labels", "meaning"], rows)
            + "\n## Labels with a closed set of values\n\n" + table(["label", "metric", "values"], closed))


def events(tables):
    rows = [[code(e["name"]), e["level"], ", ".join(code(f) for f in e["fields"]), e["text"]] for e in tables["events"]]
    errors = [[code(e["name"]), e["exit_status"], e["meaning"]] for e in tables["errors"]]
    return (SPDX + "# Events and errors\n\n" + MADE + "\nOne line of the log is one event; `event=` is a stable name.\n\n"
            + table(["event", "level", "fields", "meaning"], rows) + "\n## Errors\n\n" + table(["error", "exit status", "meaning"], errors))


def pages(binary):
    """{file name: text}"""
    run = lambda *args: subprocess.run([binary, *args], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}, cwd="/").stdout
    tables = json.loads(run("tables", "--json"))
    example = "# SPDX-License-Identifier: Apache-2.0\n# Every key with its default. Made by `./dev docs` from `o3 config dump`.\n" + run("config", "dump")
    return {"configuration.md": configuration(tables), "metrics.md": metrics(tables), "events.md": events(tables), "o3.yaml": example}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    stale = []
    for name, text in pages(sys.argv[1]).items():
        path = HERE / name
        if "--check" in sys.argv:
            stale += [name] if not path.exists() or path.read_text() != text else []
        else:
            path.write_text(text)
    if stale:
        sys.exit(f"not as the program says; run ./dev docs: {' '.join(stale)}")


if __name__ == "__main__":
    main()
