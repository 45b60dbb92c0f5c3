"""The server's two halves run under two Pythons: neither imports the other, nor the suite."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVER = ROOT / "labeling" / "server"
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
FILES = sorted(SERVER.rglob("*.py"))


def imported(text: str, package: str) -> set[str]:
    """The modules that a file of a package imports, anywhere in it, by their whole names."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def test_the_reader_sees_every_way_to_import() -> None:
    text = (
        "import labeling.pairs as a\ndef f():\n    from labeling.server import host\n"
        "from . import launch\nfrom ..host import users\n"
    )
    assert imported(text, "labeling.server.inside") == {
        *("labeling.pairs", "labeling.server.host", "labeling.server.inside.launch"),
        "labeling.server.host.users",
    }


def test_there_is_something_to_look_at() -> None:
    assert {"labeling", "inhouse", "review"} <= OURS
    assert {"host", "inside", "search"} <= {path.parent.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SERVER)))
def test_neither_half_imports_the_other_nor_the_suite(path: Path) -> None:
    package = ".".join(path.parent.relative_to(ROOT).parts)
    ours = {name for name in imported(path.read_text(), package) if name.split(".")[0] in OURS}
    assert all(name.startswith("labeling.server") for name in ours), ours
    half = path.relative_to(SERVER).parts[0]
    other = {"host": "inside", "inside": "host"}.get(half)
    if half == "folder.py":  # what both know must need neither
        assert not ours
    elif other:
        assert not any(name.startswith(f"labeling.server.{other}") for name in ours), ours
