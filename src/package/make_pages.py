# SPDX-License-Identifier: Apache-2.0
"""Man pages and shell completions, made from what the program says about itself: the help of each command and the table
of configuration keys. `./dev docs` writes them, tests/package compares.

    make_pages.py O3_BINARY [--check]
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = "SPDX-License-Identifier: Apache-2.0"
MADE = "Made by ./dev docs from what the program says about itself; change that, not this file."

# What the value of an option may be, where its help names a closed set in words.
VALUES = {
    ("preset", "--format"): ["yaml", "json", "env", "modelfile", "ollama-options"],
    ("tables", "--markdown"): ["config", "metrics", "events", "errors"],
    ("replay", "--level"): ["suspect", "confirmed"],
    ("replay", "--after-alarm"): ["restart", "acknowledge", "continue"],
    ("sim", "--library"): ["recorded"],
}
SIGNALS = ["decode_rate", "prefill_rate", "ttft", "load_time", "memory", "gpu_ratio", "context", "success"]
VALUES[("history", "--signal")] = VALUES[("ack", "--signal")] = SIGNALS
# First words that a command takes.
WORDS = {
    "preset": ["list", "get"],
    "config": ["dump", "example"],
}
PRESETS = ["max_context", "balanced", "fast_response"]
# Commands that take a file as their argument.
FILES = {"replay", "check-config"}


@dataclasses.dataclass
class Option:
    name: str  # with its dashes
    short: str  # "-n" or ""
    value: str  # "" when it takes none
    lines: list  # of its help

    @property
    def help(self):
        return " ".join(self.lines)


@dataclasses.dataclass
class Command:
    name: str
    summary: str
    usage: list
    blocks: list  # ("text", [lines]) and ("options", [Option])
    takes_keys: bool

    @property
    def options(self):
        return [o for kind, rows in self.blocks if kind == "options" for o in rows]


def run(binary, *args):
    done = subprocess.run([binary, *args], capture_output=True, text=True, env={"LC_ALL": "C"}, cwd="/")
    if done.returncode != 0:
        raise SystemExit(f"o3 {' '.join(args)}: exit status {done.returncode}: {done.stderr}")
    return done.stdout


# ---- the help of a command, parsed ----

OPTION = re.compile(r"^ {2,8}(?:(-\w), )?(--(?:[a-z][a-z.-]*|KEY))(?:[ ]('[^']*'|[A-Z][A-Z:_\[\]]*|[a-z]+(?=  )))?(?:  +(.*))?$")


def parse_help(name, summary, text):
    lines = text.rstrip("\n").split("\n")
    usage = []
    while lines and (lines[0].startswith("usage: ") or (usage and lines[0].startswith("       "))):
        usage.append(lines.pop(0)[7:])
    blocks = []

    def add(kind, item):
        if not blocks or blocks[-1][0] != kind:
            blocks.append((kind, []))
        blocks[-1][1].append(item)

    for line in lines:
        found = OPTION.match(line)
        inside = blocks and blocks[-1][0] == "options" and line.startswith(" " * 8)
        if found:
            add("options", Option(found[2], found[1] or "", (found[3] or "").strip("'"), [found[4]] if found[4] else []))
        elif inside and line.strip():
            blocks[-1][1][-1].lines.append(line.strip())
        else:
            add("text", line)
    is_configured = bool(re.search(r"--config\.file|--KEY", text))
    return Command(name, summary, usage, blocks, is_configured)


def commands(binary):
    rows = re.findall(r"^  ([a-z-]+) +(.+)$", run(binary, "--help"), re.M)
    assert rows, "o3 --help lists no commands"
    return [parse_help(name, summary, run(binary, name, "--help")) for name, summary in rows]


def word_of_usage(command):
    """Options that only the usage line tells, as [--ready]."""
    told = {o.name for o in command.options} | {"--KEY"}
    found = []
    for name, value in re.findall(r"\[(--[a-z][a-z.-]*)(?: ([A-Z][A-Z:_]*))?[^\]]*\]", " ".join(command.usage)):
        if name not in told and "." not in name:
            found.append(Option(name, "", value, []))
            told.add(name)
    return found


def all_options(command):
    """Without the keys of the configuration."""
    options = [o for o in command.options if "." not in o.name and o.name != "--KEY"] + word_of_usage(command)
    if not any(o.name == "--help" for o in options):
        options.append(Option("--help", "", "", ["this text"]))
    return options


def table(binary):
    return json.loads(run(binary, "tables", "--json"))["config"]


def values_of(command, option, keys):
    if (command, option.name) in VALUES:
        return VALUES[(command, option.name)]
    key = {"--detector": "drift.detector"}.get(option.name)
    return next((r["choices"].split("|") for r in keys if r["key"] == key), [])


def is_file(option):
    return option.value in ("FILE", "DIR")


# ---- man pages ----


def roff(text):
    """One piece of running text."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + text if text[:1] in (".", "'") else text


def font(text):
    """Options, keys and program names in bold."""
    return re.sub(r"(?<![\w\\-])((?:\\-){1,2}[a-z][a-z.]*(?:\\-[a-z]+)*)", r"\\fB\1\\fR", roff(text))


def paragraphs(lines):
    """roff of lines of help: running text flows, indented lines stay as they are."""
    out, flow = [], []

    def end():
        if flow:
            out.extend([".PP", font(" ".join(flow))])
            flow.clear()

    table = []

    def end_table():
        if table:
            out.extend([".PP", ".nf", *[roff(t) for t in table], ".fi"])
            table.clear()

    for line in lines:
        if not line.strip():
            end(), end_table()
        elif line.startswith(" "):
            end()
            table.append(line)
        else:
            end_table()
            flow.append(line)
    end(), end_table()
    return out


def option_head(o):
    parts = ([f"\\fB{roff(o.short)}\\fR, "] if o.short else []) + [f"\\fB{roff(o.name)}\\fR"]
    return "".join(parts) + (f" \\fI{roff(o.value)}\\fR" if o.value else "")


def option_help(lines):
    """Lines that stand in columns stay lines; the others flow."""
    out = []
    for line in lines:
        is_columns = "  " in line
        if is_columns or (out and out[-1] == ".br"):
            out += ([".br"] if out and out[-1] != ".br" else []) + [re.sub(" {2,}", "\\\\ \\\\ ", font(line)) if is_columns else font(line)]
            out += [".br"] if is_columns else []
        else:
            out.append(font(line))
    return out or ["\\&"]


def man_command(c):
    out = [f".SS o3 {roff(c.name)}", ".nf", *[f"\\fB{roff(u)}\\fR" for u in c.usage], ".fi"]
    for kind, rows in c.blocks:
        if kind == "text":
            out += paragraphs(rows)
        else:
            for o in rows:
                out += [".TP", option_head(o), *option_help(o.lines)]
    return out


EXAMPLES = [
    ("See it work without an Ollama server:", ["o3 demo"]),
    ("Watch the Ollama server of this machine:", ["o3 serve --results.path ./o3_results"]),
    ("What changed in the last week, and why:", ["o3 history --since 7d"]),
    ("The preset for the largest context, as options of a request:",
     ["o3 preset get max_context --model qwen3-coder:30b --format ollama-options"]),
    ("A month of a server and the sidecar, in seconds:", ["o3 simulate --days 30 --seed 1"]),
]


def title(name, section, version):
    return [f".\\\" {HEAD}", f".\\\" {MADE}", f".TH {name} {section} \"\" \"O3 Sidecar {version}\" \"O3 Sidecar\""]


def page_o3(binary, all_commands, version):
    out = title("O3", 1, version)
    out += [".SH NAME", "o3 \\- watch an Ollama server from beside it, and keep its presets true", ".SH SYNOPSIS",
            "\\fBo3\\fR \\fICOMMAND\\fR [\\fB\\-\\-config.file\\fR \\fIFILE\\fR] [\\fIoptions\\fR]", ".SH DESCRIPTION",
            "\\fBo3\\fR asks the models that an Ollama server has loaded for a few tokens now and then, keeps a baseline of each,",
            "and tells with a known rate of false alarms when speed, latency, memory or stability has changed.",
            "What it measures is served for Prometheus; the presets that it recommends are kept in files.",
            ".PP", "People read standard output; progress and errors go to standard error.", ".SH COMMANDS"]
    for c in all_commands:
        out += [".TP", f"\\fB{roff(c.name)}\\fR", roff(c.summary)]
    out.append(".SH OPTIONS OF THE COMMANDS")
    for c in all_commands:
        out += man_command(c)
    status = re.search(r"^exit status: (.*)$", run(binary, "--help"), re.M)[1]
    out.append(".SH EXIT STATUS")
    for number, meaning in re.findall(r"(\d+) ([^,]+)", status):
        out += [".TP", f"\\fB{number}\\fR", roff(meaning.strip())]
    out += [".SH SIGNALS", ".TP", "\\fBSIGHUP\\fR", "of \\fBo3 serve\\fR: reads the configuration again; a wrong one changes nothing",
            ".TP", "\\fBSIGTERM\\fR, \\fBSIGINT\\fR", "end what runs, cleanly", ".SH ENVIRONMENT", ".TP", "\\fBO3_CONFIG_FILE\\fR",
            "the configuration file, where \\fB\\-\\-config.file\\fR does not name one", ".TP",
            "\\fBO3_\\fR\\fIKEY\\fR", "any key of the configuration, as O3_PROBE_INTERVAL for probe.interval; it wins over the file", ".TP",
            "\\fBSTATE_DIRECTORY\\fR", "where o3_results stands, unless \\fBresults.path\\fR says so", ".SH FILES", ".TP",
            "\\fI/etc/o3/o3.yaml\\fR", "the configuration; see \\fBo3.yaml\\fR(5)", ".TP", "\\fIo3_results/defaults/\\fR",
            "the presets, one file a model", ".TP", "\\fIo3_results/logs/\\fR", "every measurement, as lines of JSON", ".TP",
            "\\fIo3_results/o3.db\\fR", "samples, baselines and events; \\fBo3 history\\fR reads it", ".SH EXAMPLES"]
    for i, (text, lines) in enumerate(EXAMPLES):
        out += [*([".PP"] if i else []), roff(text), ".PP", ".in +4n", ".nf", *[roff(t) for t in lines], ".fi", ".in"]
    return "\n".join(out + [".SH SEE ALSO", "\\fBo3.yaml\\fR(5)", ""])


def key_facts(r):
    kind = {"size_mb": "size in MiB, or auto", "duration": "duration, as 90s, 1h30m, 250ms or 2d"}.get(r["type"], r["type"])
    facts = [kind.replace("enum", "one of " + r["choices"].replace("|", ", ")) if r["type"] == "enum" else kind]
    if r["min"] or r["max"]:
        facts.append(f"{r['min'] or 'any'} to {r['max'] or 'any'}")
    facts.append(f"default {r['default']}" if r["default"] else "default: empty")
    facts.append("changes with a reload" if r["live"] else "changes with a restart")
    return facts if r["used"] else facts + ["accepted, but not used by this version"]


def page_yaml(rows, version):
    out = title("O3.YAML", 5, version)
    out += [".SH NAME", "o3.yaml \\- configuration of O3 Sidecar", ".SH SYNOPSIS", "\\fI/etc/o3/o3.yaml\\fR", ".SH DESCRIPTION",
            "A YAML file; none is needed.", "A value is taken from the flag (\\fB\\-\\-\\fR and the key), else from the environment,",
            "else from the file, else it is the built\\-in one.", "An unknown key, a wrong type and a value out of range are told with file, line",
            "and column, and nothing starts; a reload with a wrong file keeps the old configuration.", ".PP",
            "\\fBo3 check\\-config\\fR checks a file, \\fBo3 config dump \\-\\-origin\\fR shows what is in force and where it came from,",
            "\\fBo3 config example\\fR prints the whole file.", ".SH KEYS"]
    group = None
    for r in rows:
        if r["key"].split(".")[0] != group:
            group = r["key"].split(".")[0]
            out.append(f".SS {roff(group)}")
        out += [".TP", f"\\fB{roff(r['key'])}\\fR", roff(r["help"]) + ".", ".br", roff("; ".join(key_facts(r))) + ".", ".br",
                f"Environment: {roff(r['env'])}"]
    return "\n".join(out + [".SH SEE ALSO", "\\fBo3\\fR(1)", ""])


# ---- completions ----


def quoted(words):
    return " ".join(words)


def key_cases(rows):
    return [(r["key"], r["choices"].split("|") if r["choices"] and r["type"] == "enum" else ["true", "false"]) for r in rows
            if (r["type"] == "enum" and r["choices"]) or r["type"] == "bool"]


def bash_values(all_commands, rows):
    """Lines of the case that completes the value of an option: COMMAND:OPTION."""
    out = []
    for c in all_commands:
        for o in all_options(c):
            names = "|".join(f"{c.name}:{n}" for n in (o.name, o.short) if n)
            values = values_of(c.name, o, rows)
            if values:
                out.append(f"    {names}) words='{quoted(values)}' ;;")
            elif is_file(o):
                out.append(f"    {names}) kind='{'folder' if o.value == 'DIR' else 'file'}' ;;")
            elif o.value:
                out.append(f"    {names}) kind='nothing' ;;")
    out += [f"    *:--{key}) words='{quoted(values)}' ;;" for key, values in key_cases(rows)]
    out.append("    *:--config.file) kind='file' ;;")
    paths = [r["key"] for r in rows if r["type"] == "string" and re.search(r"\.(path|file|config_file)$", r["key"])]
    out.append("    " + "|".join(f"*:--{k}" for k in paths) + ") kind='file' ;;")
    out.append("    *:--*.*) kind='nothing' ;;")
    return out


def bash_options(all_commands):
    out = []
    for c in all_commands:
        keys = " $keys" if c.takes_keys else ""
        words = [o.name for o in all_options(c)]
        out.append(f"    {c.name}) words=\"{quoted(words)}{keys}\" ;;")
    return out


def completion_bash(all_commands, rows):
    keys = ["--config.file"] + ["--" + r["key"] for r in rows]
    words = "\n".join(f"    {name}) words='{quoted(values)}' ;;" for name, values in WORDS.items())
    return f"""# bash completion of o3
# {HEAD}
# {MADE}

_o3() {{
    local keys='{quoted(keys)}'
    local cur=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command=${{COMP_WORDS[1]}}
    local words='' kind=''
    COMPREPLY=()
    # --key=value comes as three words.
    [ "$cur" = = ] && cur=
    [ "$before" = = ] && before=${{COMP_WORDS[COMP_CWORD - 2]}}
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W '{quoted([c.name for c in all_commands] + ["--help", "--version"])}' -- "$cur")
        return
    fi
    case $command:$before in
{chr(10).join(bash_values(all_commands, rows))}
    preset:get) words='{quoted(PRESETS)}' ;;
    esac
    if [ -z "$words$kind" ] && [[ $cur == -* ]]; then
        case $command in
{indent(bash_options(all_commands), 4)}
        esac
    elif [ -z "$words$kind" ] && [ "$COMP_CWORD" = 2 ]; then
        case $command in
{indent(words.split(chr(10)), 4)}
        esac
    fi
    if [ -z "$words$kind" ]; then
        case $command in {"|".join(sorted(FILES))}) kind='file' ;; esac
    fi
    case $kind in
    file) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && compopt -o filenames ;;
    folder) mapfile -t COMPREPLY < <(compgen -d -- "$cur") && compopt -o filenames ;;
    nothing) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
    esac
}}
complete -F _o3 o3
"""


def indent(lines, n):
    return "\n".join(" " * n + line for line in lines)


def zsh_text(text):
    text = re.split(r"(?<=\w)[;:] |\. ", text)[0]
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh_action(o, values):
    if not o.value:
        return ""
    if values:
        return f":{o.value}:({quoted(values)})"
    return f":{o.value}:" + ("_files" if o.value == "FILE" else "_files -/" if o.value == "DIR" else " ")


def zsh_option(c, o, rows):
    action = zsh_action(o, values_of(c.name, o, rows)).replace("'", "")
    text = f"[{zsh_text(o.help)}]" if o.help else ""
    mark = "=" if o.value else ""
    lines = [f"'*{o.name}{mark}{text}{action}'"]
    return lines + ([f"'*{o.short}+{text}{action}'"] if o.short and o.value else [f"'{o.short}{text}'"] if o.short else [])


def zsh_positional(c):
    if c.name == "preset":
        return [f"'1:what to do:({quoted(WORDS['preset'])})'", f"'2:preset:({quoted(PRESETS)})'"]
    if c.name in WORDS:
        return [f"'1:what to do:({quoted(WORDS[c.name])})'"]
    return ["'*:file:_files'"] if c.name in FILES else []


def zsh_command(c, rows):
    lines = [z for o in all_options(c) for z in zsh_option(c, o, rows)] + zsh_positional(c)
    if c.takes_keys:
        lines.append('"${keys[@]}"')
    body = " \\\n            ".join(lines)
    return f"    {c.name})\n        _arguments -s -S \\\n            {body}\n        ;;"


def completion_zsh(all_commands, rows):
    table = "\n".join(f"        '{c.name}:{zsh_text(c.summary)}'" for c in all_commands)
    choices = dict(key_cases(rows))
    keys = ["        '*--config.file=[the configuration]:FILE:_files'"]
    for r in rows:
        action = f"({quoted(choices[r['key']])})" if r["key"] in choices else " "
        keys.append(f"        '*--{r['key']}=[{zsh_text(r['help'])}]:value:{action}'")
    cases = "\n".join(zsh_command(c, rows) for c in all_commands)
    newline = "\n"
    return f"""#compdef o3
# {HEAD}
# {MADE}

_o3() {{
    local -a commands keys
    commands=(
{table}
    )
    keys=(
{newline.join(keys)}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}

_o3 "$@"
"""


def first_part(text):
    return re.split(r"; |: |\. ", text)[0]


def fish_quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_option(c, o, rows):
    line = f"complete -c o3 -n '__fish_seen_subcommand_from {c.name}' -l {o.name[2:]}"
    if o.short:
        line += f" -s {o.short[1:]}"
    values = values_of(c.name, o, rows)
    if o.value:
        line += " -r" + (f" -f -a {fish_quote(quoted(values))}" if values else " -F" if is_file(o) else " -f")
    return line + (f" -d {fish_quote(first_part(o.help))}" if o.help else "")


def completion_fish(all_commands, rows):
    configured = quoted(c.name for c in all_commands if c.takes_keys)
    out = ["# fish completion of o3", f"# {HEAD}", f"# {MADE}", "", "complete -c o3 -f"]
    out += [f"complete -c o3 -n __fish_use_subcommand -a {c.name} -d {fish_quote(c.summary)}" for c in all_commands]
    for c in all_commands:
        out.append("")
        if c.name in WORDS:
            none = f"not __fish_seen_subcommand_from {quoted(WORDS[c.name])}"
            out.append(f"complete -c o3 -n '__fish_seen_subcommand_from {c.name}; and {none}' -a '{quoted(WORDS[c.name])}'")
        if c.name == "preset":
            out.append(f"complete -c o3 -n '__fish_seen_subcommand_from preset; and __fish_seen_subcommand_from get' -a '{quoted(PRESETS)}'")
        if c.name in FILES:
            out.append(f"complete -c o3 -n '__fish_seen_subcommand_from {c.name}' -F")
        out += [fish_option(c, o, rows) for o in all_options(c)]
    choices = dict(key_cases(rows))
    out.append("")
    out.append(f"complete -c o3 -n '__fish_seen_subcommand_from {configured}' -l config.file -r -F -d 'the configuration'")
    for r in rows:
        values = f" -a {fish_quote(quoted(choices[r['key']]))}" if r["key"] in choices else ""
        out.append(f"complete -c o3 -n '__fish_seen_subcommand_from {configured}' -l {r['key']} -r -f{values} -d {fish_quote(r['help'])}")
    return "\n".join(out) + "\n"


# ---- all of it ----


def pages(binary):
    """{path in the repository: text}"""
    all_commands, rows = commands(binary), table(binary)
    version = run(binary, "version").split()[1]
    return {
        "src/doc/o3.1": page_o3(binary, all_commands, version),
        "src/doc/o3.yaml.5": page_yaml(rows, version),
        "src/package/completions/o3.bash": completion_bash(all_commands, rows),
        "src/package/completions/_o3": completion_zsh(all_commands, rows),
        "src/package/completions/o3.fish": completion_fish(all_commands, rows),
    }


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    stale = []
    for name, text in pages(sys.argv[1]).items():
        path = ROOT / name
        if "--check" in sys.argv:
            stale += [name] if not path.exists() or path.read_text() != text else []
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        sys.exit(f"not as the program says; run ./dev docs: {' '.join(stale)}")


if __name__ == "__main__":
    main()
