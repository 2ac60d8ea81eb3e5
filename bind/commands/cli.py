"""The `bindspace` command: train, evaluate and embed from anywhere, and errors without a stack of frames."""

from __future__ import annotations

import difflib
import functools
import runpy
import sys
from typing import Any

from bind.commands.checkout import CONFIG_DIR, TRAIN_SCRIPT
from bind.commands.command_table import COMMANDS, usage
from bind.commands.failures import JobFailed, plain_message, report_interrupt
from bind.commands.overrides import suggestions
from bind.commands.running import run_command, run_job
from bind.terminal import prepare_terminal


def main() -> None:
    """Entry point of `bindspace` and `python -m bind`."""
    prepare_terminal()
    sys.excepthook = report_interrupt
    command, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command == "train":
        # Multi-process training starts the script in argv[0] again, so it must be train.py itself.
        sys.argv = [str(TRAIN_SCRIPT), *rest]
        sys.modules["__main__"].__spec__ = None
        runpy.run_path(str(TRAIN_SCRIPT), run_name="__main__")
    elif command in COMMANDS and COMMANDS[command].is_hydra:
        sys.argv = [f"bindspace {command}", *rest]
        _hydra_command(command)
    elif command in COMMANDS:
        _plain_command(command, rest)
    else:
        known = command in ("", "-h", "--help", "help")
        close = difflib.get_close_matches(command, ["train", *COMMANDS], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        print(
            usage() if known else f"error: unknown command {command!r}{hint}\n\n{usage()}",
            file=sys.stdout if known else sys.stderr,
        )
        raise SystemExit(0 if known else 2)


def _plain_command(name: str, arguments: list[str]) -> None:
    try:
        status = run_command(COMMANDS[name], arguments)
    except (ValueError, OSError) as error:
        print(f"error: {plain_message(error)}", file=sys.stderr)
        raise JobFailed(1) from None
    if status:
        raise JobFailed(status)


def _hydra_command(name: str) -> None:
    import hydra

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=name)
    def command(cfg: Any) -> Any:
        return run_job(functools.partial(run_command, COMMANDS[name]), cfg)

    with suggestions(CONFIG_DIR, name):
        command()


if __name__ == "__main__":
    main()
