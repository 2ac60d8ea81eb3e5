import importlib
import inspect

import pytest

from bind.build import ANY_CLASS, build, locate_class

HEAD = "bind.encoders.heads.ProjectionHead"


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "os.popen",
        "subprocess.Popen",
        "bindx.types.Clip",
        "pathlib.Path",
        "bind.types.Path",
        "bind.types.Any",
        "bind.types.Tensor",
        "bind.types.dataclass",
        "bind.types.stable_id",
        "bind.types.np.ndarray",
        "bind.types.hashlib",
        "bind.types.Clip.__init__",
        "bind.types.Clip.__class__",
        "bind.types.__builtins__",
        "bind.types.__class__",
        "bind.commands.failures.os.system",
        "bind.commands.failures.os",
        "bind.commands.cli.main",
        "bind.__main__.main",
        "bind.losses.info_nce",
        "bind.anchors.processors.Image",
        "bind.nowhere.Thing",
        "bind..types.Clip",
        ".bind.types.Clip",
        "bind.",
        "bind",
        "",
    ],
)
def test_nothing_but_own_classes_can_be_named(target):
    with pytest.raises(ValueError, match=r"_target_|trusted"):
        locate_class(target)


@pytest.mark.parametrize(
    "module",
    ["bind.types", "bind.build", "bind.model.binder", "bind.data.plan", "bind.data.dataset", "bind.anchors.scratch"],
)
def test_no_module_lends_its_trust_to_what_it_imports(module):
    for name, value in vars(importlib.import_module(module)).items():
        if inspect.isclass(value) and value.__module__.split(".")[0] != "bind":
            with pytest.raises(ValueError, match="is really"):
                locate_class(f"{module}.{name}")


def test_naming_the_command_does_not_run_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bindspace", "no such command"])
    with pytest.raises(ValueError, match="outside the trusted packages"):
        locate_class("bind.__main__.main")
    assert capsys.readouterr().err == ""


def test_a_class_is_built_with_the_config_and_what_only_code_knows():
    head = build({"_target_": HEAD, "dropout": 0.25, "dim": 3}, num_features=4, dim=2)
    assert head.dropout.p == 0.25
    assert head.project.weight.shape == (2, 4)


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    (tmp_path / "mypackage_of_tests").mkdir()
    (tmp_path / "mypackage_of_tests" / "__init__.py").write_text(
        "from subprocess import Popen\n\n\nclass Mine:\n    def __init__(self, part=None):\n        self.part = part\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "mypackage_of_tests"


def test_a_package_of_the_user_needs_trust_and_lends_none(own_package):
    config = {"_target_": f"{own_package}.Mine"}
    with pytest.raises(ValueError, match=rf"pass trust=\['{own_package}'\]"):
        build(config)
    assert build(config, trust=[own_package]).part is None
    with pytest.raises(ValueError, match=r"is really subprocess\.Popen"):
        build({"_target_": f"{own_package}.Popen"}, trust=[own_package])
    with pytest.raises(ValueError, match="outside the trusted packages"):
        build({"_target_": "os.system"}, trust=[own_package])


def test_nested_targets_are_built_under_the_same_trust(own_package):
    part = {"_target_": HEAD, "num_features": 4, "dim": 2}
    built = build({"_target_": f"{own_package}.Mine", "part": part}, trust=[own_package])
    assert type(built.part).__name__ == "ProjectionHead"
    assert build({"_target_": f"{own_package}.Mine", "part": {"plain": 1}}, trust=[own_package]).part == {"plain": 1}
    nested = {"_target_": f"{own_package}.Mine", "part": {"_target_": "subprocess.Popen", "args": ["true"]}}
    with pytest.raises(ValueError, match=r"subprocess\.Popen is outside"):
        build(nested, trust=[own_package])


def test_a_config_that_the_user_wrote_may_name_any_class():
    assert build({"_target_": "string.Template", "template": "$x"}, trust=ANY_CLASS).template == "$x"
    with pytest.raises(ValueError, match="not a class"):
        build({"_target_": "os.system"}, trust=ANY_CLASS)
    with pytest.raises(ValueError, match="can't be imported"):
        build({"_target_": ".relative.Name"}, trust=ANY_CLASS)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=rf"{HEAD}.*'drop_out'.*it takes: num_features, dim, norm, dropout"):
        build({"_target_": HEAD, "num_features": 4, "dim": 2, "drop_out": 0.1})
    with pytest.raises(ValueError, match=r"missing a required argument: 'dim'"):
        build({"_target_": HEAD, "num_features": 4})
    with pytest.raises(ValueError, match="no _target_"):
        build({"num_features": 4})


def test_an_error_inside_a_constructor_is_not_taken_for_a_wrong_argument():
    with pytest.raises(ValueError, match="temperature=5"):
        build({"_target_": "bind.losses.temperature.Temperature", "temperature": 5})
