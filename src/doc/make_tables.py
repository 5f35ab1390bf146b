# SPDX-License-Identifier: Apache-2.0
"""The reference pages, made from what the program says about itself, and the rehearsal in the README: `./dev docs` writes
them, tests/tables compares.

    make_tables.py O3_BINARY [--check]
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PAGES = {
    "configuration.md": (["config"], """# Configuration

Precedence: built-in < file (YAML) < environment < flag (`--` and the key). Durations: `90s`, `1h30m`, `250ms`, `2d`. The whole
file with its defaults: [o3.yaml](o3.yaml).
"""),
    "metrics.md": (["metrics"], """# Metrics

Base units; `_total` on counters alone; a label whose values are listed has no others. Last values of a model disappear some
intervals after it is no longer probed.
"""),
    "events.md": (["events", "errors"], """# Events and errors

One line of the log is one event, and `event=` is a stable name with the fields that must be present. Below: the errors and the exit
status of a command that ends with them.
"""),
}
MADE = "\nMade by `./dev docs` from `o3 tables`; change the tables in `include/o3/tables`, not this page.\n"


def pages(binary):
    """{file name: text}"""

    def run(*args):
        return subprocess.run([binary, *args], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}, cwd="/").stdout

    made = {}
    for name, (tables, introduction) in PAGES.items():
        text = "<!-- SPDX-License-Identifier: Apache-2.0 -->\n" + introduction + MADE
        made[name] = text + "".join("\n" + run("tables", "--markdown", table) for table in tables)
    made["o3.yaml"] = run("config", "example")
    return made


def readme(binary):
    """The README with the report of the scenario that stands in it."""
    text = (HERE.parents[1] / "README.md").read_text()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "gpu-lost.o3s"
        path.write_text(re.search(r"```\n(world .*?)```", text, re.S)[1])
        report = subprocess.run([binary, "simulate", "--scenario", path.name], capture_output=True, text=True, check=True,
                                env={"LC_ALL": "C"}, cwd=folder).stdout
    begin, end = "<!-- simulate: begin -->\n", "<!-- simulate: end -->"
    before, rest = text.split(begin)
    return before + begin + "```\n" + report.rstrip("\n") + "\n```\n" + end + rest.split(end)[1]


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
    page = HERE.parents[1] / "README.md"
    if "--check" not in sys.argv:
        page.write_text(readme(sys.argv[1]))
    elif page.read_text() != readme(sys.argv[1]):
        stale.append("README.md")
    if stale:
        sys.exit(f"not as the program says; run ./dev docs: {' '.join(stale)}")


if __name__ == "__main__":
    main()
