# SPDX-License-Identifier: Apache-2.0
"""Panels of a dashboard as SVG, from the answers of a Prometheus. Not Grafana's renderer: it knows the few kinds and options that ours use."""

import html
import math

COLORS = {"green": "#56a64b", "yellow": "#d9a514", "orange": "#e0752d", "red": "#d33c43", "dark-red": "#a3242b", "blue": "#3f7fd9",
          "super-light-blue": "#8ab8ff", "purple": "#8f5bc7", "text": "#4a5160", "transparent": "#e4e7ec"}
PALETTE = ("#3f7fd9", "#e0752d", "#56a64b", "#8f5bc7", "#d9a514", "#d33c43", "#2a9d9d", "#b0578d", "#6b7280", "#9a7b4f")
INK, FAINT, PAPER = "#20242c", "#c9ced6", "#ffffff"
MISSING = "&#8211;"


def text(x, y, words, size=9, color=INK, anchor="start", weight="normal"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}">{words}</text>'


def clip(words, width, size=9):
    most = max(3, int(width / (size * 0.56)))
    return html.escape(words if len(words) <= most else words[: most - 1] + "~")


def seconds(v):
    for limit, divisor, unit in ((1e-3, 1e-6, "us"), (1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(v) < limit:
            return f"{v / divisor:.3g} {unit}"
    return f"{v / 86400:.3g} d"


def formatted(v, unit):
    if v is None or math.isnan(v):
        return "-"
    if math.isinf(v):
        return "inf"
    if unit == "percentunit":
        return f"{100 * v:.3g} %"
    if unit == "s":
        return seconds(v)
    if unit == "bytes":
        power = min(4, int(math.log(abs(v), 1024))) if abs(v) >= 1 else 0
        return f"{v / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
    if unit == "dateTimeAsIso":
        import time

        return time.strftime("%H:%M:%S", time.gmtime(v / 1000))
    suffix = {"cps": " /s", "reqps": " req/s"}.get(unit, unit.removeprefix("suffix:").rstrip() if unit.startswith("suffix:") else "")
    number = f"{v / 1000:.0f}k" if abs(v) >= 1e5 else f"{v:.0f}" if abs(v) >= 1000 else f"{v:.3g}"
    return number + suffix


def threshold_color(v, thresholds):
    color = thresholds["steps"][0]["color"]
    for step in thresholds["steps"][1:]:
        if v is not None and v >= step["value"]:
            color = step["color"]
    return COLORS[color]


def mapped(v, mappings):
    """(words, colour) of a mapped value, or None."""
    for m in mappings or ():
        found = m["options"].get(f"{v:g}") if v is not None else None
        if found:
            return found["text"], COLORS[found["color"]]
    return None


def properties(field_config, name, ref):
    """The defaults with the overrides that fit; dots in ids are levels."""
    merged = {**field_config["defaults"], "custom": dict(field_config["defaults"].get("custom", {}))}
    for o in field_config["overrides"]:
        if o["matcher"]["options"] == (ref if o["matcher"]["id"] == "byFrameRefID" else name):
            for p in o["properties"]:
                if p["id"].startswith("custom."):
                    merged["custom"][p["id"].removeprefix("custom.")] = p["value"]
                else:
                    merged[p["id"]] = p["value"]
    return merged


def stat(panel, answers, w, h, top):
    values = [(name, points[-1][1]) for _, series in answers for name, points, _ in series]
    defaults = panel["fieldConfig"]["defaults"]
    out = []
    if not values:
        return text(w / 2, top + (h - top) / 2, defaults.get("noValue", "-"), 13, anchor="middle")
    step = (w - 6) / len(values)
    for i, (name, v) in enumerate(values):
        found = mapped(v, defaults.get("mappings"))
        words, color = found or (formatted(v, defaults["unit"]), threshold_color(v, defaults["thresholds"]))
        if panel["options"]["textMode"] == "name":
            words = name
        size = max(7, min(18, (step - 6) / max(1, len(words)) / 0.58))
        out.append(f'<rect x="{3 + i * step:.1f}" y="{top}" width="{step - 2:.1f}" height="{h - top - 4}" rx="3" fill="{color}"/>')
        out.append(text(3 + i * step + step / 2, top + (h - top) / 2 + size / 3, html.escape(words), size, PAPER, "middle", "bold"))
    return "".join(out)


def nice(low, high):
    """Three to five ticks."""
    span = high - low or 1
    step = 10 ** math.floor(math.log10(span / 3))
    step *= next(m for m in (1, 2, 5, 10, 20) if span / (step * m) <= 4.5)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, int(math.floor(high / step + 1e-9)) + 1)]


class Plot:
    """The axes of a time series."""

    def __init__(self, w, h, top, span, low, high, legend=14):
        self.left, self.right, self.top, self.bottom = 44, w - 6, top + 2, h - 12 - legend
        self.span, self.low, self.high = span, low, high if high > low else low + 1

    def x(self, t):
        return self.left + (t - self.span[0]) / (self.span[1] - self.span[0]) * (self.right - self.left)

    def y(self, v):
        return self.bottom - (v - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def axes(self, unit):
        out = []
        for tick in nice(self.low, self.high):
            y = self.y(tick)
            out.append(f'<line x1="{self.left}" x2="{self.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}" stroke-width="0.5"/>')
            out.append(text(self.left - 3, y + 3, formatted(tick + 0.0, unit), 7, "#6b7280", "end"))
        for i in range(5):
            t = self.span[0] + (self.span[1] - self.span[0]) * i / 4
            out.append(text(self.x(t), self.bottom + 9, f"{round(t - self.span[0])} s", 7, "#6b7280", "middle" if 0 < i < 4 else ("start", "end")[i > 0]))
        return "".join(out)


def runs(points, longest_s=2.5):
    """Pieces without a gap."""
    piece = []
    for t, v in points:
        if math.isnan(v):
            continue
        if piece and t - piece[-1][0] > longest_s:
            yield piece
            piece = []
        piece.append((t, v))
    if piece:
        yield piece


def line(plot, points, color, width=1.3, dash=""):
    return "".join(f'<polyline fill="none" stroke="{color}" stroke-width="{width}"{dash} points="'
                   + " ".join(f"{plot.x(t):.1f},{plot.y(v):.1f}" for t, v in piece) + '"/>' for piece in runs(points))


def area(plot, upper, lower, color, opacity):
    below = dict(lower)
    out = []
    for piece in runs([(t, v) for t, v in upper if t in below]):
        there = [f"{plot.x(t):.1f},{plot.y(v):.1f}" for t, v in piece]
        back = [f"{plot.x(t):.1f},{plot.y(below[t]):.1f}" for t, _ in reversed(piece)]
        out.append(f'<polygon fill="{color}" fill-opacity="{opacity}" points="{" ".join(there + back)}"/>')
    return "".join(out)


def stacked(drawn):
    """Each series on top of those before it."""
    base, out = {}, []
    for name, points, p in drawn:
        raised = [(t, v + base.get(t, 0)) for t, v in points if not math.isnan(v)]
        out.append((name, raised, p, [(t, base.get(t, 0)) for t, _ in raised]))
        base.update(raised)
    return out


def timeseries(panel, answers, w, h, top, span, marks=()):
    config = panel["fieldConfig"]
    drawn = [(name, points, properties(config, name, ref)) for ref, series in answers for name, points, _ in series]
    drawn = [d for d in drawn if d[2]["custom"].get("axisPlacement") != "right"]  # the sheet has one axis
    is_stacked = config["defaults"]["custom"]["stacking"]["mode"] == "normal"
    layers = stacked(drawn) if is_stacked else [(*d, None) for d in drawn]
    values = [v for _, points, _, _ in layers for _, v in points if math.isfinite(v)] or [0]
    low, high = min(values), max(values)
    margin = (high - low or abs(high) or 1) * 0.08
    low, high = (config["defaults"]["min"] if "min" in config["defaults"] else low - margin), high + margin
    plot = Plot(w, h, top, span, low, high)
    out = [plot.axes(config["defaults"]["unit"])]
    for t, color in marks:
        if span[0] <= t <= span[1]:
            out.append(f'<line x1="{plot.x(t):.1f}" x2="{plot.x(t):.1f}" y1="{plot.top}" y2="{plot.bottom}" stroke="{COLORS[color]}" '
                       'stroke-width="0.9" stroke-dasharray="2 2"/>')
    for step in config["defaults"]["thresholds"]["steps"][1:]:
        if low < step["value"] < high:
            y = plot.y(step["value"])
            out.append(f'<line x1="{plot.left}" x2="{plot.right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{COLORS[step["color"]]}" stroke-width="0.8"/>')
    by_name = {name: points for name, points, _ in drawn}
    legend_x = plot.left
    for i, (name, points, p, floor) in enumerate(layers):
        color = COLORS[p["color"]["fixedColor"]] if p["color"]["mode"] == "fixed" else PALETTE[i % len(PALETTE)]
        custom = p["custom"]
        if floor is not None:
            out.append(area(plot, points, floor, color, 0.35))
        if custom.get("fillBelowTo") in by_name:
            out.append(area(plot, points, by_name[custom["fillBelowTo"]], color, 0.22))
        elif custom["drawStyle"] == "points":
            out += [f'<circle cx="{plot.x(t):.1f}" cy="{plot.y(v):.1f}" r="1.5" fill="{color}"/>' for t, v in points if math.isfinite(v)]
        elif custom["lineWidth"]:
            out.append(line(plot, points, color, dash=' stroke-dasharray="5 4"' if "lineStyle" in custom else ""))
        if custom["lineWidth"] and legend_x < w - 40:
            shown = clip(name, w - legend_x - 12, 7)
            out.append(f'<rect x="{legend_x}" y="{h - 11}" width="6" height="6" fill="{color}"/>' + text(legend_x + 8, h - 5, shown, 7))
            legend_x += 16 + len(shown) * 4
    return "".join(out)


def timeline(panel, answers, w, h, top, span):
    series = [s for _, found in answers for s in found]
    defaults = panel["fieldConfig"]["defaults"]
    room = (h - top - 14) / max(1, len(series))
    plot = Plot(w, h, top, span, 0, 1)
    plot.left = min(230, w * 0.45)
    out = []
    for i, (name, points, _) in enumerate(series):
        y = top + i * room
        out.append(text(plot.left - 4, y + room / 2 + 2.5, clip(name, plot.left - 4, 7), min(7, room), anchor="end"))
        begun = 0
        for k in range(1, len(points) + 1):
            if k < len(points) and points[k][1] == points[begun][1] and points[k][0] - points[k - 1][0] < 2.5:
                continue
            words, color = mapped(points[begun][1], defaults.get("mappings")) or (
                formatted(points[begun][1], defaults["unit"]), PALETTE[int(points[begun][1] / 1024) % len(PALETTE)])
            x, end = plot.x(points[begun][0]), plot.x(points[k - 1][0]) + 2
            out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1, end - x):.1f}" height="{max(1, room - 1.5):.1f}" fill="{color}"/>')
            if end - x > 6 * len(words) and room > 7:
                out.append(text(x + 3, y + room / 2 + 2.5, words, min(7, room), PAPER if color != COLORS["transparent"] else INK))
            begun = k
    out.append(text(plot.left, h - 4, "0 s", 7, "#6b7280") + text(w - 6, h - 4, f"{round(span[1] - span[0])} s", 7, "#6b7280", "end"))
    return "".join(out)


def merged_rows(answers, n_targets):
    """Rows joined as Grafana's `merge` does: by the labels that all answers have; one joins every row that it does not contradict."""
    frames = [(ref, [(dict(labels), points[-1][1]) for _, points, labels in series]) for ref, series in answers if series]
    common = set.intersection(*(set(labels) for _, frame in frames for labels, _ in frame)) if frames else set()
    rows = []
    for ref, frame in frames:
        column = f"Value #{ref}" if n_targets > 1 else "Value"
        for labels, value in frame:
            row = {**labels, column: value}
            fitting = [r for r in rows if all(r[k] == row[k] for k in common) and all(r.get(k, v) == v for k, v in row.items())]
            for r in fitting:
                r.update(row)
            rows += [] if fitting else [row]
    return rows


def table(panel, answers, w, h, top):
    organize = next(t["options"] for t in panel["transformations"] if t["id"] == "organize")
    columns = [c for c in organize["indexByName"] if not organize["excludeByName"].get(c)]
    rows = merged_rows(answers, len(panel["targets"]))
    sort = panel["options"]["sortBy"]
    names = organize["renameByName"]
    if sort:
        key = next(c for c in columns if names[c] == sort[0]["displayName"])
        rows.sort(key=lambda r: -(r.get(key) or 0))
    weights = [max(len(names[c]), *(len(r[c]) if isinstance(r.get(c), str) else 9 for r in rows or [{}])) for c in columns]
    widths = [min(weight, 24) / sum(min(weight, 24) for weight in weights) * (w - 8) for weight in weights]
    lefts = [6 + sum(widths[:i]) for i in range(len(columns))]
    out, y = [], top + 9
    for c, x, width in zip(columns, lefts, widths):
        out.append(text(x, y, clip(names[c], width - 4, 8), 8, "#3f7fd9", weight="bold"))
    for r in rows[: max(1, int((h - top - 14) / 12))]:
        y += 12
        out.append(f'<line x1="4" x2="{w - 4}" y1="{y - 9:.1f}" y2="{y - 9:.1f}" stroke="{FAINT}" stroke-width="0.5"/>')
        for c, x, width in zip(columns, lefts, widths):
            v, p = r.get(c), properties(panel["fieldConfig"], names[c], "")
            if isinstance(v, str):
                out.append(text(x, y, clip(v, width - 4, 8), 8))
                continue
            words, color = mapped(v, p.get("mappings")) or (formatted(v, p["unit"]), threshold_color(v, p["thresholds"]))
            if p["custom"]["cellOptions"]["type"] == "color-background":
                out.append(f'<rect x="{x - 2:.1f}" y="{y - 8.5:.1f}" width="{width - 4:.1f}" height="11" fill="{color}"/>')
                color = PAPER
            out.append(text(x, y, clip(words, width - 4, 8), 8, color if v is not None else FAINT))
    if not rows:
        out.append(text(w / 2, top + (h - top) / 2, "none", 11, "#6b7280", "middle"))
    return "".join(out)


def heatmap(panel, answers, w, h, top, span):
    by_bound = sorted(((float(labels["le"]), dict(points)) for _, series in answers for _, points, labels in series), key=lambda b: b[0])
    cells, before = [], {}
    for bound, points in by_bound:
        cells.append((bound, {t: max(0, v - before.get(t, 0)) for t, v in points.items()}))
        before = points
    used = [i for i, (_, c) in enumerate(cells) if any(v > 0.01 for v in c.values())]
    shown = cells[max(0, used[0] - 1): used[-1] + 2] if used else cells
    most = max((v for _, c in shown for v in c.values()), default=1) or 1
    plot = Plot(w, h, top, span, 0, len(shown), legend=0)
    out, wide = [], (plot.right - plot.left) / (span[1] - span[0]) * 2
    for i, (bound, c) in enumerate(shown):
        y = plot.y(i + 1)
        out.append(text(plot.left - 3, y + 3, formatted(bound, "s"), 7, "#6b7280", "end"))
        for k, (t, v) in enumerate(sorted(c.items())):
            if v > 0.01 and k % 2 == 0:
                out.append(f'<rect x="{plot.x(t):.1f}" y="{y + 0.5:.1f}" width="{wide:.1f}" height="{plot.y(i) - y - 1:.1f}" fill="#e0752d" '
                           f'fill-opacity="{0.15 + 0.85 * math.sqrt(v / most):.2f}"/>')
    return "".join(out)


def panel_svg(panel, answers, w, h, span, marks):
    """answers: [(letter of the target, [(name, [(time, value)], labels)])]"""
    top = 17
    kind = panel["type"]
    if kind == "stat":
        inside = stat(panel, answers, w, h, top)
    elif kind == "table":
        inside = table(panel, answers, w, h, top)
    elif kind == "state-timeline":
        inside = timeline(panel, answers, w, h, top, span)
    elif kind == "heatmap":
        inside = heatmap(panel, answers, w, h, top, span)
    else:
        inside = timeseries(panel, answers, w, h, top, span, marks)
    return (f'<rect width="{w:.1f}" height="{h:.1f}" rx="3" fill="{PAPER}" stroke="{FAINT}" stroke-width="0.7"/>'
            + text(5, 11, clip(panel["title"], w - 8, 8.5), 8.5, weight="bold") + inside)
