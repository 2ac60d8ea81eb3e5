"""What is wrong with the overrides of a command line, in place of Hydra's advice to append a misspelt key."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from bind.files.reading import explain_os_error
from bind.runs.vector_choices import choose_vectors

OF_FIXED_KEYS = ("data", "cache", "evaluation")
"""Groups that are read key by key; what others get too much of is refused where they are built."""

OF_FREE_NAMES = ("pairs", "objective.masked", "data.manifests", "data.sources", "data.weights", "data.zero_shot")
"""Keys whose children the user names: a new one is written with +."""

FLAGS_WITH_VALUE = frozenset(
    ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p", "--cfg", "-c")
)
OPEN_FLAGS = frozenset(("--info", "-i", "--shell-completion", "-sc", "--experimental-rerun"))
"""Flags of Hydra behind which a value may stand or not."""


class BufferedStderr:
    """Stands for stderr and notes what is written until `end`, which then goes on to where it belongs.

    Whoever has taken it for stderr, as a log does, writes on through it. With `is_through` nothing waits for `end`.
    """

    def __init__(self, stream: TextIO, is_through: bool) -> None:
        self.stream = stream
        self.is_through = is_through
        self.text = ""
        self.has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        if not self.has_ended:
            self.text += text
        return self.stream.write(text) if self.is_through or self.has_ended else len(text)

    def end(self) -> None:
        if not (self.is_through or self.has_ended):
            self.stream.write(self.text)
        self.text, self.has_ended = "", True
        if sys.stderr is self:
            sys.stderr = self.stream


def hand_over_stderr() -> None:
    """From here on stderr is the job's, and no longer Hydra's that reads the command line."""
    if isinstance(sys.stderr, BufferedStderr):
        sys.stderr.end()


@contextmanager
def suggestions(config_dir: Path, config_name: str) -> Iterator[None]:
    """Where Hydra refuses an override before any job has begun, say what was meant instead of what Hydra says.

    In a sweep, whose jobs may all run elsewhere, it is said afterwards.
    """
    sys.argv = [sys.argv[0], *put_flags_first(choose_vectors(quote_values(sys.argv[1:]), config_dir))]
    held = BufferedStderr(sys.stderr, is_through=bool({"-m", "--multirun"} & set(sys.argv)))
    sys.stderr = held
    try:
        yield
    except SystemExit as stop:
        lines = advice(held.text, config_dir, config_name, sys.argv[1:]) if stop.code else []
        if lines and not held.is_through:
            held.text = ""
        held.end()
        for line in lines:
            print(f"error: {line}", file=sys.stderr)
        raise
    finally:
        held.end()


def put_flags_first(arguments: Sequence[str]) -> list[str]:
    """Hydra's flags and their values, then the overrides: it takes no overrides on both sides of a flag.

    Examples:
        >>> put_flags_first(["run=runs/mine", "--config-dir", "conf", "prompts=shapes", "-m"])
        ['--config-dir', 'conf', '-m', 'run=runs/mine', 'prompts=shapes']
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in FLAGS_WITH_VALUE:
            flags += [argument, *([value] if (value := next(rest, None)) is not None else [])]
        elif argument in OPEN_FLAGS:
            return list(arguments)
        else:
            (flags if argument.startswith("-") else overrides).append(argument)
    return flags + overrides


def quote_values(arguments: Sequence[str]) -> list[str]:
    """`KEY=VALUE` arguments, with quotes around a value that Hydra's grammar refuses for an `=` in it.

    Examples:
        >>> quote_values(["run_dir=runs/lr=1", "seed=0,1", "-m"])
        ["run_dir='runs/lr=1'", 'seed=0,1', '-m']
    """
    if not any(argument.count("=") > 1 for argument in arguments):
        return list(arguments)
    from bind.training.hydra_private import is_override

    quoted = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if "=" in value and not argument.startswith("-") and not is_override(argument):
            within = f"{key}='" + value.replace("'", r"\'") + "'"
            argument = within if is_override(within) else argument  # else Hydra says what is wrong with it as it was
        quoted.append(argument)
    return quoted


def advice(refusal: str, config_dir: Path, config_name: str, arguments: Sequence[str]) -> list[str]:
    """One line for each misspelt choice or key, or argument without `=`; none where Hydra refuses something else."""
    if missing := re.search(r"Could not find '(.+)/(.+?)'\s+Available options in '.+?':\n((?:\t.*\n?)+)", refusal):
        group, name, listed = missing.groups()
        names = listed.split()
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {group}={close[0]}? " if close else ""
        own = f"; one of your own is {group}/{name}.yaml in the folder that --config-dir FOLDER names"
        return [f"{group}={name}: {meant}There {'are' if len(names) > 1 else 'is'} {', '.join(names)}{own}"]
    if "Config group override must be a string" in refusal:  # null, true and numbers are none
        return nameless_choices(config_dir, arguments)
    if "missing EQUAL" in refusal:
        return without_value(config_dir, config_name, arguments)
    if failed := re.search(r"Error: \[Errno (\d+)\] (.+?): '(.+)'", refusal):  # where Hydra makes the folder of the run
        return [explain_os_error(OSError(int(failed[1]), failed[2], failed[3]))]
    if refused := re.search(r"Could not override '(.+?)'", refusal):
        lines = misspelt(config_dir, config_name, arguments)
        if refused[1] in lines:
            return [f"{key}: {line}" for key, line in lines.items()]
    return []


def misspelt(config_dir: Path, config_name: str, arguments: Sequence[str]) -> dict[str, str]:
    """Keys among `KEY=VALUE` arguments that neither config nor config groups know → what may have been meant."""
    assigned = [a for a in arguments if "=" in a and not a.startswith(("-", "~", "+"))]
    known = known_keys(config_dir, config_name, assigned)
    found = {}
    for key, _, value in (a.partition("=") for a in assigned):
        if known and key not in known and not key.startswith("hydra/"):
            found[key] = new_name(key, value, known) or meant(key, known)
    return found


def nameless_choices(config_dir: Path, arguments: Sequence[str]) -> list[str]:
    """One line for each choice of a group that is no name of a config, such as `logger=null`."""
    lines = []
    for group, _, value in (argument.lstrip("+").partition("=") for argument in arguments):
        names = sorted(path.stem for path in (config_dir / group).glob("*.yaml")) if group else []
        if names and value not in names:
            lines.append(f"{group}={value}: a choice is a name, one of {', '.join(names)}")
    return lines


def without_value(config_dir: Path, config_name: str, arguments: Sequence[str]) -> list[str]:
    """One line for each argument that lacks its `=VALUE` or `KEY=`."""
    from omegaconf import OmegaConf

    flags = ("-m", "--multirun")
    after = zip(["", *arguments], arguments, strict=False)  # a flag of Hydra's may take what follows it
    bare = [a for before, a in after if "=" not in a and a[:1] not in "-~" and (before[:1] != "-" or before in flags)]
    known = known_keys(config_dir, config_name, [a for a in arguments if "=" in a])
    main = config_dir / f"{config_name}.yaml"
    options: Any = OmegaConf.to_container(OmegaConf.load(main), resolve=False) if main.is_file() else {}
    set_keys = {a.split("=")[0] for a in arguments if "=" in a}
    unset = [key for key, value in flat(options) if value == "???" and key not in set_keys]
    lines = []
    for argument in bare:
        if argument.startswith("+") or argument in known:
            lines.append(f"{argument}: write {argument}=VALUE")
        else:
            hint = f"; did you mean {unset[0]}={argument}?" if unset else ""
            lines.append(f"{argument}: write KEY=VALUE{hint}")
    return lines


def known_keys(config_dir: Path, config_name: str, assigned: Sequence[str]) -> list[str]:
    """Config groups, and the keys there are with the choices among `KEY=VALUE` arguments; [] where they can't be."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    groups = groups_in(config_dir)
    # A choice of the user's own folder is left out: it adds keys, and the others are known all the same.
    choices = [
        a for a in assigned if a.split("=")[0] in groups and (config_dir / f"{a.replace('=', '/')}.yaml").is_file()
    ]
    try:
        with initialize_config_dir(str(config_dir), version_base="1.3"):
            config = compose(config_name, choices, return_hydra_config=True)
    except (HydraException, ValueError):
        return []
    return sorted(groups | {name for name, _ in flat(OmegaConf.to_container(config, resolve=False))})


def new_name(key: str, value: str, known: Sequence[str]) -> str | None:
    """What to write for a name that the user may choose, `pairs.imu-text.weight`; None for another key."""
    for parent in OF_FREE_NAMES:
        name, *rest = key.removeprefix(f"{parent}.").split(".")
        if key.startswith(f"{parent}.") and f"{parent}.{name}" not in known:
            children = [k.removeprefix(f"{parent}.") for k in known if k.startswith(f"{parent}.")]
            close = _close(name, [child for child in children if "." not in child])
            hint = "".join(f"did you mean {'.'.join([parent, like, *rest])}? If not, " for like in close)
            return f"{hint}write +{key}={value} for a new one"
    return None


def meant(key: str, known: Sequence[str]) -> str:
    """The closest of the `known` keys in words: beside it, of its name elsewhere, or like it; else those beside it."""
    parent, _, last = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    close = [f"{parent}.{name}".lstrip(".") for name in _close(last, [name.rpartition(".")[2] for name in beside])]
    elsewhere = [name for name in known if name.rpartition(".")[2] == last and not name.startswith("hydra.")]
    close = close or _close(key, elsewhere) or elsewhere[:3]
    close = close or (_close(key, known) if not parent or not beside else [])
    if close:
        return f"did you mean {' or '.join(close)}?"
    if parent and beside:
        return f"no such key; {parent} has {', '.join(name.rpartition('.')[2] for name in beside)}"
    return "no such key; --help lists those there are"


def _close(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)


def unread(config_dir: Path, config_name: str, overrides: Sequence[str]) -> dict[str, str]:
    """Keys that `+KEY=VALUE` adds where nothing of bind reads them → what may have been meant."""
    from omegaconf import OmegaConf

    added = [a[1:].split("=")[0] for a in overrides if re.match(r"\+[\w.-]+=", a)]
    main = config_dir / f"{config_name}.yaml"
    if not added or not main.is_file():
        return {}

    def keys(path: Path) -> list[str]:
        options = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        return [name for name, _ in flat(options) if name != "defaults"]

    known = {*groups_in(config_dir), *keys(main)}
    for group in OF_FIXED_KEYS:
        shared = config_dir.glob(f"_{group}.yaml")  # what all choices of the group have
        known |= {f"{group}.{key}" for path in (*shared, *config_dir.glob(f"{group}/*.yaml")) for key in keys(path)}
    found = {}
    for key in added:
        first, *rest = key.split(".")
        place = f"{first}.{rest[0]}" if rest and first in OF_FIXED_KEYS else first
        if place not in known:
            found[key] = meant(place, sorted(known))
    return found


def groups_in(config_dir: Path) -> set[str]:
    return {str(path.parent.relative_to(config_dir)) for path in config_dir.rglob("*/*.yaml")}


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a nested config in full, `data.batch_size`, with its value."""
    for key, value in config.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
