"""Count modules, lines, importers and long functions of src/, tools/ and experiments/: `python tools/count.py`."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONG_FILE, LONG_FUNCTION = 500, 30


def main() -> None:
    files = {name: sorted((ROOT / name).rglob("*.py")) for name in ("src", "tools", "experiments")}
    for name, paths in files.items():
        print(f"{name}: {len(paths)} modules, {sum(map(lines_of, paths)):,} lines")
    everything = [path for paths in files.values() for path in paths]
    print(f"all: {len(everything)} modules, {sum(map(lines_of, everything)):,} lines")
    print(f"over {LONG_FILE} lines: {[str(path) for path in everything if lines_of(path) > LONG_FILE]}")
    lengths = [length for path in everything for length in function_lengths(path)]
    share = sum(length > LONG_FUNCTION for length in lengths) / len(lengths)
    print(f"functions over {LONG_FUNCTION} lines: {share:.1%} of {len(lengths):,}")
    single = {name: users for name, users in importers(files["src"]).items() if len(users) == 1}
    print(f"modules with a single importer: {len(single)}")
    for name, (user,) in sorted(single.items()):
        print(f"  {name} <- {user}")


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def function_lengths(path: Path) -> list[int]:
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [(node.end_lineno or 0) - node.lineno + 1 for node in nodes if isinstance(node, functions)]


def importers(paths: list[Path]) -> dict[str, set[str]]:
    """The modules that import each module of the package; `__init__` files are left out."""
    names = {path: ".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in paths}
    known = {name: set[str]() for name in names.values() if not name.endswith("__init__")}
    for path, user in names.items():
        for module in imported(path) & known.keys():
            known[module].add(user)
    return known


def imported(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


if __name__ == "__main__":
    main()
