"""The house plan as a test: which room may import which, and where the heavy libraries may appear."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable

import pytest
from support.source_code import MODULES, PACKAGE, ROOT, nodes_of, statements_of

PAGE = ROOT / "docs" / "architecture.md"


def floors_of(page: str) -> dict[str, int]:
    """Room → floor, of the first fenced tree of a page: `  room/    what is in it   3`, the number ends the entry."""
    (tree, *_) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    package = tree.partition("\nbind/\n")[2]
    entries = re.findall(r"^  (\w.*?(?:\n {3,}.*?)*)\s(\d+)$", package, flags=re.MULTILINE)
    floors = {}
    for entry, floor in entries:
        names = re.findall(r"\w+(?=\.py)", entry) if entry.split()[0].endswith(".py") else [entry.split("/")[0]]
        floors |= dict.fromkeys(names, int(floor))
    return floors


FLOORS = {**floors_of(PAGE.read_text()), "__main__": 10}
ALLOWED_IN = {
    "hydra": ("commands", "runs", "studies", "training"),
    "omegaconf": ("commands", "runs", "serve.command", "studies", "training"),
    "lightning": ("data.datamodule", "training", "runs", "studies"),
    "transformers": ("anchors", "bridge", "encoders.pretrained", "data.transforms.pretrained"),
    "tokenizers": ("anchors", "bridge", "encoders.pretrained", "data.transforms.pretrained"),
    "open_clip": ("anchors",),
    "obstore": ("data.sources.shards",),
    "peft": ("bridge", "encoders.lora"),
    "av": ("media",),
    "soundfile": ("media",),
    "onnx": ("share",),
    "onnxruntime": ("share",),
    "onnxscript": ("share",),
    "executorch": ("share",),
    "sentence_transformers": ("share",),
    "mteb": ("share",),
    "ray": ("commands", "runs"),
    "fastapi": ("serve",),
    "starlette": ("serve",),
    "uvicorn": ("serve",),
    "prometheus_client": ("serve",),
    "faiss": ("search",),
    "lancedb": ("search",),
    "pymilvus": ("search",),
    "qdrant_client": ("search",),
    "weaviate": ("search",),
    "wandb": (),
}


def imports_of(source: str, module: str) -> set[str]:
    """Full names that a module imports anywhere in it, except for type checking only."""
    skipped = {
        id(inner)
        for node in statements_of(source)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names = set()
    for node in statements_of(source):
        if isinstance(node, ast.Import) and id(node) not in skipped:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and id(node) not in skipped:
            assert node.level == 0, f"bind.{module} has a relative import: write it in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(name: str) -> str:
    return name.split(".")[0]


def complaints(module: str, source: str) -> list[str]:
    own_room = room_of(module)
    if own_room not in FLOORS:
        return ["it has no floor: add it to the house plan"]
    wrong = []
    for name in sorted(imports_of(source, module)):
        library, _, rest = name.partition(".")
        if library == "bind":
            room = room_of(rest)
            if room == "__version__" or room == own_room:
                continue
            if room not in FLOORS:
                wrong.append(f"{name}: no such room in the house plan")
            elif not (FLOORS[room] < FLOORS[own_room] or FLOORS[room] == FLOORS[own_room] == 0):
                wrong.append(f"{name}: floor {FLOORS[room]} from floor {FLOORS[own_room]}")
        elif library in ALLOWED_IN:
            places = ALLOWED_IN[library]
            if not any(module == place or module.startswith(place + ".") for place in places):
                wrong.append(f"{name}: {library} belongs in {places}")
    return wrong


@pytest.mark.slow
def test_rooms_import_from_lower_floors_only():
    rooms = {module: source for module, source in MODULES.items() if module != "__init__"}
    wrong = [f"bind.{module}: {x}" for module, source in rooms.items() for x in complaints(module, source)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("losses.info_nce", "from bind.metrics import retrieval"),
        ("data.plan", "def f():\n    from bind.cache.lookup import InMemoryCache"),
        ("types.parts", "import bind.model.binder"),
        ("model", "from bind.evaluation.embedded import EmbeddedSplit"),
        ("training.module", "from bind import runs"),
        ("losses.info_nce", "import lightning as L"),
        ("data.sources.manifest", "import lightning.pytorch"),
        ("encoders.imu_cnn", "from transformers import AutoModel"),
        ("model.binder", "from omegaconf import DictConfig"),
        ("runs.jobs", "import wandb"),
        ("model.binder", "from bind.cellar import wine"),
    ],
)
def test_the_walk_sees_what_is_wrong(module, source):
    assert len(complaints(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("losses.info_nce", "from bind.distributed import rank\nfrom bind.losses.temperature import Temperature"),
        ("data.datamodule", "import lightning as L"),
        ("encoders.pretrained.clap", "from transformers import AutoModel"),
        ("studies.doctor", "import hydra"),
        ("model", "if TYPE_CHECKING:\n    from bind.runs.jobs import train"),
    ],
)
def test_the_walk_allows_what_the_plan_allows(module, source):
    assert complaints(module, source) == []


PRIVATE_IN = {
    "hydra": "training.hydra_private",
    "lightning": "training.lightning_private",
}
"""Where what is private of a library is touched, and nowhere else."""
HYDRAS_INSIDES = ("hydra._internal", "hydra.core")
ALLOWED_PRIVATE = {"_BatchNorm", "_version", "_exit", "_inheriting", "_on_queue_feeder_error"}
"""Of torch (the class of all batch norms, and how often a tensor was written), os (an end without clean-up) and
multiprocessing (a child that starts, and what becomes of a batch that a worker can't hand over: overridden, as its
authors mean it to be)."""


def own_private_names(sources: Iterable[str]) -> set[str]:
    """Names with an underscore that the package itself gives to something."""
    names = set()
    for source in sources:
        for node in nodes_of(source):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("self", "cls")
            ):
                names.add(node.attr)
    return {name for name in names if name.startswith("_")}


def foreign_private_touches(module: str, source: str, own: set[str]) -> list[str]:
    """What a module touches that is private of a library: imports, and attributes that no class of the package has."""
    touches = []
    for name in sorted(imports_of(source, module)):
        library = name.partition(".")[0]
        is_private = name.startswith(HYDRAS_INSIDES) or any(part.startswith("_") for part in name.split("."))
        if library in PRIVATE_IN and is_private and module != PRIVATE_IN[library]:
            touches.append(f"{name}: touch it in bind.{PRIVATE_IN[library]}")
    if module in PRIVATE_IN.values():
        return touches
    for node in nodes_of(source):
        name = ""
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            name = getattr(node.args[1], "value", "")
        if re.fullmatch(r"_[^_]\w*[^_]", name) and name not in own | ALLOWED_PRIVATE:
            touches.append(f"{ast.unparse(node)}, line {node.lineno}: {name} belongs to a library")
    return touches


@pytest.mark.slow
def test_what_is_private_of_lightning_and_hydra_is_touched_in_one_file_each():
    own = own_private_names(MODULES.values())
    touches = [f"bind.{m}: {x}" for m, source in MODULES.items() for x in foreign_private_touches(m, source, own)]
    assert not touches, "\n".join(touches)


@pytest.mark.parametrize(
    "source",
    [
        "from hydra._internal.config_loader_impl import ConfigLoaderImpl",
        "from hydra.core.global_hydra import GlobalHydra",
        "from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver",
        "trainer.fit_loop._iteration_based_training = lambda: False",
        "hasattr(logger.experiment, '_fs')",
    ],
)
def test_the_walk_sees_what_is_private(source):
    assert len(foreign_private_touches("runs.jobs", source, {"_own"})) == 1
    assert foreign_private_touches("runs.jobs", "os._exit(self._own); config._target_; f.__name__", {"_own"}) == []


@pytest.mark.slow
def test_importing_bind_is_cheap():
    code = (
        "import bind, sys; print(sorted({'torch', 'transformers', 'lightning', 'numpy', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_command_line_answers_without_heavy_imports():
    code = "import bind.commands.cli, sys; print(sorted({'torch', 'transformers', 'lightning'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"
