# SPDX-License-Identifier: Apache-2.0
"""Man pages and completions: as the program says, readable by their readers, and complete."""

import importlib.util
import re
import shutil
import subprocess

import pytest

from harness import BINARY, ROOT, run_o3

SHELLS = ROOT / "src/package/completions"
MAN = [ROOT / "src/doc/o3.1", ROOT / "src/doc/o3.yaml.5"]


def make_pages():
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "src/package/make_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = make_pages()


@pytest.fixture(scope="module")
def commands():
    return {c.name: c for c in pages.commands(BINARY)}


def need(tool):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")


def test_pages_are_as_the_program_says():
    for name, text in pages.pages(BINARY).items():
        assert (ROOT / name).read_text() == text, f"{name} is stale: run ./dev docs"


# ---- the help of a command tells its options, all of them, and only those ----


def options_in_source(command):
    """Of the table that the command gives to getopt, or of the words that it compares with."""
    text = (ROOT / f"src/cli/cmd_{command.replace('-', '_')}.c").read_text()
    table = re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', text)
    compared = re.findall(r'!?strcmp\(argv\[[^]]+\], "--([a-z-]+)"\)', text)
    return {"--" + name for name in table + compared} | {"--help"}


def test_help_and_option_tables_agree(commands):
    for name, command in commands.items():
        told = {o.name for o in pages.all_options(command)}
        assert told == options_in_source(name), name


def test_options_that_take_values_say_so(commands):
    n = 0
    for name, command in commands.items():
        text = (ROOT / f"src/cli/cmd_{name.replace('-', '_')}.c").read_text()
        takes = dict(re.findall(r'\{"([a-z-]+)", (no|required)_argument', text))
        for option in pages.all_options(command):
            if option.name[2:] in takes:
                n += 1
                assert bool(option.value) == (takes[option.name[2:]] == "required"), (name, option)
    assert n > 40


@pytest.mark.parametrize("command, option, value", [(c, o, v) for (c, o), values in pages.VALUES.items() for v in values])
def test_offered_values_are_taken(command, option, value, tmp_path):
    words = {"preset": ["get", "balanced", "--model", "m", "--results", tmp_path], "replay": ["-"], "ack": ["m", "--url", "http://127.0.0.1:9"],
             "history": ["--results.path", tmp_path], "sim": ["--listen", "256.0.0.1:1"], "tables": []}
    done = run_o3(command, option, value, *words[command], stdin="1\n2\n", cwd=tmp_path)
    refused = run_o3(command, option, "no-such-value", *words[command], stdin="1\n2\n", cwd=tmp_path)
    if command == "preset":  # without a preset the format is not looked at
        assert done.returncode == 1
        return
    assert (refused.returncode, refused.stderr) != (done.returncode, done.stderr), (done, refused)
    assert refused.returncode == 2, refused


# ---- the readers ----


def test_man_pages_with_groff():
    need("groff")
    for path in MAN:
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", path], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_man_pages_with_mandoc():
    need("mandoc")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *MAN], capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if "missing date" not in line]
    assert not said, said


def test_man_pages_tell_all(commands):
    text = subprocess.run(["man", "-l", MAN[0]], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "MANWIDTH": "200"}).stdout if shutil.which("man") else ""
    source = MAN[0].read_text().replace("\\-", "-")
    for command in commands.values():
        assert f".SS o3 {command.name}" in source
        for option in command.options:
            assert f"\\fB{option.name}\\fR" in source, (command.name, option.name)
            assert not text or option.name in text
    keys = MAN[1].read_text().replace("\\-", "-")
    for row in pages.table(BINARY):
        assert f"\\fB{row['key']}\\fR" in keys and row["env"] in keys, row["key"]


# ---- completions, in their shells ----


def complete_bash(*words):
    script = f"""source '{SHELLS / "o3.bash"}'
compopt() {{ :; }}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_o3
printf '%s\\n' "${{COMPREPLY[@]}}\""""
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.split()


def complete_fish(*words):
    line = " ".join(words[:-1]) + " " + words[-1]
    script = f"source {SHELLS / 'o3.fish'}; complete -C '{line}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, cwd=ROOT, env={"HOME": str(ROOT / "build"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done
    return [row.split("\t")[0] for row in done.stdout.splitlines()]


CASES = [
    (("o3", "he"), {"healthcheck"}),
    (("o3", "preset", ""), {"list", "get"}),
    (("o3", "config", ""), {"dump", "example"}),
    (("o3", "preset", "get", "ba"), {"balanced"}),
    (("o3", "preset", "get", "balanced", "--format", "mo"), {"modelfile"}),
    (("o3", "tables", "--ma"), {"--markdown"}),
    (("o3", "serve", "--probe.inter"), {"--probe.interval"}),
    (("o3", "serve", "--log.format", ""), {"logfmt", "json"}),
    (("o3", "simulate", "--scenario", "LICEN"), {"LICENSE"}),
    (("o3", "check-config", "Dockerf"), {"Dockerfile"}),
    (("o3", "ack", "m", "--signal", "gpu"), {"gpu_ratio"}),
]


@pytest.mark.parametrize("words, expected", CASES, ids=lambda v: "_".join(v) if isinstance(v, tuple) else "")
def test_bash(words, expected):
    assert set(complete_bash(*words)) == expected


@pytest.mark.parametrize("words, expected", [
    (("o3", "preset", "get", "balanced", "--format", "=", "mo"), {"modelfile"}),
    (("o3", "serve", "--log.format", "="), {"logfmt", "json"}),
], ids=["begun", "empty"])
def test_bash_with_an_equals_sign(words, expected):
    """At which bash splits the word."""
    assert set(complete_bash(*words)) == expected


def test_bash_all_commands_and_options(commands):
    assert set(commands) <= set(complete_bash("o3", ""))
    for name, command in commands.items():
        offered = set(complete_bash("o3", name, "--"))
        assert {o.name for o in pages.all_options(command)} <= offered
        assert ("--probe.interval" in offered) == command.takes_keys, name


@pytest.mark.parametrize("words, expected", CASES, ids=lambda v: "_".join(v) if isinstance(v, tuple) else "")
def test_fish(words, expected):
    need("fish")
    assert expected <= set(complete_fish(*words)) and len(complete_fish(*words)) <= len(expected) + 2


ZSH = r"""
autoload -Uz compinit
fpath=(%s $fpath)
compinit -u -d %s
print -r -- ${_comps[o3]}
autoload +X _o3 && functions _o3 >/dev/null && print loaded
"""


def test_zsh_loads_it(tmp_path):
    need("zsh")
    done = subprocess.run(["zsh", "-f", "-c", ZSH % (SHELLS, tmp_path / "dump")], capture_output=True, text=True)
    assert done.stdout.split() == ["_o3", "loaded"] and not done.stderr, done


def test_zsh_completes(tmp_path):
    """In a terminal of its own, as a person would. Keys are pressed when the line editor says that it listens; what is waited for does
    not stand in what is typed."""
    need("zsh")
    script = tmp_path / "drive.zsh"
    script.write_text(f"""zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'zle-line-init() {{ print -r -- LISTENS$((6 * 7)) }}; zle -N zle-line-init; PS1=; fpath=({SHELLS} $fpath); autoload -Uz compinit; compinit -u -d {tmp_path}/dump'
zpty -r -m z out '*LISTENS42*'
zpty -w -n z $'o3 preset get bal\t --model m --form\tmodelf\t # END\n'
zpty -w z 'print -r -- DONE$((6 * 7))'
zpty -r -m z out '*DONE42*'
print -r -- $out
""")
    done = subprocess.run(["zsh", "-f", script], capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", "TERM": "dumb", "HOME": str(tmp_path)})
    assert "balanced" in done.stdout and "modelfile" in done.stdout, done
