"""Code blocks, commands and links of Markdown pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from bind.commands.checkout import CONFIG_DIR
from bind.commands.command_table import COMMANDS
from bind.commands.overrides import quote_values
from bind.runs.vector_choices import choose_vectors

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "sh")


def blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks in any of `languages`, in their order."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of every `python train.py …` and `bindspace …` in the shell blocks, without comments.

    Lines that end in a backslash are joined. A line with an ellipsis is a pattern, not a command, and is left out.
    """
    lines = "\n".join(blocks(text, *SHELLS)).replace("\\\n", " ").splitlines()
    parts = [part.strip().removeprefix("srun ") for line in lines for part in line.split("&&")]
    words = [shlex.split(part, comments=True) for part in parts if part.startswith(("python train.py", "bindspace"))]
    return [command for command in words if not any("…" in word for word in command)]


def is_hydra(command: list[str]) -> bool:
    return command[0] == "python" or COMMANDS[command[1]].is_hydra


def overrides_of(command: list[str]) -> tuple[str, list[str]]:
    """The name of the config that a Hydra command takes, and its overrides."""
    config = "train" if command[:2] == ["python", "train.py"] else command[1]
    return config, [word for word in command[2:] if not word.startswith("-") and "=" in word]


def composed(command: list[str]) -> DictConfig:
    """The config of a Hydra command; of a sweep that of its first job."""
    config, overrides = overrides_of(command)
    overrides = quote_values(overrides)
    if "-m" in command:
        overrides = [re.sub(r"=([^,\[(]+),.*", r"=\1", override) for override in overrides]
        # What a sweep is told about its plugin needs the plugin.
        overrides = [each for each in overrides if not each.startswith(("hydra", "sweep")) and "interval(" not in each]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(config, overrides=choose_vectors(overrides, CONFIG_DIR))


def slug(heading: str) -> str:
    """The anchor that GitHub and the site give a heading."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return re.sub(r"\s+", "-", words)


def headings(text: str) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)}


def links(text: str) -> list[str]:
    """The targets of all links and pictures of a page that do not lead to another server."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|srcset)="([^"]+)"', prose)
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def broken_links(page: Path) -> list[str]:
    """The links of a page whose file or heading does not exist."""
    broken = []
    for target in links(page.read_text()):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        is_known = path.exists() and (not anchor or path.suffix != ".md" or anchor in headings(path.read_text()))
        if not is_known:
            broken.append(target)
    return broken
