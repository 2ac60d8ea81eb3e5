"""The names of the package are plain words: a verb and an object, a noun of the trade, one word for one thing."""

import ast
import re
from collections import defaultdict

import pytest
from support.source_code import MODULES, ROOT, parse, statements_of

OTHERS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text()
    for folder in ("benchmarks", "data_scripts", "examples", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

# Left: what a reader has to guess. Right: what stands there now.
PLAINER = {
    "AheadLoader": "PrefetchLoader",
    "Asked": "GalleryQuery",
    "BY_HEART": "MEMORISED_LOSS_SHARE",
    "FOLLOWS_FROM": "IMPLIED_BY",
    "Found": "Hit",
    "HeldStderr": "BufferedStderr",
    "IN_WORDS": "MISMATCH_MESSAGES",
    "LEAST_LOGIT": "MIN_COLLAPSE_LOGIT",
    "Seen": "SourceExposure",
    "ShardSource": "IndexedShardSource",
    "Stopped": "TrainingStopped",
    "StreamSource": "StreamingShardSource",
    "ahead": "prefetch",
    "asked": "pool_rows",
    "asking": "query_rows",
    "asking_and_asked": "query_and_pool_rows",
    "bank_a": "nothing: there are no anchor banks",
    "bank_b": "nothing: there are no anchor banks",
    "be_train_py": "run_as_train_script",
    "copies": "near_duplicates",
    "exhibit": "page_media",
    "found": "the name of what was found",
    "fused_sides": "is_fused_key",
    "given": "the name of what is given",
    "how_to_go_on": "resume_hint",
    "job_begins": "hand_over_stderr",
    "listed": "a verb and what is listed",
    "luck": "missing_threshold",
    "made": "the name of what is made",
    "one_for_all": "stop_all_ranks_together",
    "only": "discard_other_streams",
    "only_evaluation_is_left": "evaluation_failure_hint",
    "outlive_signals": "ignore_stop_signals",
    "parts_of": "fusion_inputs",
    "refuse_sweep_of_one": "require_multirun_for_sweep",
    "showcase": "plots",
    "stops_are_told": "print_resume_hint_on_stop",
    "strangers": "unrelated_distance",
    "tell_interrupt": "report_interrupt",
    "tell_mixture": "print_mixture_table",
    "tell_unread": "warn_unused_overrides",
    "told": "the name of what is printed",
    "was_named": "nothing: binders of before the names changed are not read",
    "whole": "unshard",
}
IDIOMS = re.compile(r"^_?tell_|_told$|_comes?_to$|_asked$")


def names_of(module: str, source: str) -> set[str]:
    """Names of the module, its functions, classes and their arguments, and the constants at the top of it."""
    names = set(module.split("."))
    for node in statements_of(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names |= {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    for node in parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def unplain(names: set[str]) -> list[str]:
    banned = [f"{name}: better {PLAINER[name]}" for name in sorted(names & PLAINER.keys())]
    return banned + [f"{name}: an idiom" for name in sorted(names) if IDIOMS.search(name)]


def too_many_positional(source: str, limit: int = 5) -> list[str]:
    """Public functions, and constructors and methods of public classes, that take more arguments by position."""
    complaints = []

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [a.arg for a in child.args.posonlyargs + child.args.args if a.arg not in ("self", "cls")]
                is_public = not child.name.startswith("_") or child.name in ("__init__", "__call__")
                if is_public and len(arguments) > limit:
                    complaints.append(f"{child.name}, line {child.lineno}: {len(arguments)} positional arguments")
            elif not (isinstance(child, ast.ClassDef) and child.name.startswith("_")):
                walk(child)

    walk(parse(source))
    return complaints


@pytest.mark.slow
def test_names_are_plain_words():
    code = {**MODULES, **OTHERS}
    complaints = [f"{module}: {name}" for module, source in code.items() for name in unplain(names_of(module, source))]
    assert not complaints, "\n".join(complaints)


@pytest.mark.slow
def test_no_public_function_takes_more_than_five_positional_arguments():
    complaints = [f"bind.{m}: {function}" for m, source in MODULES.items() for function in too_many_positional(source)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.slow
def test_one_name_is_one_class():
    places = defaultdict(list)
    for module, source in MODULES.items():
        for node in statements_of(source):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_the_walk_sees_what_is_wrong():
    source = "class Seen:\n    def f(self, told):\n        def how_to_go_on(): ...\nLEAST_LOGIT = 1\nlistenable = 2\n"
    names = names_of("data.ahead", source)
    assert len(unplain(names)) == 5
    assert len(unplain({"tell_tale", "is_told", "retell", "embed"})) == 2
    source = "def f(a, b, c, d, e, *, g): ...\nclass A:\n    def __init__(self, a, b, c, d, e, f): ...\n"
    source += "    def _h(a, b, c, d, e, f): ...\nclass _B:\n    def f(a, b, c, d, e, f): ...\n"
    assert too_many_positional(source) == ["__init__, line 3: 6 positional arguments"]
