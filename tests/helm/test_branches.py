# SPDX-License-Identifier: Apache-2.0
"""Every branch of every template is taken by a case of cases.py, and left out by another."""

import re

import pytest

import charts
from cases import CASES, REFUSED
from stand_in import api_server, presets_of

TAG = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.S)
REPORT = "{{ range $branch, $_ := .Values.__taken }}\n---\n# taken: {{ $branch }}\n{{ end }}\n"


def instrumented(name, text):
    """The text with a mark in each branch, also in those that are not written, and the names of the branches.

    A branch that ends in `fail` cannot be seen in what is rendered: it says its name in the message.
    """
    branches, out, last, stack = [], [], 0, []

    def mark(line, kind, body):
        branch = f"{name}:{line}:{kind}"
        branches.append(branch)
        if re.match(r"\s*\{\{-?\s*fail\b", body):
            return '{{ fail "taken: %s" }}' % branch
        # Helpers that take arguments get the root among them.
        return '{{ $_ := set ((index $ "root" | default $).Values.__taken) "%s" true }}' % branch

    for tag in TAG.finditer(text):
        line = text.count("\n", 0, tag.start()) + 1
        left, body, right = tag.groups()
        word = body.split(" ")[0]
        out.append(text[last:tag.start()])
        last = tag.end()
        after = text[last:]
        if word in ("if", "with", "range", "define"):
            stack.append([word, False, line])
        if word == "else":
            stack[-1][1] = stack[-1][1] or body == "else"
        if word in ("if", "with", "range") or word == "else":
            out.append("{{%s %s }}%s{{ \"\" %s}}" % (left, body, mark(line, word, after), right))
            continue
        if word == "end":
            kind, has_else, began = stack.pop()
            if kind in ("if", "with") and not has_else:
                out.append("{{%s else }}%s{{ end %s}}" % (left, mark(began, f"no {kind}", ""), right))
                continue
        out.append(tag[0])
    assert not stack, f"{name}: {stack}"
    return "".join(out) + text[last:], branches


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """(the chart with its marks, the names of all branches)"""
    chart = charts.with_fixture(tmp_path_factory.mktemp("marked") / "o3-sidecar")
    every = []
    for path in sorted((chart / "templates").rglob("*")):
        if path.suffix not in (".yaml", ".tpl", ".txt"):
            continue
        text, branches = instrumented(path.name, path.read_text())
        every += branches
        # Deeper folders are rendered first: the report at the top comes when all is done.
        target = path if path.suffix == ".tpl" else chart / "templates/rendered/first" / path.name
        if target != path:
            path.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    helpers = chart / "templates/_helpers.tpl"
    before = '{{- $_ := set . "Values" $values -}}'
    assert before in helpers.read_text()
    keep = '{{- $_ := set $values "__taken" (get .Values "__taken" | default dict) -}}'
    text = helpers.read_text().replace('{{- $given := .Values', '{{- if not (hasKey .Values "__taken") -}}{{- $_ := set .Values "__taken" dict -}}{{- end -}}{{- $given := .Values')
    helpers.write_text(text.replace(before, keep + before).replace("(deepCopy $given)", '(deepCopy (omit $given "__taken"))'))
    (chart / "templates/zz-report.yaml").write_text(REPORT)
    return chart, every


def taken_by(chart, values, *args):
    done = charts.helm("template", "o3", chart, "-n", "ollama", "--skip-schema-validation", *args, values=values, check=False)
    return set(re.findall(r"taken: ([-\w.]+:\d+:[a-z ]+)", done.stdout + done.stderr)), done


def test_every_branch_is_taken(marked):
    chart, every = marked
    taken = set()
    for name, values in CASES.items():
        found, done = taken_by(chart, values)
        assert done.returncode == 0, (name, done.stderr)
        assert found, name
        taken |= found
    for name, (values, _) in REFUSED.items():
        found, done = taken_by(chart, values)
        assert done.returncode != 0, name
        taken |= found
    with api_server(presets_of("another")) as url:
        found, _ = taken_by(chart, {}, "--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url)
        taken |= found
    print(f"measured: branches of the chart's templates taken: {len(taken)} of {len(every)}")
    missing = sorted(set(every) - taken)
    assert not missing, "\n" + "\n".join(missing)
    assert len(every) > 100
