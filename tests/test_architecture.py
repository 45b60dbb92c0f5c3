"""The house's walls: who may import whom, that configs load, and that what is documented parses."""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from compliance.rules import house_rules
from inhouse.config import RunOptions, parse
from review.gate import limits as gate_limits
from rlhf.online import rewards

ROOT = Path(__file__).parents[1]
STAGES = ("sft", "labeling", "reward", "rlhf", "review")
FLOORS = ("inhouse", "compliance")  # below the stages, the lowest first
PACKAGES = (*FLOORS, *STAGES, "examples")

# Every command of the suite that goes through inhouse.config: module, the module with its main.
COMMANDS = {
    "sft": "sft.train",
    "labeling.candidates": "labeling.candidates",
    "labeling.push": "labeling.push",
    "labeling.pull": "labeling.pull",
    "labeling.preferences": "labeling.preferences",
    "reward": "reward.train",
    "rlhf.dpo": "rlhf.dpo",
    "rlhf.kto": "rlhf.kto",
    "rlhf.ppo": "rlhf.ppo",
    "rlhf.rloo": "rlhf.rloo",
    "review": "review.evaluate",
    "review.memorisation": "review.memorisation.audit",
    "review.memorisation.canaries": "review.memorisation.canaries",
    "review.verdicts push": "review.verdicts.push",
    "review.verdicts pull": "review.verdicts.pull",
}
TRL = {
    "sft": ("SFTConfig", "ModelConfig"),
    "reward": ("RewardConfig", "ModelConfig"),
    "rlhf.dpo": ("DPOConfig", "ModelConfig"),
    "rlhf.kto": ("KTOConfig", "ModelConfig"),
    "rlhf.ppo": ("RLOOConfig", "ModelConfig"),
    "rlhf.rloo": ("RLOOConfig", "ModelConfig"),
}


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, as a full dotted name."""
    names: set[str] = set()
    own = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(own[: len(own) - node.level]) if node.level else ""
            whole = ".".join(filter(None, [base, node.module or ""]))
            names |= {whole} | {f"{whole}.{alias.name}" for alias in node.names}
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute | ast.Name)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names.add(str(node.args[0].value))
    return names


def packages_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)} & set(PACKAGES)


# --- imports ----------------------------------------------------------------------------------


def test_the_import_reader_sees_every_way_to_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "sft").mkdir()
    path = tmp_path / "sft" / "x.py"
    path.write_text(
        "import reward\nimport inhouse.run as r\ndef f():\n    from rlhf import dpo\n"
        "from . import prepare\nimport importlib\nimportlib.import_module('review.report')\n"
    )
    assert {"reward", "inhouse.run", "rlhf.dpo", "sft.prepare", "review.report"} <= imported(path)


def test_there_is_something_to_look_at():
    assert len(modules(*PACKAGES)) > 30


@pytest.mark.parametrize("path", modules("inhouse"), ids=str)
def test_inhouse_imports_no_stage_and_no_example(path):
    assert packages_of(path) <= {"inhouse"}


@pytest.mark.parametrize("path", modules("compliance"), ids=str)
def test_compliance_imports_itself_and_inhouse_only(path):
    assert packages_of(path) <= set(FLOORS)


@pytest.mark.parametrize("path", modules(*STAGES), ids=str)
def test_a_stage_imports_itself_and_the_floors_below_only(path):
    assert packages_of(path) <= {path.relative_to(ROOT).parts[0], *FLOORS}


def arrows() -> dict[Path, set[Path]]:
    """Which of our files each of them imports, wherever in it the import stands."""
    by_name = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in modules(*PACKAGES)}
    by_name |= {name.removesuffix(".__init__"): p for name, p in by_name.items()}
    return {
        path: {by_name[name] for name in imported(path) & by_name.keys()} - {path}
        for path in modules(*PACKAGES)
    }


def circle(below: dict[Path, set[Path]]) -> list[Path]:
    """Files that import one another in a circle, or none."""
    left = {path: set(others) for path, others in below.items()}
    while free := [path for path, others in left.items() if not others]:
        for path in free:
            del left[path]
        for others in left.values():
            others.difference_update(free)
    return sorted(left)


def test_a_circle_is_found():
    a, b, c = map(Path, "abc")
    assert circle({a: {b}, b: {c}, c: set()}) == []
    assert circle({a: {b}, b: {a}, c: {a}}) == [a, b, c]


def test_no_two_files_import_each_other_however_far_round():
    found = arrows()
    assert sum(map(len, found.values())) > 300, "there is something to look at"
    assert circle(found) == []


MOST_FILES = 14  # in a folder, its __init__.py counted


def test_no_folder_is_a_long_flat_list():
    counts = Counter(path.parent for path in modules(*PACKAGES, "benchmarks"))
    long = {f.relative_to(ROOT): n for f, n in counts.items() if n > MOST_FILES}
    assert long == {}


def has_main(path: Path) -> bool:
    """Whether a file can be run: it defines ``main``, or asks whether it is run."""
    return any(
        (isinstance(node, ast.FunctionDef) and node.name in ("main", "_main"))
        or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


def test_what_others_import_is_no_command():
    # A command is a __main__.py, or a stage's file whose main nobody but its __main__.py takes.
    commands = {path for path in modules(*PACKAGES) if has_main(path)}
    assert len(commands) > 20
    taken = {
        (path.relative_to(ROOT), other.relative_to(ROOT))
        for path, others in arrows().items()
        if path.name != "__main__.py"
        for other in others & commands
    }
    assert taken == set()


@pytest.mark.parametrize("path", modules("labeling/server"), ids=str)
def test_the_server_stands_alone(path):
    # It runs in an environment of its own, where none of the suite's packages are installed.
    names = imported(path)
    assert "inhouse" not in {name.split(".")[0] for name in names}
    others = {n for n in names if n.startswith("labeling") and not n.startswith("labeling.server")}
    assert others <= {"labeling"}


def test_the_parent_package_of_the_server_is_empty():
    assert (ROOT / "labeling" / "__init__.py").read_text() == ""


def test_no_module_is_called_after_nothing():
    forbidden = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [p for p in modules(*PACKAGES) if p.name in forbidden] == []


def test_every_package_that_is_shipped_is_listed_by_name():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in modules(*FLOORS, *STAGES)
        if path.name == "__init__.py"
    }
    assert set(listed) == found


@pytest.mark.parametrize("path", modules(*FLOORS, *STAGES), ids=str)
def test_every_module_says_what_it_is_for(path):
    if path != ROOT / "labeling" / "__init__.py":
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


# --- configs ----------------------------------------------------------------------------------

COMPOSE = ROOT / "configs" / "argilla" / "compose.yaml"  # Docker's, not ours
ACCELERATE = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))  # accelerate's own
FOLDERS = [path.parent for path in sorted((ROOT / "configs" / "house").rglob("rules.yaml"))]
IN_FOLDERS = {path for folder in FOLDERS for path in folder.rglob("*.yaml")}
CONFIGS = sorted(
    set((ROOT / "configs").rglob("*.yaml")) - {COMPOSE, *ACCELERATE, *IN_FOLDERS} | set(FOLDERS)
)
FILES = {
    **{module.split(".")[-1].replace(" ", "_"): module for module in COMMANDS},  # <stage>.yaml
    "data": "examples.asdfg.prepare",
}


def own_dataclasses(module: str) -> list[type]:
    """The dataclasses that a stage hands to ``parse`` beside TRL's: its own and shared options."""
    loaded = importlib.import_module(COMMANDS.get(module, module))
    main = ast.parse(inspect.getsource(loaded.main))
    (call,) = (
        n
        for n in ast.walk(main)
        if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("parse")
    )
    named = [n.value for n in ast.walk(main) if ast.unparse(n).startswith("kinds = (")]
    words = [
        n.id for part in (*call.args, *named) for n in ast.walk(part) if isinstance(n, ast.Name)
    ]
    kinds = [getattr(loaded, word) for word in words if word not in ("STAGE", "kinds")]
    assert kinds and all(map(dataclasses.is_dataclass, kinds)), words
    return kinds


def stage_of(module: str):
    return importlib.import_module(COMMANDS.get(module, module)).STAGE


def test_all_configs_are_found():
    # A count, so that a folder that is no longer looked into is noticed.
    assert len(CONFIGS) == 32
    assert [path.name for path in ACCELERATE] == ["ddp.yaml", "fsdp2.yaml"]
    assert {path.parent.name for path in CONFIGS} == {"configs", "asdfg", "open", "house"}


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.name)
def test_accelerate_knows_every_key_of_its_configs(path):
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes == 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_config_loads_as_what_its_name_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    if path.parent.name == "house":
        assert house_rules.load(path).rules
        return
    if path.stem == "rewards":  # no command's settings: what a reward is composed of
        assert rewards.read(path).weights
        return
    if path.stem == "gate":  # what a model has to show
        assert gate_limits.read(path).not_asked == []
        return
    module = FILES[path.stem]
    parsed = parse(
        stage_of(module),
        *own_dataclasses(module),
        trl=TRL.get(module, ()),
        argv=["--config", str(path), "--run_dir", str(tmp_path)],
    )
    assert parsed.config_file == path
    for key in ("house_rules", "dataset_name", "model_name_or_path", "story_prompts"):
        named = parsed.settings.get(key) or []
        for path in [named] if isinstance(named, str) else named:
            made = path.startswith("runs/")  # by a command before
            assert made or (ROOT / path).exists(), f"{key} names no file: {path}"


def test_the_stock_argilla_is_whole_and_keeps_to_this_machine():
    services = YAML(typ="safe").load(COMPOSE)["services"]
    images = " ".join(service["image"] for service in services.values())
    for part in ("argilla-server:v2.8.0", "elasticsearch", "postgres", "redis"):
        assert part in images
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("module", COMMANDS)
def test_every_stage_keeps_its_own_options_few_and_explained(module):
    for kind in own_dataclasses(module):
        entries = dataclasses.fields(kind)
        assert 0 < len(entries) <= 15
        for entry in entries:
            assert entry.metadata.get("help"), f"{kind.__name__}.{entry.name} has no help"


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", COMMANDS)
def test_help_answers_in_a_second_and_lists_the_stages_own_options(module):
    seconds = []
    for _ in range(5):  # the best of five: other processes may have the cores
        before = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", *module.split(), "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds.append(time.monotonic() - before)
        assert ended.returncode == 0, ended.stderr
        if seconds[-1] <= 1:
            break
    for kind in (RunOptions, *own_dataclasses(module)):
        for entry in dataclasses.fields(kind):
            assert f"--{entry.name}" in ended.stdout
    assert ended.stdout.startswith(f"python -m {module}")
    assert min(seconds) <= 1, seconds


PRINTS = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
print("⟦ █ … → − ✓ ü € 日 😀", "\\udcfc")
"""
WITH_MAIN = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"): path
    for path in modules(*PACKAGES)
    if path.name == "__main__.py" or "\nif __name__ ==" in path.read_text(encoding="utf-8")
}
# Takes no words: the suite's own half of the server, and what writes frozen files.
WITHOUT_HELP = {"labeling.server.inside.launch", "examples.asdfg.freeze"}


def test_the_commands_are_found():
    commands = {module.split()[0] for module in COMMANDS}
    assert len(WITH_MAIN) > 20 and commands | WITHOUT_HELP <= set(WITH_MAIN)


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted(set(WITH_MAIN) - WITHOUT_HELP))
def test_a_command_prints_anything_on_a_console_that_is_not_utf8(module, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", PRINTS, module],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.decode("ascii").strip()


# --- what is documented parses ----------------------------------------------------------------

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands_in(text: str) -> list[str]:
    """Every ``python -m …`` command of a text's code blocks, continued lines joined."""
    blocks: list[str] = []
    fence: list[str] | None = None
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            if fence is None:
                fence = []
            else:
                blocks.append("\n".join(fence))
                fence = None
        elif fence is not None:
            fence.append(line)
        elif line.startswith("    "):
            blocks.append(line)
        elif blocks and not line.strip():
            blocks.append("")
    joined = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
    found = re.findall(r"python -m [^\n|;&)]+", joined)
    # Two commands may stand on one line of an overview.
    return [part.strip() for line in found for part in re.split(r"\s{2,}(?=python -m )", line)]


def test_commands_are_found_in_fences_and_indented_blocks():
    text = (
        "Say `python -m not.this` in a line.\n\n```sh\n$ python -m sft --a 1 \\\n    --b 2  # why\n"
        "```\n\n    python -m x      python -m y --c\n\nend\n"
    )
    assert commands_in(text) == [
        "python -m sft --a 1  --b 2  # why",
        "python -m x",
        "python -m y --c",
    ]


DOCUMENTED = [
    (path.relative_to(ROOT), command)
    for path in DOCUMENTS
    if path.is_file()
    for command in commands_in(path.read_text(encoding="utf-8"))
]
DOCSTRINGS = [
    (path.relative_to(ROOT), command)
    for path in modules(*PACKAGES)
    for command in commands_in(ast.get_docstring(ast.parse(path.read_text())) or "")
]


def test_the_readme_shows_commands():
    assert len([command for path, command in DOCUMENTED if path.name == "README.md"]) >= 5


def known_flags(module: str) -> set[str]:
    """The flags of a command: its dataclasses' fields, or what its source adds to a parser."""
    if module in COMMANDS:
        import trl

        kinds = [RunOptions, *own_dataclasses(module)]
        kinds += [getattr(trl, name) for name in TRL.get(module, ())]
        names = {entry.name for kind in kinds for entry in dataclasses.fields(kind)}
        return names | {"config", "help", "help_all"}
    # Read, not run: these take seconds to import, and some have a parser for each verb.
    path = ROOT / module.replace(".", "/")
    tree = ast.parse(
        (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    )
    names = {"help"}
    through_config = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument"):
            first = node.args[0]
            if isinstance(first, ast.Constant) and str(first.value).startswith("--"):
                names.add(str(first.value).removeprefix("--"))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parse"):
            through_config = True
        if isinstance(node, ast.ClassDef) and "dataclass" in map(ast.unparse, node.decorator_list):
            names |= {ast.unparse(n.target) for n in node.body if isinstance(n, ast.AnnAssign)}
    if through_config:
        names |= {entry.name for entry in dataclasses.fields(RunOptions)} | {"config"}
    return names


@pytest.mark.parametrize(
    ("path", "line"), dict.fromkeys(DOCUMENTED + DOCSTRINGS), ids=lambda value: str(value)[:60]
)
def test_a_documented_command_exists_and_knows_its_flags(path, line):
    words = shlex.split(line.replace("…", "..."), comments=True)
    module = words[2]
    if importlib.util.find_spec(module.split(".")[0]) is None:
        pytest.fail(f"{path}: {line!r} names no module")
    if module in ("venv", "pip", "pytest", "http.server"):
        return
    if module == "accelerate":
        pytest.fail("write accelerate launch, not python -m accelerate")
    found = importlib.util.find_spec(module)
    assert found is not None, f"{path}: {line!r} names no module"
    if found.submodule_search_locations is not None:
        assert importlib.util.find_spec(f"{module}.__main__"), f"{path}: {module} is no command"
    flags = {word.removeprefix("--").split("=")[0] for word in words[3:] if word.startswith("--")}
    if " ".join(words[2:4]) in COMMANDS:  # a command of two words
        module = " ".join(words[2:4])
    if flags:
        unknown = flags - known_flags(module)
        assert not unknown, f"{path}: {line!r} has flags that {module} does not know: {unknown}"
