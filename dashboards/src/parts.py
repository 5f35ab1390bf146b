# SPDX-License-Identifier: Apache-2.0
"""Parts of a classic Grafana dashboard: panels with the fields that all of them must have, and their layout.

A description has three parts: what is shown, what is good, what to do otherwise.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE, NEUTRAL = "green", "yellow", "orange", "red", "blue", "text"

# The selectors of every query: which sidecars, and of those which models.
SIDECAR = 'job=~"$job", instance=~"$instance"'
MODEL = SIDECAR + ', model=~"$model"'
BY_MODEL = "job, instance, model"
WIDTH = 24


def steps(base, *limits):
    """Thresholds: the colour from below, then (value, colour) upwards."""
    return {"mode": "absolute", "steps": [{"color": base, "value": None}, *({"color": c, "value": v} for v, c in limits)]}


PLAIN = steps(NEUTRAL)
NONE_IS_GOOD = steps(GREEN, (1, RED))
VERDICTS = ((0, "steady", GREEN), (1, "suspected", YELLOW), (2, "changed", ORANGE), (3, "runner stuck", RED), (4, "Ollama down", RED),
            (5, "sidecar down", RED))
YES_NO = ((0, "no", RED), (1, "yes", GREEN))


def mapping(rows):
    return [{"type": "value", "options": {str(v): {"text": text, "color": color, "index": i} for i, (v, text, color) in enumerate(rows)}}]


def query(expr, legend="__auto", **more):
    """A target; its letter is given by the panel."""
    return {"expr": " ".join(expr.split()), "legendFormat": legend, **more}


def now(expr, legend="__auto", **more):
    return query(expr, legend, instant=True, range=False, **more)


def rows_of(expr):
    return now(expr, format="table")


def by_name(name, **properties):
    """An override of one series or column; `custom__x=1` sets custom.x."""
    return {"matcher": {"id": "byName", "options": name},
            "properties": [{"id": k.replace("__", "."), "value": v} for k, v in properties.items()]}


def panel(kind, title, what, good, todo, targets, unit, thresholds=PLAIN, size=(6, 4), defaults=None, overrides=(), options=None, **more):
    targets = [targets] if isinstance(targets, dict) else list(targets)
    for letter, target in zip("ABCDEFGHIJKLM", targets):
        target.update(refId=letter, datasource=DATASOURCE)
        target.setdefault("range", True)
    return {
        "type": kind, "title": title, "description": f"{what}\n\nGood: {good}\n\nOtherwise: {todo}",
        "datasource": DATASOURCE, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": thresholds, "color": {"mode": "thresholds"}, **(defaults or {})},
                        "overrides": list(overrides)},
        "options": options or {}, "size": size, **more,
    }


def stat(title, what, good, todo, targets, unit="short", thresholds=NONE_IS_GOOD, size=(4, 4), names=False, **more):
    options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background", "graphMode": "none",
               "justifyMode": "auto", "orientation": "auto", "textMode": "name" if names else "auto", "wideLayout": True,
               "showPercentChange": False, "percentChangeColorMode": "standard"}
    return panel("stat", title, what, good, todo, targets, unit, thresholds, size, options=options, **more)


def timeseries(title, what, good, todo, targets, unit, thresholds=PLAIN, size=(8, 8), points=False, stack=False, custom=None, defaults=None,
               **more):
    """points: values of single probes, drawn as points and never joined over a gap."""
    drawn = {"drawStyle": "points" if points else "line", "lineWidth": 1, "pointSize": 4, "fillOpacity": 20 if stack else 0,
             "showPoints": "always" if points else "never", "spanNulls": False, "lineInterpolation": "linear",
             "stacking": {"mode": "normal" if stack else "none", "group": "A"},
             "thresholdsStyle": {"mode": "line" if len(thresholds["steps"]) > 1 else "off"}, **(custom or {})}
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, what, good, todo, targets, unit, thresholds, size, options=options,
                 defaults={"color": {"mode": "palette-classic"}, "custom": drawn, **(defaults or {})}, **more)


def timeline(title, what, good, todo, targets, rows, thresholds=PLAIN, size=(24, 6), unit="short", color="thresholds", **more):
    options = {"showValue": "auto", "rowHeight": 0.85, "mergeValues": True, "alignValue": "left",
               "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
               "tooltip": {"mode": "single", "sort": "none"}}
    defaults = {"custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False}, "color": {"mode": color}}
    if rows:
        defaults["mappings"] = mapping(rows)
    return panel("state-timeline", title, what, good, todo, targets, unit, thresholds, size, options=options, defaults=defaults, **more)


def table(title, what, good, todo, targets, columns, unit="short", thresholds=PLAIN, size=(24, 8), overrides=(), sort=None, hide=(), **more):
    """columns: {field of the merged answers: its heading}; labels keep their place, in that order. Others are hidden."""
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
               "sortBy": [{"displayName": sort, "desc": True}] if sort else []}
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {name: True for name in ("Time", *hide)},
                                       "indexByName": {name: i for i, name in enumerate(columns)}, "renameByName": dict(columns)}},
    ]
    return panel("table", title, what, good, todo, targets, unit, thresholds, size, options=options, overrides=overrides,
                 defaults={"custom": {"align": "auto", "filterable": True, "cellOptions": {"type": "auto"}}, "noValue": "none"},
                 transformations=transformations, **more)


def heatmap(title, what, good, todo, target, unit, size=(8, 8), **more):
    options = {"calculate": False, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "exponent": 0.5,
                                                           "steps": 64, "reverse": False},
               "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit}, "rowsFrame": {"layout": "auto"},
               "legend": {"show": True}, "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
               "filterValues": {"le": 1e-9}, "exemplars": {"color": "rgba(255,0,255,0.7)"}, "showValue": "never"}
    return panel("heatmap", title, what, good, todo, {**target, "format": "heatmap"}, unit, size=size, options=options,
                 defaults={"custom": {"scaleDistribution": {"type": "linear"}}}, **more)


def row(title, *panels, collapsed=False, repeat=None):
    return {"title": title, "panels": panels, "collapsed": collapsed, "repeat": repeat}


def place(rows):
    """Rows of panels to Grafana's flat list with ids and places, left to right; the panels of a collapsed row lie inside it."""
    placed, y, next_id = [], 0, 1
    for r in rows:
        head = {"type": "row", "id": next_id, "title": r["title"], "collapsed": r["collapsed"], "panels": [],
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}}
        if r["repeat"]:
            head["repeat"] = r["repeat"]
        placed.append(head)
        next_id, y, x, height = next_id + 1, y + 1, 0, 0
        inside = head["panels"] if r["collapsed"] else placed
        for p in r["panels"]:
            width, h = p["size"]
            if x + width > WIDTH:
                x, y, height = 0, y + height, 0
            inside.append({"id": next_id, **{k: v for k, v in p.items() if k != "size"}, "gridPos": {"h": h, "w": width, "x": x, "y": y}})
            next_id, x, height = next_id + 1, x + width, max(height, h)
        y += height
    return placed
