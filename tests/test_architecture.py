"""The house rules that no other tool checks: who may import whom, how large modules get, what they may be called, and
what the text may not contain.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from refit_mv.geometry.rotations import hat

ROOT = Path(__file__).resolve().parent.parent

# Imports point left only. Packages of one rank do not know each other, with the exceptions below.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"refit_mv"}),
    frozenset({"errors"}),
    frozenset({"ranges", "files", "progress", "status", "finding"}),
    frozenset({"fetching", "strict_yaml"}),
    frozenset({"kernels"}),
    frozenset({"geometry"}),
    frozenset({"body"}),
    frozenset({"motion"}),
    frozenset({"session"}),
    frozenset({"detect"}),
    frozenset({"solve"}),
    frozenset({"people"}),
    frozenset({"networks"}),
    frozenset({"image"}),
    frozenset({"optimizers"}),
    frozenset({"rigs"}),
    frozenset({"checks"}),
    frozenset({"take"}),
    frozenset({"edits"}),
    frozenset({"report"}),
    frozenset({"recipe"}),
    frozenset({"delivery", "person_solver", "profile_choice"}),
    frozenset({"fitting"}),
    frozenset({"pipeline", "refitting", "shape_request"}),
    frozenset({"farm", "view"}),
    frozenset({"workshop"}),
    frozenset({"cli"}),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
SIDEWAYS: set[tuple[str, str]] = set()
# The public face stands before everything, but programs reach everything through it: it may name what lies behind it,
# for type checkers, as long as nothing is imported with it. Inside the house its doors are not used.
FACE = "refit_mv"
BEHIND_NO_DOOR = {"workshop", "cli", "calib"}
CALIB_MAY_USE = {"geometry", "errors", "files", "progress", "strict_yaml", "finding"}
MAY_USE_CALIB = {"session", "rigs", "workshop", "cli"}

# Dependencies that must stay replaceable, and the only modules that may know them.
FENCES = {
    "aniposelib": ("calib",),
    "smplx": ("refit_mv.body",),
    "h5py": ("refit_mv.take.store", "refit_mv.session.keypoints.pandas_table"),
    "open3d": ("refit_mv.report", "refit_mv.motion"),
    "click": ("refit_mv.cli",),
    "anny": ("refit_mv.workshop.builders",),
    "numba": ("refit_mv.kernels",),
    "ai_edge_litert": ("refit_mv.detect",),
    "rtmlib": ("refit_mv.detect",),
    "onnxruntime": ("refit_mv.detect",),
    "pygltflib": ("refit_mv.motion",),
    "pxr": ("refit_mv.motion",),
    "ezc3d": ("refit_mv.motion",),
    "bpy": ("refit_mv.motion",),
    "dask": ("refit_mv.farm",),
    "distributed": ("refit_mv.farm",),
    "submitit": ("refit_mv.farm",),
    "fsspec": ("refit_mv.farm", "refit_mv.files"),
    "s3fs": ("refit_mv.farm",),
    "viser": ("refit_mv.view",),
}

LONGEST_MODULE = 400
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "common", "constants", "tools", "stuff"}


@dataclass(frozen=True)
class Import:
    """One import statement: who, what, and on which line. ``module`` is absolute; ``names`` are empty for
    ``import x``.
    """

    importer: str
    module: str
    names: tuple[str, ...]
    line: int
    lazy: bool = False


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, importer: str) -> Iterator[Import]:
    """Every import, also those inside functions: laziness does not excuse, but for the workshop in the command line."""
    tree = ast.parse(source)
    at_import = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        lazy = id(node) not in at_import
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, (), node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = () if node.level else tuple(alias.name for alias in node.names)
            yield Import(importer, module, names, node.lineno, lazy)


def house(module: str, names: tuple[str, ...] = ()) -> str | None:
    """The package (or top module) of ours that a dotted name belongs to: ``body`` for ``refit_mv.body.model``,
    ``calib``, or None for foreign ones.
    """
    parts = module.split(".")
    if parts[0] == "calib":
        return "calib"
    if parts[0] != "refit_mv":
        return None
    if len(parts) > 1:
        return parts[1]
    # ``from refit_mv import pipeline`` names the module behind the keyword.
    return next((name for name in names if name in RANK and name != "refit_mv"), "refit_mv")


def complaint(found: Import) -> str | None:
    """What is wrong with an import, None if nothing."""
    where = f"{found.importer}:{found.line} imports {found.module}"
    if found.module.startswith("."):
        return f"{where}: imports are absolute"
    vendor = found.module.split(".")[0]
    if vendor in FENCES and not found.importer.startswith(FENCES[vendor]):
        return f"{where}: only {', '.join(FENCES[vendor])} may know {vendor}"
    source, target = house(found.importer), house(found.module, found.names)
    if target is None or source == target:
        return None
    if source == FACE and found.lazy:
        return f"{where}: programs have no use for that" if target in BEHIND_NO_DOOR else None
    if target == FACE and found.names != ("__version__",):
        return f"{where}: the public face is for programs; import from the module itself"
    if source == "calib":
        return None if target in CALIB_MAY_USE else f"{where}: calib may use only {sorted(CALIB_MAY_USE)}"
    if target == "calib":
        return None if source in MAY_USE_CALIB else f"{where}: only {sorted(MAY_USE_CALIB)} may use calib"
    if target == "workshop" and not (source == "cli" and found.lazy):
        return f"{where}: only commands may use the workshop, and only when they are run"
    if source is None or source not in RANK or target not in RANK:
        return f"{where}: a package that the layers do not know; give it a place in tests/test_architecture.py"
    if RANK[target] < RANK[source] or (source, target) in SIDEWAYS:
        return None
    return f"{where}: imports point from {source} to the left only"


def modules() -> list[Path]:
    return sorted([*(ROOT / "refit_mv").rglob("*.py"), *(ROOT / "calib").rglob("*.py")])


def all_imports() -> list[Import]:
    return [
        found for path in modules() for found in imports_of(path.read_text(encoding="utf-8"), module_name(path, ROOT))
    ]


def test_imports_point_left() -> None:
    found = all_imports()
    # Guards against a test that looks in the wrong folder and finds nothing to object to.
    assert len(found) > 300
    assert [text for text in map(complaint, found) if text] == []


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("refit_mv.body.model", "from refit_mv.solve.problem import FitProblem"),
        ("refit_mv.geometry.camera", "def f():\n    import refit_mv.body.model"),
        ("refit_mv.solve.problem", "from refit_mv import pipeline"),
        ("refit_mv.motion.amass", "from refit_mv.report.page import write_report"),
        ("refit_mv.pipeline", "from refit_mv.workshop.bench.run import run_bench"),
        ("refit_mv.optimizers.refit", "def f():\n    from refit_mv.workshop.training.losses import joint_loss"),
        ("refit_mv.workshop.bench.run", "from refit_mv.cli import main"),
        ("refit_mv.cli.bench", "from refit_mv.workshop.bench.run import run_bench"),
        ("refit_mv.pipeline", "from refit_mv.cli import main"),
        ("calib.reading", "from refit_mv.body.model import BodyModel"),
        ("calib.reading", "from refit_mv.session.session import Session"),
        ("refit_mv.solve.problem", "from calib import read_rig"),
        ("refit_mv.pipeline", "import click"),
        ("refit_mv.take.layout", "import h5py"),
        ("refit_mv.session.session", "import h5py"),
        ("refit_mv.take.export", "def f():\n    from pxr import Usd"),
        ("refit_mv.geometry.camera", "from aniposelib.cameras import Camera"),
        ("refit_mv.session.video", "import open3d as o3d"),
        ("refit_mv.solve.problem", "from . import result"),
        ("refit_mv", "from refit_mv.pipeline import fit"),
        ("refit_mv", "if TYPE_CHECKING:\n    from refit_mv.workshop.demo import fetch_recording"),
        ("refit_mv.geometry.camera", "from refit_mv import fit"),
        ("refit_mv.geometry.camera", "import refit_mv"),
        ("refit_mv.kitchen.sink", "from refit_mv.body.model import BodyModel"),
    ],
)
def test_a_planted_illegal_import_is_caught(importer: str, line: str) -> None:
    assert [complaint(found) for found in imports_of(line, importer)] != [None]


def test_legal_imports_are_left_alone() -> None:
    legal = {
        "refit_mv": "if TYPE_CHECKING:\n    from refit_mv.pipeline import fit",
        "refit_mv.cli.program": "import click\nfrom calib import read_rig\nfrom refit_mv import __version__",
        "refit_mv.solve.problem": "import torch\nfrom refit_mv.body.model import BodyModel\nfrom "
        "refit_mv.solve.result import FitResult",
        "calib.board": "import aniposelib\nfrom refit_mv.geometry.camera import Camera\nfrom refit_mv.errors "
        "import InputError",
        "refit_mv.workshop.bench.run": "from refit_mv.workshop.synthetic.session import synthesise",
        "refit_mv.take.store": "import h5py",
        "refit_mv.session.keypoints.pandas_table": "import h5py",
    }
    for importer, source in legal.items():
        found = list(imports_of(source, importer))
        assert [complaint(each) for each in found] == [None] * source.count("import ")


def test_modules_are_small_and_have_telling_names() -> None:
    everything = [*modules(), *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_MODULE} == {}
    nameless = [str(path.relative_to(ROOT)) for path in everything if {path.stem, path.parent.name} & NAMELESS]
    assert nameless == []


def public_names() -> set[tuple[str, str]]:
    """(module, name) of everything that one package of ours takes from another: that is its public face."""
    return {
        (found.module, name)
        for found in all_imports()
        if house(found.module, found.names) not in (None, house(found.importer))
        for name in found.names
    }


def test_public_functions_and_classes_say_what_they_are() -> None:
    wanted = public_names()
    assert len(wanted) > 60
    silent = []
    for path in modules():
        module = module_name(path, ROOT)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (module, node.name) in wanted:
                silent += [] if ast.get_docstring(node) else [f"{module}.{node.name}"]
    assert silent == []


def texts() -> Iterator[tuple[str, str]]:
    """Every text file of the project, what is built or installed left out."""
    skipped = {".git", ".venv", "build", "dist", "demo", "node_modules"}
    suffixes = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ".css", ".js", ".html", ".cfg", ".in", ""}
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
        built = skipped & set(parts) or any(part.endswith(".egg-info") for part in parts) or "__pycache__" in parts
        if hidden or built or path.suffix not in suffixes or not path.is_file():
            continue
        try:
            yield "/".join(parts), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


# Put together from pieces, so that this file does not complain about itself.
MACHINE_PLACES = re.compile(
    "|".join(rf"(?<![\w.])/{place}/\w" for place in ("work", "home", "root", "tmp", "Users", "mnt"))
)


def test_no_text_names_a_place_on_somebodys_machine() -> None:
    assert MACHINE_PLACES.search("see " + "/ho" + "me/someone/x") is not None
    found = list(texts())
    assert len(found) > 100
    offending = [
        f"{name}:{number}"
        for name, text in found
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PLACES.search(line)
    ]
    assert offending == []


def test_shapes_in_signatures_are_checked_while_tests_run() -> None:
    """Without its last word the option in pyproject.toml checks nothing, silently."""
    assert hat(torch.zeros(5, 3)).shape == (5, 3, 3)
    with pytest.raises(TypeCheckError):
        hat(torch.zeros(5, 4))


# Loops over arrays, and the tensor functions that define them, take arrays one by one: a record would be unpacked at
# once.
LONG_SIGNATURES = {"refit_mv.kernels", "refit_mv.networks.compiled_features"}
TWINS = {"_turned", "_linearised"}
MOST_PARAMETERS = 8


def parameters(node: ast.FunctionDef) -> int:
    given = node.args
    own = [each.arg for each in (*given.posonlyargs, *given.args)]
    return len(own) + len(given.kwonlyargs) - (own[:1] in (["self"], ["cls"]))


def test_functions_take_few_parameters() -> None:
    crowded = []
    for path in modules():
        module = module_name(path, ROOT)
        if module in LONG_SIGNATURES or module.rpartition(".")[0] in LONG_SIGNATURES:
            continue
        functions = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]
        crowded += [
            f"{module}.{node.name}: {parameters(node)}"
            for node in functions
            if parameters(node) > MOST_PARAMETERS and node.name not in TWINS
        ]
    assert crowded == []


def test_no_work_is_done_in_assertions() -> None:
    """It would be gone under ``python -O``. Looking is no work: comparisons, and calls that only ask."""
    asking = {"isinstance", "len", "all", "any", "set", "bool", "isdisjoint"}
    working = [
        f"{module_name(path, ROOT)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assert)
        for call in ast.walk(node.test)
        if isinstance(call, ast.Call)
        and (call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")) not in asking
    ]
    assert working == []
