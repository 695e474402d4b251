"""Which way imports point. A wrong arrow fails here, with the module that drew it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from raylike import pipeline, stage_names

ROOT = Path(__file__).parents[2]
HOUSES = ("actors", "raylike", "cli")
MAY_IMPORT_RAY = (
    "actors",
    "raylike.stages",
    "raylike.pipeline",
    "raylike.cluster",
    "raylike.serving",
    "raylike.submission",
)
HEAVY = {"ray", "torch", "pydantic", "pyarrow", "numpy", "pandas", "cv2", "sklearn", "deltalake"}


@dataclass(frozen=True)
class Arrow:
    """One import: `source` is the importing module; `typing_only` if it stands under TYPE_CHECKING."""

    source: str
    target: str
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, packages: str | tuple[str, ...]) -> bool:
    names = (packages,) if isinstance(packages, str) else packages
    return any(module == name or module.startswith(f"{name}.") for name in names)


def imports(node: ast.AST, source: str, typing_only: bool = False) -> Iterator[Arrow]:
    """Every import at any depth; `from a import b` counts as a and as a.b, since b may be a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Arrow(source, alias.name, typing_only)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{source}: a relative import"
            for alias in child.names:
                yield Arrow(source, f"{child.module}.{alias.name}", typing_only)
        else:
            guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from imports(child, source, typing_only or guarded)


MODULES = {module_name(path): path for house in HOUSES for path in (ROOT / house).rglob("*.py")}
ARROWS = [
    arrow
    for name, path in MODULES.items()
    for arrow in imports(ast.parse(path.read_text(encoding="utf-8")), name)
]


def wrong(source: str | tuple[str, ...], target: str | tuple[str, ...]) -> list[str]:
    return [str(a) for a in ARROWS if within(a.source, source) and within(a.target, target)]


def test_actors_know_nothing_of_photos() -> None:
    assert wrong("actors", ("raylike", "cli")) == []


def test_the_library_knows_nothing_of_the_command_line() -> None:
    assert wrong("raylike", "cli") == []


def test_nothing_that_is_shipped_imports_tests() -> None:
    assert wrong(HOUSES, ("tests", "pytest", "hypothesis")) == []


def test_only_the_seams_import_ray() -> None:
    """Types alone may be named elsewhere: `workspace.py` promises a data set."""
    found = [
        str(a)
        for a in ARROWS
        if within(a.target, "ray") and not within(a.source, MAY_IMPORT_RAY) and not a.typing_only
    ]
    assert found == []


def stage_of(module: str) -> str:
    """A stage is a module, or a package whose modules know each other."""
    return ".".join(module.split(".")[:3])


def test_stages_meet_in_tables_and_never_import_each_other() -> None:
    found = [
        str(a)
        for a in ARROWS
        if within(a.source, "raylike.stages")
        and within(a.target, "raylike.stages")
        and not within(a.target, stage_of(a.source))
    ]
    assert found == []


@pytest.mark.parametrize("package", ["providers", "vision", "learning", "report", "simulator"])
def test_plain_packages_do_not_reach_up_to_stages(package: str) -> None:
    assert wrong(f"raylike.{package}", ("raylike.stages", "raylike.pipeline", "raylike.stage")) == []


def test_imports_go_in_no_circle() -> None:
    """Those inside functions count; those for types alone do not."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for arrow in ARROWS:
        target = arrow.target if arrow.target in MODULES else arrow.target.rpartition(".")[0]
        if target in MODULES and not arrow.typing_only and not within(arrow.source, target):
            graph[arrow.source].add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


GROUND_FLOOR = (
    "errors",
    "config",
    "tables",
    "progress",
    "lease",
    "object_store",
    "place",
    "commits",
    "workspace",
)


@pytest.mark.parametrize("module", GROUND_FLOOR)
def test_the_ground_floor_stands_on_itself(module: str) -> None:
    ground = {f"raylike.{name}" for name in GROUND_FLOOR}
    found = [
        str(a)
        for a in ARROWS
        if a.source == f"raylike.{module}"
        and within(a.target, HOUSES)
        and not within(a.target, tuple(ground))
        # A table opens as a Ray data set through one door, imported when it is used.
        and (a.source, a.target) != ("raylike.workspace", "raylike.cluster.read_parquet")
    ]
    assert found == []


def test_only_the_evaluation_opens_the_simulators_truth() -> None:
    found = [
        str(a)
        for a in ARROWS
        if within(a.target, "raylike.simulator.truth") and a.source != "raylike.stages.classify.models"
    ]
    assert found == []


@pytest.mark.parametrize("house", HOUSES)
def test_each_house_is_the_one_of_this_project(house: str) -> None:
    """A package of the same name from elsewhere would take its place if both were installed."""
    found = __import__(house).__file__
    assert found is not None
    assert Path(found).resolve().parent == ROOT / house


@pytest.mark.parametrize("name", sorted(MODULES))
def test_each_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))), f"{name} has no docstring"


def test_stage_names_are_those_of_the_pipeline() -> None:
    assert pipeline.NAMES == stage_names.STAGE_NAMES


def imported_by(code: str) -> set[str]:
    """Top-level packages that a fresh Python has imported after running `code`."""
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    code = """
from cli.main import app
try:
    app(["--help"])
except SystemExit:
    pass
"""
    assert imported_by(code) & HEAVY == set()


def test_the_library_is_light_until_it_is_used() -> None:
    assert imported_by("import raylike; dir(raylike)") & HEAVY == set()


def test_the_pipeline_imports_neither_ray_nor_torch() -> None:
    """So that a run with nothing to do ends at once."""
    assert imported_by("import raylike.pipeline") & {"ray", "torch", "sklearn"} == set()
