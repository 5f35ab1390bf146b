# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: every panel of the dashboards in its place, drawn from a Prometheus that scraped the induced troubles.

    sheet.py OUT.png        (./dev boards calls it; needs chromium, Prometheus, and the packages of tests/boards/requirements.txt)
"""

import pathlib
import subprocess
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent), str(pathlib.Path(__file__).resolve().parent)]

import draw
import expand
from induced import MODEL, induced

COLUMN, UNIT, GAP, MARGIN, HEAD = 29, 21, 3, 14, 62
WIDTH = 24 * COLUMN
STEP_S = 1
NOTE = ("Drawn by tests/boards/sheet.py from the dashboards' JSON and a real Prometheus that scraped real sidecars beside simulated "
        "servers: a slow-down and another context, a lost GPU and an outage, and one without trouble. This is not Grafana's own renderer.")


class Answers:
    """Asks Prometheus what a panel asks."""

    def __init__(self, world):
        self.world = world
        self.values = {}
        self.start, self.end = round(world.start), round(world.end)
        self.instances = world.instances

    def series(self, expression, is_instant=False):
        filled = expand.fill(expression, self.end - self.start, self.values)
        if is_instant:
            reply = self.world.prometheus.get("query", query=filled, time=self.end)
        else:
            reply = self.world.prometheus.get("query_range", query=filled, start=self.start, end=self.end, step=STEP_S)
        assert reply["status"] == "success", reply
        return [(r["metric"], [(float(t), float(v)) for t, v in ([r["value"]] if is_instant else r["values"])]) for r in reply["data"]["result"]]

    def panel(self, panel):
        found = []
        for target in panel["targets"]:
            series = self.series(target["expr"], target.get("instant", False))
            found.append((target["refId"], [(self.name(target["legendFormat"], labels), points, self.short(labels)) for labels, points in series]))
        return found

    def short(self, labels):
        """Ports that differ from run to run have no place in a picture."""
        return {k: (f"ollama-{self.instances.index(v)}" if v in self.instances else "guarded") if k == "instance" else v for k, v in labels.items() if k != "__name__"}

    def name(self, legend, labels):
        words = legend if legend != "__auto" else " ".join(str(v) for k, v in self.short(labels).items() if k != "job") or "value"
        for k, v in self.short(labels).items():
            words = words.replace(f"{{{{{k}}}}}", v)
        return " ".join(words.split())

    def marks(self, board):
        """[(time, colour)] of the annotations that are shown by default and are moments."""
        found = set()
        for a in expand.prometheus_annotations(board):
            if not a["enable"]:
                continue
            for _, points in self.series(a["target"]["expr"]):
                if a["useValueForTime"]:
                    found |= {(round(v / 1000), a["iconColor"]) for _, v in points}
                    continue
                begun = [t for i, (t, v) in enumerate(points) if v > 0 and (i == 0 or points[i - 1][1] <= 0 or t - points[i - 1][0] > 2.5)]
                found |= {(t, a["iconColor"]) for t in begun}
        return sorted(found)


def flat(board):
    """Panels with their place when every row is open."""
    shift = 0
    for panel in board["panels"]:
        yield panel, shift
        if panel["type"] == "row" and panel["collapsed"]:
            for inner in panel["panels"]:
                yield inner, shift
            shift += max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panel["panels"]) - panel["gridPos"]["y"] - 1


def board_svg(board, answers):
    """(SVG, height)"""
    marks, span, out, bottom = answers.marks(board), (answers.start, answers.end), [], 0
    out.append(draw.text(2, 20, board["title"], 17, weight="bold") + draw.text(2, 36, board["description"], 9, "#6b7280"))
    for panel, shift in flat(board):
        g = panel["gridPos"]
        x, y = g["x"] * COLUMN, HEAD - 18 + (g["y"] + shift) * UNIT
        if panel["type"] == "row":
            title = panel["title"].replace("$model", MODEL)
            out.append(draw.text(2, y + 15, title, 11, weight="bold"))
            continue
        w, h = g["w"] * COLUMN - GAP, g["h"] * UNIT - GAP
        out.append(f'<g transform="translate({x} {y})">{draw.panel_svg(panel, answers.panel(panel), w, h, span, marks)}</g>')
        bottom = max(bottom, y + h)
    return "".join(out), bottom


def page(world):
    answers = Answers(world)
    columns, height = [], 0
    boards = [expand.load(name) for name in expand.FILES]
    # The row about the sidecar is the same on two of them: once is enough.
    boards[2]["panels"] = [p for p in boards[2]["panels"] if not p.get("collapsed")]
    for i, board in enumerate(boards):
        answers.values = {"instance": answers.instances[0]} if board["uid"] == "o3-model" else {}
        svg, bottom = board_svg(board, answers)
        columns.append(f'<g transform="translate({MARGIN + i * (WIDTH + 2 * MARGIN)} {MARGIN})">{svg}</g>')
        height = max(height, bottom)
    wide, high = len(boards) * (WIDTH + 2 * MARGIN), int(height + 2 * MARGIN + 20)
    note = draw.text(MARGIN, high - 10, NOTE, 11, "#4a5160")
    return (f'<!doctype html><meta charset="utf-8"><style>body{{margin:0;background:#f2f4f7}}svg{{font-family:"DejaVu Sans",sans-serif}}</style>'
            f'<svg width="{wide}" height="{high}" xmlns="http://www.w3.org/2000/svg">{"".join(columns)}{note}</svg>'), wide, high


def compress(path, out):
    from PIL import Image

    Image.open(path).convert("RGB").quantize(48, dither=Image.Dither.NONE).save(out, optimize=True)


def shoot(html, wide, high, out):
    with tempfile.TemporaryDirectory() as folder:
        source, raw = pathlib.Path(folder, "sheet.html"), pathlib.Path(folder, "sheet.png")
        source.write_text(html)
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile",
                        f"--window-size={wide},{high}", f"--screenshot={raw}", source.as_uri()], check=True, capture_output=True, timeout=120)
        compress(raw, out)


def main():
    out = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, induced(pathlib.Path(folder)) as world:
        shoot(*page(world), out)
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
