"""Pages that are made from the repository when the site is built: config keys, commands, changelog and the like.

MkDocs calls `on_files` and `on_page_markdown`. Nothing is kept by hand: keys, values and comments come from configs/.
The meaning of a key without a comment comes from the `Args:` of the class that its `_target_` names, or from another
file of its group.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
PACKAGE = ROOT / "bind"
COPIES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
PAGES_OF_THE_SITE = {
    "../configs": "reference/config.md",
    "../README.md#commands": "reference/commands.md",
    **{f"../{name}": page for name, page in COPIES.items()},
}
"""What a page of docs/ links to in a checkout → what that is on the site."""
TITLES = {
    "anchor": "the frozen towers",
    "data": "where samples come from",
    "prompts": "classes of public datasets",
    "encoder": "what is trained for each modality",
    "transform": "from a file to a tensor",
    "fusion": "one vector from several modalities",
    "mapper": "from a vector to soft tokens, for `bindspace bridge`",
    "loss": "what is minimised",
    "trainer": "devices, precision, length",
    "callbacks": "what happens beside the training",
    "logger": "where figures are logged",
    "experiment": "complete settings",
    "debug": "a short run",
    "sweep": "how the jobs of -m are chosen and run",
}
LONGEST_VALUE = 60
COMPLETE = ("experiment", "sweep", "prompts")
"""Groups whose files are shown as they are: they set keys of others."""
READERS = {"optimizer": "bind.training.module.BindingModule", "data": "bind.data.datamodule.BindDataModule"}
"""Classes that take a part of the config as arguments, without a `_target_`."""


@dataclass(frozen=True)
class Key:
    """One key of a config: its dotted name, its value as YAML, the comment beside it, the class that it is for."""

    name: str
    value: str
    comment: str
    target: str = ""

    @property
    def argument(self) -> str:
        """The last part of the name, which is the argument of the class."""
        return self.name.rpartition(".")[2]


def header(text: str) -> str:
    """The comment at the start of a config file, without the line that says where Hydra puts it."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def keys_of(text: str, prefix: str = "") -> list[Key]:
    """The keys of a config file with the comments beside and above them; `defaults` and `hydra` are left out."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return []
    lines = text.splitlines()
    keys = []
    for key, value in root.value:
        if key.value not in ("defaults", "hydra"):
            keys += _keys_below(key, value, prefix, lines, target_of(root))
    return keys


def _keys_below(key: yaml.Node, value: yaml.Node, prefix: str, lines: list[str], target: str) -> Iterator[Key]:
    name = f"{prefix}{key.value}"
    comment = _comment(key, value, lines)
    if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
        if comment:
            yield Key(name, "", comment)
        for inner_key, inner_value in value.value:
            yield from _keys_below(inner_key, inner_value, f"{name}.", lines, target_of(value))
    else:
        yield Key(name, _shown(value, lines), comment, target)


def target_of(node: yaml.MappingNode) -> str:
    return next((value.value for key, value in node.value if key.value == "_target_"), "")


def _shown(value: yaml.Node, lines: list[str]) -> str:
    """A value as it is written, shortened where it is long or takes several lines."""
    start, end = value.start_mark, value.end_mark
    if start.line != end.line:
        return "…"
    written = lines[start.line][start.column : end.column].strip()
    return written if len(written) <= LONGEST_VALUE else written[: LONGEST_VALUE - 1] + "…"


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """What stands behind the value on its line, or else in the comment lines right above the key."""
    spans_lines = isinstance(value, yaml.CollectionNode) and not value.flow_style
    mark = key.end_mark if spans_lines else value.end_mark
    behind = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    if match := re.search(r"(?:^:?|\s)#\s*(.+)$", behind):
        return match[1].strip()
    start = key.start_mark.line
    while start > 0 and lines[start - 1].strip().startswith("#"):
        start -= 1
    if start == 0:  # the header of the file
        return ""
    return " ".join(line.strip().removeprefix("#").strip() for line in lines[start : key.start_mark.line])


@functools.cache
def arguments_of(target: str) -> dict[str, str]:
    """Argument → what the class that `target` names says of it under `Args:`; nothing for classes of others."""
    module, _, class_name = target.rpartition(".")
    path = ROOT / (module.replace(".", "/") + ".py")
    if not target.startswith("bind.") or not path.is_file():
        return {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", ast.get_docstring(node) or "", flags=re.MULTILINE)
            entries = re.findall(r"^ {4}(\w+): ((?:.*\n?(?: {5,}.*\n?)*))", section[1] if section else "", re.MULTILINE)
            return {name: " ".join(text.split()) for name, text in entries}
    raise ValueError(f"{path} has no class {class_name}, which a config names")


@functools.cache
def comments() -> dict[tuple[str, str], str]:
    """(class, argument) and ("", dotted name) → the comment, of every key that has one in any config."""
    commented: dict[tuple[str, str], str] = {}
    for path in sorted(CONFIGS.rglob("*.yaml")):
        group = path.parent.relative_to(CONFIGS).as_posix()
        is_command = path.parent == CONFIGS and path.stem != "train" and not path.stem.startswith("_")
        if group not in COMPLETE and not is_command:
            for key in keys_of(path.read_text(), package_of(path)):
                if key.comment:
                    commented.setdefault((key.target, key.argument) if key.target else ("", key.name), key.comment)
    return commented


def package_of(path: Path) -> str:
    """What precedes the keys of a config file, such as `encoder.audio.`; `data.` also for configs/_data.yaml."""
    if path.parent == CONFIGS:
        return path.stem.removeprefix("_") + "." if path.stem.startswith("_") else ""
    is_global = "@package _global_" in path.read_text()
    return "" if is_global else ".".join(path.parent.relative_to(CONFIGS).parts) + "."


def meaning(key: Key) -> str:
    """The comment beside a key, else what its class says of the argument, else its comment in another file."""
    if key.comment:
        return key.comment
    reader = READERS.get(key.name.partition(".")[0], "") if key.name.count(".") == 1 else ""
    return (
        arguments_of(key.target).get(key.argument, "")
        or comments().get((key.target, key.argument), "")
        or arguments_of(reader).get(key.argument, "")
        or comments().get(("", key.name), "")
    )


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def code(text: str) -> str:
    return f"`{cell(text)}`" if text else ""


def table(keys: list[Key]) -> list[str]:
    rows = [f"| {code(key.name)} | {code(key.value)} | {cell(meaning(key))} |" for key in keys]
    return ["| key | default | |", "|---|---|---|", *rows, ""]


def group_section(folder: Path, group: str) -> list[str]:
    """Every file of one group of choices, such as encoder/audio."""
    lines = [f"## {group}", "", TITLES.get(group.split("/")[0], "").capitalize() + ".", ""]
    common = CONFIGS / f"_{group}.yaml"  # what all files of the group are built on
    if common.is_file():
        text = common.read_text()
        lines += [f"### every `{group}=`", "", *described(text), *table(keys_of(text, package_of(common)))]
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text()
        lines += [f"### `{group}={path.stem}`", "", *described(text)]
        if group in COMPLETE:
            body = text if group != "prompts" else re.sub(r"(?ms)^(\s*classes:.*?\n)(?:.*\n){12,}", r"\1…\n", text)
            lines += [f'??? note "configs/{group}/{path.name}"', "", *_indented(f"```yaml\n{body}\n```"), ""]
        else:
            if keys := keys_of(text, package_of(path)):
                lines += table(keys)
    return lines


def _indented(text: str) -> list[str]:
    return ["    " + line for line in text.splitlines()]


def described(text: str) -> list[str]:
    """The header of a config as prose; its lines that are commands as code."""
    lines = [
        f"`{line.strip()}`" if re.match(r"\s*(python|pip|bindspace) ", line) else line
        for line in header(text).splitlines()
    ]
    return [*lines, ""] if lines else []


def choices(text: str) -> list[str]:
    """The table of groups that the training's config chooses from."""
    rows = []
    for entry in yaml.safe_load(text)["defaults"]:
        if isinstance(entry, dict):
            ((group, default),) = entry.items()
            names = ", ".join(code(path.stem) for path in sorted((CONFIGS / group).glob("*.yaml")))
            anchor = re.sub(r"[^a-z0-9-]", "", group.lower().replace("/", ""))
            rows.append(f"| [`{group}=`](#{anchor}) | {code('null' if default is None else default)} | {names} |")
    return ["| choice | default | there are |", "|---|---|---|", *rows, ""]


def config_page() -> str:
    text = (CONFIGS / "train.yaml").read_text()
    lines = [
        "# Config keys",
        "",
        "What `python train.py` takes, with the values that it has without any override: `KEY=VALUE` sets a key, "
        "`GROUP=NAME` takes a file of `configs/GROUP/`, `+KEY=VALUE` adds a key. `python train.py --help` prints all "
        "keys with their values after your overrides. This page is made from `configs/`.",
        "",
        "## Choices",
        "",
        *choices(text),
        "## The training",
        "",
        *table(keys_of(text)),
    ]
    groups = {path.parent for path in CONFIGS.rglob("*.yaml") if path.parent != CONFIGS}
    for folder in sorted(groups, key=lambda folder: folder.relative_to(CONFIGS).as_posix()):
        lines += group_section(folder, folder.relative_to(CONFIGS).as_posix())
    return "\n".join(lines)


def commands_page() -> str:
    lines = [
        "# Commands",
        "",
        "Commands with a config take `KEY=VALUE`. `bindspace COMMAND --help` prints what stands here. "
        "[`compare`](../evaluation.md#intervals), [`doctor`](../doctor.md), "
        "[`sensor-import`](../modalities.md#sensor-files) and [`sweep-report`](../sweeps.md) take "
        "arguments and options instead; "
        "[`learning-curve`](../streams.md#what-would-more-people-bring) takes the overrides of `train`.",
        "",
    ]
    for path in sorted(CONFIGS.glob("*.yaml"), key=lambda path: (path.stem != "train", path.stem)):
        help_text = yaml.safe_load(path.read_text()).get("hydra", {}).get("help", {}).get("template")
        if help_text is None:  # a file that others are built on
            continue
        name = "python train.py" if path.stem == "train" else f"bindspace {path.stem}"
        shown = help_text.split("The values as they stand")[0].split("The choices (GROUP=NAME)")[0]
        first, _, rest = shown.partition("\n")
        lines += [f"## {name}", "", first, "", "```text", rest.strip("\n"), "```", ""]
        if path.stem != "train":
            lines += table(keys_of(path.read_text()))
    return "\n".join(lines)


def copied(name: str) -> str:
    """A page of the repository's root with its links as they are on the site."""
    text = (ROOT / name).read_text()
    return re.sub(r"\]\((?:docs/)([\w/]+\.md)", r"](\1", text)


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    made = {"reference/config.md": config_page(), "reference/commands.md": commands_page()}
    made |= {target: copied(name) for name, target in COPIES.items()}
    for target, text in made.items():
        files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page with links to the pages that the site has in place of a checkout's files."""
    depth = page.file.src_uri.count("/")
    for target, name in PAGES_OF_THE_SITE.items():
        markdown = markdown.replace(f"]({'../' * depth}{target})", f"]({'../' * depth}{name})")
    return markdown
