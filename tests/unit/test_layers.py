"""The package's layers: imports point down only, and the core's modules import nothing heavy at their top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "polystill"

# docs/architecture.md shows the same list. Names of one line do not import each other.
LAYERS = [
    {"cli"},
    {"drafting", "cluster"},
    {"pipeline", "picking", "bench", "reporting", "serving"},
    {"evaluation", "targets", "translation"},
    {"training", "export"},
    {"decoding"},
    {"models"},
    {"data"},
    {"runs"},
    {"config"},
    {"sources", "objectives"},
    {"documents"},
    {"languages", "schema", "environment", "storage", "progress", "students", "placement"},
    {"errors"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# What a device runs: these must load where nothing but the core install is.
CORE = [
    *("__main__", "cli/*", "errors", "languages", "placement", "progress", "students", "storage", "translation"),
    *("environment/*", "runs/*", "evaluation/__init__", "evaluation/measure", "evaluation/speed"),
    *("documents/*", "data/__init__", "data/normalization", "data/tokenizer"),
    *("sources/__init__", "sources/built_in"),
    *(f"decoding/{name}" for name in ("__init__", "engine", "translator", "ctranslate2", "torch", "stream")),
    *(f"export/{name}" for name in ("__init__", "format", "huggingface", "ctranslate2", "argos", "onnx", "marian")),
    *("export/pymarian", "export/bergamot", "export/sparse"),
]
HEAVY = {"torch", "transformers", "datasets", "pyarrow", "sacrebleu", "pydantic", "safetensors", "accelerate", "tqdm"}


def modules() -> list[Path]:
    entry_points = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
    return sorted(path for path in PACKAGE.rglob("*.py") if path not in entry_points)


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all imported modules, or of what is imported from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(source: str, own: str) -> list[str]:
    """Imports of one module of the part `own` that do not point down."""
    found = []
    for name in imported(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != "polystill" or parts[1].startswith("__"):
            continue
        if parts[1] != own and LEVEL[parts[1]] <= LEVEL[own]:
            found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no layer: add it to LAYERS and to docs/architecture.md"
    assert violations(path.read_text(encoding="utf-8"), own) == []


def test_a_wrong_import_is_found() -> None:
    source = "def f():\n    from polystill import training\n    from polystill.decoding.beam import x\n"
    assert violations(source, "models") == ["polystill.training", "polystill.decoding.beam.x"]
    assert violations("from polystill.training import loop", "decoding") == ["polystill.training.loop"]
    assert violations("from polystill.objectives import nll", "sources") == ["polystill.objectives.nll"]  # one line
    assert violations("from polystill.data.tokenizer import Tokenizer\nimport torch", "models") == []


ROOT = PACKAGE.parents[1]
ROOTS = {"src": ROOT / "src", "experiments": ROOT, "tools": ROOT}
"""Where module names of each folder begin."""


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for folder, root in ROOTS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    graph = {
        name: {full if full in names else full.rpartition(".")[0] for full in imported(ast.parse(path.read_text()))}
        for name, path in names.items()
    }
    assert any(name.startswith("experiments.") and imports for name, imports in graph.items())
    list(TopologicalSorter(graph).static_order())
    with pytest.raises(CycleError, match="cycle"):
        list(TopologicalSorter({**graph, "polystill.errors": {"polystill.storage"}}).static_order())


def at_import(path: Path) -> set[str]:
    """Top names of what a module imports when it is imported itself."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    plain = [statement for statement in statements if isinstance(statement, ast.Import | ast.ImportFrom)]
    return {name.split(".")[0] for statement in plain for name in imported(statement)}


@pytest.mark.parametrize("path", sorted({path for name in CORE for path in PACKAGE.glob(f"{name}.py")}), ids=str)
def test_core_imports_nothing_heavy(path: Path) -> None:
    assert at_import(path) & HEAVY == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("serving/*.py")), ids=lambda path: path.name)
def test_serving_imports_nothing_of_training(path: Path) -> None:
    assert at_import(path) & HEAVY <= {"pydantic"}  # which FastAPI brings


def test_documented_layers_are_these() -> None:
    text = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.split("```layers\n")[1].split("```")[0]
    documented = [set(line.split("#")[0].split()) for line in block.splitlines()]
    assert documented == LAYERS
