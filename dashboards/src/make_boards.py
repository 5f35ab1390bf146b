# SPDX-License-Identifier: Apache-2.0
"""Writes dashboards/*.json: `python3 dashboards/src/make_boards.py`. The tests refuse files that differ. Standard library only."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import explorer
import fleet
import model

FOLDER = pathlib.Path(__file__).resolve().parent.parent


def boards():
    """{file name: text}"""
    made = [module.board() for module in (fleet, model, explorer)]
    return {f"{b['uid']}.json": json.dumps(b, indent=2, ensure_ascii=True) + "\n" for b in made}


if __name__ == "__main__":
    for name, text in boards().items():
        (FOLDER / name).write_text(text)
