"""The pages of docs/: their commands compose, their code compiles, their references are those of the repository."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from support import documents, runs

from bind.commands.checkout import CONFIG_DIR
from bind.commands.command_table import COMMANDS
from bind.types import Clip

DOCS = documents.ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS_OF_DOCS = [
    pytest.param(command, id=f"{page.stem}: {' '.join(command)}")
    for page in PAGES
    for command in documents.commands(page.read_text())
]
MAX_PICTURE_BYTES = 300_000


def load_script(name):
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference():
    return load_script("hooks/config_reference")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS_OF_DOCS)
def test_every_command_composes(command):
    if documents.is_hydra(command):
        if "--config-dir" not in command and not any(word.startswith("--config-dir") for word in command):
            documents.composed(command)
    else:
        module, _, function = COMMANDS[command[1]].job.partition(":")
        refusal = "no such manifest" if command[1] == "learning-curve" else re.escape(command[2])
        with pytest.raises(ValueError, match=refusal):
            getattr(importlib.import_module(module), function)(command[2:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_parses(page):
    for block in documents.blocks(page.read_text(), "python"):
        ast.parse(block)
    for block in documents.blocks(page.read_text(), "yaml"):
        yaml.safe_load(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_imports_from_bind_exists(page):
    """In its code, and what the reference of the Python names documents."""
    names = re.findall(r"^::: ([\w.]+)$", page.read_text(), flags=re.MULTILINE)
    for block in documents.blocks(page.read_text(), "python"):
        nodes = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
        names += [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]
    for name in names:
        module, _, attribute = name.rpartition(".")
        if name.split(".")[0] == "bind":
            assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.slow
def test_the_code_of_the_page_on_using_a_binder_runs(recorded_run, tmp_path, monkeypatch, capsys):
    for name in ("a.wav", "b.wav"):
        runs.write_sound(tmp_path / name, 440, np.random.default_rng(0))
    monkeypatch.chdir(tmp_path)
    blocks = documents.blocks((DOCS / "using.md").read_text(), "python")
    (path,) = {path for block in blocks for path in re.findall(r'(?:load|Run)\("([^"]+)"\)', block)}
    for block in blocks:
        exec(compile(block.replace(path, str(recorded_run)), "using.md", "exec"), {})
    assert (recorded_run / "metrics_val.json").is_file()
    assert "Retrieval, val split" in capsys.readouterr().out


@pytest.mark.slow
def test_the_code_of_the_page_on_anchors_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_space", raising=False)  # of another test
    of_vectors, of_towers, module, of_binder = documents.blocks((DOCS / "anchors.md").read_text(), "python")
    assert module.startswith("# my_space.py")
    assert of_towers.startswith("# my_space.py")
    (tmp_path / "my_space.py").write_text(f"{of_towers}\n{module}")
    for block in (of_vectors, of_binder):
        exec(compile(block, "anchors.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "1.0000" in shown, "the looked-up vector of a text is its own"
    own = sys.modules.pop("my_space")
    Image.new("L", (64, 48)).save(tmp_path / "grey.png")
    pixels, picture = own.Pixels(), np.zeros((48, 64, 3), np.uint8)
    inputs = pixels.collate([pixels(Clip(tmp_path / "grey.png")), pixels(picture), pixels(Image.fromarray(picture))])
    assert own.ImageTower()(inputs).shape == (3, 48)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_reads_well_in_a_checkout(page):
    """Where nothing is made for the site: links lead to files, and nothing but plain Markdown is in the text."""
    assert documents.broken_links(page) == []
    if page.parent.name != "reference":
        assert re.findall(r"^(?:--8<--|!!!|\?\?\?|:::).*|#only-\w+", page.read_text(), flags=re.MULTILINE) == []


def test_the_page_on_an_own_sensor_shows_the_example():
    script = (documents.ROOT / "examples" / "own_sensor.py").read_text()
    assert documents.blocks((DOCS / "own_sensor.md").read_text(), "python") == [script]


def test_links_to_files_of_a_checkout_are_links_to_pages_on_the_site(reference):
    assert all((DOCS / target.partition("#")[0]).exists() for target in reference.PAGES_OF_THE_SITE)
    for name, link, expected in (
        ("index.md", "../configs", "reference/config.md"),
        ("reference/python.md", "../../SECURITY.md", "../security.md"),
        ("index.md", "https://example.org/configs", "https://example.org/configs"),
    ):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=name))
        assert reference.on_page_markdown(f"[a]({link})", page, None, None) == f"[a]({expected})"


@pytest.mark.slow
def test_the_keys_that_are_often_set_exist():
    section = (DOCS / "training.md").read_text().partition("## Keys that are often set")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section.replace("\\|", "/"), flags=re.MULTILINE)
    keys = [name for cell in cells for name in re.findall(r"`(\w[\w./-]*)", cell) if not name.startswith("trainer.ANY")]
    assert len(keys) > len(cells) > 5
    config = runs.OmegaConf.to_container(runs.config("data=manifest"))
    for key in keys:
        node = config
        for part in key.split("."):
            if "/" in part:
                assert (CONFIG_DIR / part).is_dir(), key
            else:
                assert part in node, key
                node = node[part]


@pytest.mark.slow
def test_every_key_of_the_configs_has_a_place_in_the_reference(reference):
    page = reference.config_page()
    for path in CONFIG_DIR.rglob("*.yaml"):
        group = path.relative_to(CONFIG_DIR).parent.as_posix()
        if group == "." and path.stem != "train":
            continue
        if group in reference.COMPLETE:
            assert f"configs/{group}/{path.name}" in page
            continue
        prefix = "" if group == "." or "@package _global_" in path.read_text() else group.replace("/", ".") + "."
        for key in set(yaml.safe_load(path.read_text()) or {}) - {"defaults", "hydra"}:
            assert f"| `{prefix}{key}" in page, f"{path}: {key}"


@pytest.mark.slow
def test_every_key_of_the_configs_is_explained(reference):
    rows = [row for row in reference.config_page().splitlines() if row.startswith("| `") and "_target_" not in row]
    assert len(rows) > 400
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_reference_has_values_and_comments_as_they_are_written(reference):
    text = "# About this file.\na: 1 # one\nb:\n  # above\n  c: [x, y]\n  d: {e: f} # in a line\ng: null\n"
    keys = [(key.name, key.value, key.comment) for key in reference.keys_of(text, "p.")]
    assert reference.header(text) == "About this file."
    assert keys == [
        ("p.a", "1", "one"),
        ("p.b.c", "[x, y]", "above"),
        ("p.b.d", "{e: f}", "in a line"),
        ("p.g", "null", ""),
    ]


def test_arguments_explain_keys_without_a_comment(reference):
    explained = reference.arguments_of("bind.data.transforms.audio.AudioTransform")
    assert explained["gain_db_range"] == "gain in dB."
    assert "speed_range" in explained


@pytest.mark.slow
def test_every_command_with_a_config_is_in_the_reference(reference):
    page = reference.commands_page()
    missing = [name for name, command in COMMANDS.items() if command.is_hydra and f"## bindspace {name}\n" not in page]
    assert missing == []


def test_the_figure_is_what_its_script_draws():
    script = load_script("figures/space")
    for name, theme in script.THEMES.items():
        assert (DOCS / "figures" / f"space-{name}.svg").read_text() == script.draw(theme)


def test_the_ten_lines_of_the_readme_are_of_the_output_of_the_first_run():
    script = load_script("figures/first_run")
    output, *_ = documents.blocks((DOCS / "first_run.md").read_text(), "text")
    shown, *_ = documents.blocks((documents.ROOT / "README.md").read_text(), "text")
    assert shown.splitlines() == script.ten_lines(output)
    assert len(shown.splitlines()) == script.NUM_LINES


def test_another_output_takes_the_place_of_the_first(tmp_path, monkeypatch):
    script = load_script("figures/first_run")
    output, *_ = documents.blocks((DOCS / "first_run.md").read_text(), "text")
    (tmp_path / "metrics.json").write_text('{"seconds": {"total": 41.6}}')
    sentence = "A sound finds its picture in 37 of 100 tries, by chance 1; the best possible is 37."
    output = output.replace("Retrieval, ", f"{sentence}\n\nRetrieval, ").replace("runs/…", str(tmp_path))
    (tmp_path / "log").write_text(output)
    pages = [tmp_path / page.name for page in script.PAGES]
    for page, original in zip(pages, script.PAGES, strict=True):
        page.write_text(original.read_text())
    monkeypatch.setattr(script, "PAGES", pages)
    script.main(tmp_path / "log")
    for page in pages:
        assert sentence in page.read_text()
        assert "in 42 s" in page.read_text()
        assert str(tmp_path) not in page.read_text()


def test_pictures_are_small():
    for path in (DOCS / "figures").glob("*.png"):
        assert path.stat().st_size < MAX_PICTURE_BYTES, path


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs", reason='the site needs pip install "bindspace[docs]"')
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=documents.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = {path.parent.name for path in (tmp_path / "site").rglob("index.html")}
    assert {page.stem for page in PAGES if page.name != "index.md"} <= built
