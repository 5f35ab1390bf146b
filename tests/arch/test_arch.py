# SPDX-License-Identifier: Apache-2.0
"""Rules of the source tree that no compiler checks. Each failure names file and line."""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC, INCLUDE = ROOT / "src", ROOT / "include"

# Includes point to the left only. Folders of one rank do not see each other's private headers: they talk through include/o3.
RANK = {"base": 0, "conf": 1, "ollama": 1, "probe": 1, "stat": 1, "drift": 1, "preset": 1, "publish": 1, "metrics": 1, "host": 1, "sim": 1,
        "judge": 2, "sidecar": 2, "rehearsal": 2, "io": 3, "app": 4, "cli": 5}
CORE = [name for name, rank in RANK.items() if rank <= 2]

# One third-party library per file, and only in these.
THIRD_PARTY = {
    "curl/curl.h": {"src/io/http_client.c", "src/io/http_options.c", "src/io/loop.c"},
    "microhttpd.h": {"src/io/http_server_internal.h"},
    "gnutls/gnutls.h": {"src/io/tls_rules.h"},
    "gnutls/x509.h": {"src/io/tls.c"},
    "crypt.h": {"src/io/password.c"},
    "sqlite3.h": {"src/io/store_internal.h"},
    "zlib.h": {"src/io/gzip.c"},
}
# Readers and writers of formats may stand in these folders and files, not elsewhere.
THIRD_PARTY_FOLDERS = {
    "yaml.h": {"src/conf", "src/preset", "src/sim"},
    "jansson.h": {"src/base", "src/ollama", "src/probe", "src/preset", "src/publish", "src/conf", "src/drift", "src/metrics", "src/sim", "src/sidecar", "src/app", "src/cli"},
    "nettle/": {"src/base"},
}
BANNED = ["sprintf", "vsprintf", "strcpy", "strcat", "strtok", "atoi", "atol", "atof", "gets", "rand", "srand", "random", "localtime",
          "gmtime", "ctime", "setlocale", "system", "popen", "mktemp", "tmpnam", "alloca", "strncpy"]


def files(*suffixes, under=("src", "include", "tests")):
    return sorted(p for top in under for p in (ROOT / top).rglob("*") if p.suffix in suffixes and "__pycache__" not in p.parts)


def name(path):
    return str(path.relative_to(ROOT))


def code_of(path):
    """The text without comments and string contents, line numbers kept."""
    blank = lambda m: re.sub(r"[^\n]", " ", m[0])
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, path.read_text(), flags=re.S)


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if found:
            yield number, found[1] == "<", found[2]


def test_includes_point_left():
    wrong = []
    for path in files(".c", ".h", under=("src",)):
        folder = path.relative_to(SRC).parts[0]
        for number, is_system, what in includes(path):
            if is_system or what.startswith("o3/"):
                continue
            target = what.split("/")[0] if "/" in what else folder
            allowed = target == folder or (target in RANK and RANK[target] < RANK[folder] and (RANK[folder] >= 3 or RANK[target] == 0))
            if not allowed:
                wrong.append(f"{name(path)}:{number}: {what}")
    for path in files(".h", ".def", under=("include",)):
        wrong += [f"{name(path)}:{n}: {what}" for n, is_system, what in includes(path) if not is_system and not what.startswith("o3/")]
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_folder_has_a_rank():
    folders = {p.name for p in SRC.iterdir() if p.is_dir() and any(p.glob("*.c"))}
    assert folders - set(RANK) == set()


def test_third_party_headers_stand_in_named_files():
    wrong = []
    for path in files(".c", ".h", under=("src", "include")):
        found = set()
        for number, _, what in includes(path):
            if what in THIRD_PARTY:
                found.add(what)
                if name(path) not in THIRD_PARTY[what]:
                    wrong.append(f"{name(path)}:{number}: {what}")
            for prefix, folders in THIRD_PARTY_FOLDERS.items():
                if what.startswith(prefix):
                    found.add(prefix)
                    if not any(name(path).startswith(folder + "/") for folder in folders):
                        wrong.append(f"{name(path)}:{number}: {what}")
        if len(found) > 1 and name(path).startswith("src/io/"):
            wrong.append(f"{name(path)}: more than one library: {sorted(found)}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_banned_functions():
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    # malloc(n * size) overflows silently; calloc or a checked helper does not.
    product = re.compile(r"(?<![\w])(malloc|realloc)\s*\([^;]*?\*[^;]*?\)\s*;")
    wrong = []
    for path in files(".c", ".h", under=("src", "include")):
        for number, line in enumerate(code_of(path).splitlines(), 1):
            found = pattern.search(line)
            if found:
                wrong.append(f"{name(path)}:{number}: {found[1]}")
            if product.search(re.sub(r"\bsizeof\s*\(?\s*\*\s*\w+(->\w+)*\)?", "size", line)):
                wrong.append(f"{name(path)}:{number}: product in malloc")
    assert not wrong, "\n" + "\n".join(wrong)


def core_library():
    for preset in (os.environ.get("O3_ARCH_BUILD"), "release"):
        path = preset and ROOT / "build" / preset / "libo3core.a"
        if path and path.exists():
            return path
    pytest.skip("build/release/libo3core.a is not built: ./dev run or ./dev test builds it")


def symbols(flag):
    text = subprocess.run(["nm", flag, str(core_library())], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines() if len(line.split()) >= 2 and not line.endswith(":")}


def plain(symbol):
    """The function behind its fortified variant."""
    return re.sub(r"^__(\w+)_chk$", r"\1", symbol)


def test_core_calls_nothing_that_knows_the_world():
    """No socket, file, clock, environment, locale or thread: what the core needs from outside comes as a parameter."""
    lines = (ROOT / "tests/arch/core_symbols.txt").read_text().splitlines()
    allowed = [word for line in lines for word in line.split("#")[0].split()]
    unknown = {s for s in symbols("-u") - symbols("--defined-only") if not any(fnmatch.fnmatchcase(plain(s), a) for a in allowed)}
    # The compiler's own helpers are no calls of ours.
    unknown -= {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert not unknown, "\n" + "\n".join(sorted(unknown))


def test_streams_in_the_core_belong_to_assertions():
    """fprintf, stderr and abort are allowed for a failed assertion alone."""
    wrong = []
    for folder in CORE:
        for path in sorted((SRC / folder).glob("*.[ch]")):
            for number, line in enumerate(code_of(path).splitlines(), 1):
                if re.search(r"\b(fprintf|stderr|abort|printf|puts|fopen|perror)\b", line) and name(path) != "src/base/err.c":
                    wrong.append(f"{name(path)}:{number}: {line.strip()}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_draws_of_chance_have_an_order():
    """C leaves open which operand of a sum or which argument is computed first, and compilers differ."""
    wrong = []
    for folder in CORE:
        for path in sorted((SRC / folder).glob("*.[ch]")):
            line = 1
            for statement in re.split(r"([;{}])", code_of(path)):
                if len(re.findall(r"\bo3_rand_(?:u64|uniform|normal|below)\(", statement)) > 1 and name(path) != "src/base/rand.c":
                    wrong.append(f"{name(path)}:{line}: two draws in one statement")
                line += statement.count("\n")
    assert not wrong, "\n" + "\n".join(wrong)


HEADERS = [p.name for p in sorted((INCLUDE / "o3").glob("*.h"))]


@pytest.mark.parametrize("header", HEADERS)
def test_public_header_compiles_alone(tmp_path, header):
    source = tmp_path / "alone.c"
    source.write_text(f'#include "o3/{header}"\n#include "o3/{header}"\nint o3_alone;\n')
    common = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}"]
    subprocess.run(["gcc", "-std=c17", "-pedantic-errors", *common, str(source)], check=True)
    # _GNU_SOURCE is C++'s default; designated initialisers of the macros are not expanded here.
    subprocess.run(["g++", "-x", "c++", "-std=c++17", *common, str(source)], check=True)


def tracked():
    if not shutil.which("git") or not (ROOT / ".git").exists():
        skip = {"build", "o3_results", ".git", "__pycache__", ".pytest_cache"}
        return sorted(p for p in ROOT.rglob("*") if p.is_file() and not skip & set(p.relative_to(ROOT).parts))
    # New files count as well: a rule should speak before the commit.
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(ROOT / line for line in listing.splitlines() if (ROOT / line).is_file())


def text_of(path):
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""  # corpora and other bytes


def test_spdx_line_comes_first():
    kinds = {".c", ".h", ".def", ".py", ".sh", ".cmake", ".yaml", ".yml", ".ini"}
    sources = [p for p in tracked() if (p.suffix in kinds or p.name in ("CMakeLists.txt", "dev")) and "corpus" not in p.parts and "golden" not in p.parts]
    sources.remove(SRC / "doc/o3.yaml")  # made by the program for people to copy
    missing = [name(p) for p in sources if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text_of(p).splitlines()[:2])]
    assert not missing, "\n" + "\n".join(missing)


def test_number_tables_are_as_their_script_makes_them():
    done = subprocess.run([sys.executable, str(SRC / "base/make_num_tables.py")], capture_output=True, text=True, check=True)
    assert done.stdout == (SRC / "base/num_tables.h").read_text()


def test_no_path_of_somebodys_machine():
    pattern = re.compile(r"(?<![\w.])/(home|root|Users|work|opt|mnt)/\w+")
    wrong = []
    for path in tracked():
        if path == pathlib.Path(__file__).resolve() or path.name == "LICENSE":
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            found = pattern.search(line)
            if found:
                wrong.append(f"{name(path)}:{number}: {found[0]}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_text_files_are_clean():
    wrong = []
    for path in tracked():
        if {"corpus", "golden", "data", "transcripts"} & set(path.parts) or path.suffix not in {".c", ".h", ".def", ".py", ".md", ".cmake", ".txt", ".yaml", ""}:
            continue
        text = text_of(path)
        if not text:
            continue
        if "\r" in text or "\t" in text and path.name not in ("LICENSE",):
            wrong.append(f"{name(path)}: tab or carriage return")
        if not text.endswith("\n") or re.search(r"[ ]+$", text, re.M):
            wrong.append(f"{name(path)}: space at a line's end, or no newline at the end")
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_marks_left():
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = [f"{name(p)}:{n}" for p in files(".c", ".h", ".def", ".py") if p != pathlib.Path(__file__).resolve()
             for n, line in enumerate(p.read_text().splitlines(), 1) if pattern.search(line)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_architecture_page_names_every_folder():
    page = (SRC / "doc/ARCHITECTURE.md").read_text()
    assert len(page.splitlines()) <= 200
    folders = [f"src/{p.name}" for p in SRC.iterdir() if p.is_dir()] + [f"tests/{p.name}" for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name != "__pycache__"]
    missing = [f for f in folders if not re.search(rf"`{re.escape(f)}/?`", page)]
    assert not missing, "\n" + "\n".join(missing)


def test_links_in_the_prose_lead_somewhere():
    wrong = []
    for path in tracked():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text()):
            if not (path.parent / target).exists():
                wrong.append(f"{name(path)}: {target}")
    assert not wrong, "\n" + "\n".join(wrong)
