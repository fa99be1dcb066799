"""The rules that keep the parts apart and the files small, held by walking the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("rlreason", "rewards", "curricula")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

ADAPTERS = {"rollout", "learner", "weights", "cluster", "data"}
CONTRACTS = {"types", "protocols", "config", "errors", "plugins"}
FOUNDATION = CONTRACTS | {"algorithms"}
BUILDS = {"build", "build_cft", "build_parts", "build_ray", "build_sweep", "build_writers"}
CHECKS = {"preflight", "preflight_cft", "preflight_memory", "preflight_stages"}
COMPOSERS = BUILDS | CHECKS | {"doctor_trial", "restarting", "writer_process"}
"""What puts adapters together: builds and their halves, the doctor's trials, writers' processes."""

LIBRARY_HOMES = {
    "vllm": {"rlreason/weights/transfer.py"}
    | {f"rlreason/rollout/{name}.py" for name in ("vllm_engine", "adapters", "reload")},
    "peft": {"rlreason/learner/lora.py"},
    # cluster/inline.py sets one of its switches before the first process group.
    "deepspeed": {"rlreason/learner/deepspeed_learner.py", "rlreason/learner/sharded.py"},
    "ray": {str(p.relative_to(ROOT)) for p in SOURCES if p.match("rlreason/cluster/ray_*.py")},
}
HEAVY = ("torch", "vllm", "deepspeed", "transformers", "ray", "datasets", "plotly", "pyarrow")

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_NESTING = 3
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match, ast.AsyncFor, ast.AsyncWith)


class Imported(NamedTuple):
    """One import statement's target."""

    source: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.source.relative_to(ROOT)}:{self.line} imports {self.module}"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> Iterator[Imported]:
    """Every import, lazy ones too; ``from rlreason import x`` counts as ``rlreason.x``."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (Imported(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            module = str(node.module)
            if module in PACKAGES:
                for alias in node.names:
                    yield Imported(path, node.lineno, f"{module}.{alias.name}")
            else:
                yield Imported(path, node.lineno, module)


ALL_IMPORTS = [imported for path in SOURCES for imported in imports_of(path)]


def part_of(module: str) -> str | None:
    """``rlreason.data.pools`` -> ``data``; None for what is not rlreason's."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "rlreason" and rest else None


def home_of(path: Path) -> str:
    """``rlreason/data/pools.py`` -> ``data``; ``rewards/x.py`` -> ``rewards``."""
    package, *rest = path.relative_to(ROOT).parts
    return rest[0].removesuffix(".py") if package == "rlreason" else package


def test_the_walk_sees_the_packages() -> None:
    assert {home_of(path) for path in SOURCES} >= {"cli", "config", "rewards", "curricula"}
    assert any(imported.module == "torch" for imported in ALL_IMPORTS)


def test_adapters_import_neither_each_other_nor_the_orchestration() -> None:
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if (home := home_of(imported.source)) in ADAPTERS
        and (part := part_of(imported.module)) is not None
        and part not in FOUNDATION | {home}
    ]
    assert wrong == []


def test_only_the_build_imports_adapters() -> None:
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if part_of(imported.module) in ADAPTERS
        and home_of(imported.source) not in ADAPTERS | COMPOSERS
    ]
    assert wrong == []


def test_contracts_rest_on_nothing_but_each_other() -> None:
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if home_of(imported.source) in CONTRACTS
        and part_of(imported.module) not in {None} | CONTRACTS
    ]
    assert wrong == []


def test_algorithms_are_pure_functions_of_records() -> None:
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if home_of(imported.source) == "algorithms"
        and part_of(imported.module) not in {None, "algorithms", "types", "errors", "config"}
    ]
    assert wrong == []


def test_plug_ins_know_the_contracts_alone() -> None:
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if (home := home_of(imported.source)) in ("rewards", "curricula")
        and imported.module.partition(".")[0] in PACKAGES
        # plugins: a reward made of others finds them by path, as a recipe does.
        and part_of(imported.module) not in ("types", "protocols", "errors", "plugins")
        and not imported.module.startswith(f"{home}.")
    ]
    assert wrong == []


def test_rlreason_imports_no_plug_in() -> None:
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if imported.source.is_relative_to(ROOT / "rlreason")
        and imported.module.partition(".")[0] in ("rewards", "curricula")
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(LIBRARY_HOMES))
def test_a_distributed_library_is_imported_at_home_only(library: str) -> None:
    seen = {
        str(imported.source.relative_to(ROOT))
        for imported in ALL_IMPORTS
        if imported.module.partition(".")[0] == library
    }
    assert seen <= LIBRARY_HOMES[library]


def loaded_after(code: str) -> set[str]:
    """Heavy packages that a fresh interpreter holds after ``code``."""
    script = (
        f"{code}\nimport sys\nprint(*[n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_contracts_rewards_and_curricula_import_without_torch() -> None:
    light = CONTRACTS | {"rewards", "curricula", "config_file", "overrides", "strict_yaml"}
    names = [module_name(path) for path in SOURCES if home_of(path) in light]
    assert len(names) > 8
    assert "torch" not in loaded_after(f"import {', '.join(names)}")


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded_after("import torch") == {"torch"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["reward", "test", "--help"], ["sweep", "--help"], ["init"]],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"from rlreason.cli import app\ntry: app({arguments!r})\nexcept SystemExit: pass"
    assert loaded_after(code) == set()


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def nesting(node: ast.AST) -> int:
    """Depth of blocks; ``elif`` is no deeper than its ``if``, a function inside starts anew."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if not isinstance(child, ast.AST) or isinstance(child, ast.FunctionDef):
                continue
            is_elif = isinstance(node, ast.If) and field == "orelse" and len(children) == 1
            is_block = isinstance(child, BLOCKS) and not (is_elif and isinstance(child, ast.If))
            deepest = max(deepest, nesting(child) + is_block)
    return deepest


def test_nesting_is_counted_as_a_reader_would() -> None:
    def depth(text: str) -> int:
        return nesting(ast.parse(text).body[0])

    assert depth("def f():\n if a: pass\n elif b: pass\n elif c: pass") == 1
    assert depth("def f():\n for a in b:\n  if c:\n   with d: pass") == 3
    assert depth("def f():\n try: pass\n except E:\n  if c: pass\n else:\n  pass") == 2


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short_and_flat(path: Path) -> None:
    long = [
        node.name
        for node in functions_of(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    product = functions_of(path) if path in SOURCES else []
    deep = [node.name for node in product if nesting(node) > MAX_NESTING]
    assert (long, deep) == ([], [])


def test_no_file_is_named_after_nothing() -> None:
    vague = re.compile(r"(utils?|helpers?|common|base|misc|\w*managers?)\.py")
    assert [str(path) for path in SOURCES if vague.fullmatch(path.name)] == []


FORBIDDEN_CALLS = {"eval", "exec", "sympify", "parse_expr", "parse_latex", "unsafe_load"}


def forbidden_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls that could run text. ``model.eval()`` is a method of that name, and harmless."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
            yield node.lineno, function.id
        elif isinstance(function, ast.Attribute) and function.attr in FORBIDDEN_CALLS - {"eval"}:
            yield node.lineno, function.attr


def test_forbidden_calls_are_seen() -> None:
    text = "eval(x)\nmodel.eval()\nsympy.sympify(x)\nbuiltins.exec(x)\n"
    assert [line for line, _ in forbidden_calls(ast.parse(text))] == [1, 3, 4]


def test_no_text_is_ever_run() -> None:
    calls = [
        f"{path.relative_to(ROOT)}:{line} calls {name}"
        for path in SOURCES
        for line, name in forbidden_calls(tree_of(path))
    ]
    assert calls == []


def test_pickle_travels_from_the_driver_to_its_own_workers_alone() -> None:
    homes = {"scoring", "scoring_supervisor", "scoring_worker"}
    wrong = [
        str(imported)
        for imported in ALL_IMPORTS
        if imported.module.partition(".")[0] in ("pickle", "dill", "shelve", "marshal")
        and home_of(imported.source) not in homes
    ]
    assert wrong == []
