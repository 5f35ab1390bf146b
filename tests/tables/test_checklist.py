# SPDX-License-Identifier: Apache-2.0
"""tests/README.md: every row names tests that exist, and the command that runs them."""

import ast
import importlib.util
import pathlib
import re
import sys

import pytest

from harness import ROOT

HERE = ROOT / "tests"
ROWS = [f"{letter}{n}" for letter, last in (("H", 13), ("P", 6), ("D", 6), ("A", 6)) for n in range(1, last + 1)]
LINES = [[cell.strip() for cell in line.strip("|").split("|")] for line in (HERE / "README.md").read_text().splitlines() if re.match(r"\| [A-Z]+\d+ ", line)]


def groups():
    spec = importlib.util.spec_from_file_location("run_all", HERE / "run_all.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_all"] = module  # its dataclass asks for it
    spec.loader.exec_module(module)
    return {*module.GROUPS, *module.NAMED}


def names_in(path):
    tree = ast.parse((HERE / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_is_there_once():
    assert [cells[0] for cells in LINES if cells[0] in ROWS] == ROWS
    names = [cells[0] for cells in LINES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("cells", LINES, ids=lambda cells: cells[0])
def test_a_row_names_tests_that_its_command_runs(cells):
    assert len(cells) == 4 and all(cells), cells
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", cells[2])
    assert named and len(named) == cells[2].count("`") / 2, cells[2]
    for path, test in named:
        assert test in names_in(path), f"{path} has no {test}"
    run = re.fullmatch(r"`\./dev test ([a-z0-9 ]+)`", cells[3])[1].split()
    assert set(run) <= groups()
    assert {pathlib.Path(path).parts[0] for path, _ in named} == set(run)
