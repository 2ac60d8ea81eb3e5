"""The `bindspace` command: train, evaluate and embed from anywhere, and errors without a stack of frames."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
# Inside a wheel the configs and train.py lie in the package; in a checkout beside it.
HOME = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent
CONFIG_DIR = HOME / "configs"

USAGE = """usage: bindspace COMMAND [KEY=VALUE ...]

  train     [overrides]                     train, evaluate the best checkpoint, write a run directory
  evaluate  run=PATH [split=test]           evaluate a run again
  embed     run=PATH manifest=FILE out=FILE.parquet [modalities=[audio]]
                                            write vectors of a manifest's samples

bindspace COMMAND --help says more."""


def run_job(job: Callable[[Any], Any], cfg: Any) -> Any:
    """`job(cfg)`, with what a user can get wrong told in one message and exit status 1.

    HYDRA_FULL_ERROR=1 shows the frames.
    """
    try:
        return job(cfg)
    except ValueError as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") == "1":
            raise
        print(f"error: {plain_message(error)}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


def plain_message(error: BaseException) -> str:
    """The message of an error, without the traceback that a loader's worker process wraps around it."""
    message = str(error)
    if "Original Traceback" in message:
        message = message.rsplit("\nValueError: ", 1)[-1]
    return message.strip()


def main() -> None:
    """Entry point of `bindspace` and `python -m bind`."""
    command, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command == "train":
        # Multi-process training starts the script in argv[0] again, so it must be train.py itself.
        script = str(HOME / "train.py")
        sys.argv = [script, *rest]
        sys.modules["__main__"].__spec__ = None
        runpy.run_path(script, run_name="__main__")
    elif command in ("evaluate", "embed"):
        sys.argv = [f"bindspace {command}", *rest]
        _hydra_command(command)
    else:
        known = command in ("", "-h", "--help", "help")
        print(
            USAGE if known else f"error: unknown command {command!r}\n\n{USAGE}",
            file=sys.stdout if known else sys.stderr,
        )
        raise SystemExit(0 if known else 2)


def _hydra_command(name: str) -> None:
    import hydra

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=name)
    def command(cfg: Any) -> Any:
        import bind.run

        return run_job(getattr(bind.run, name), cfg)

    command()


if __name__ == "__main__":
    main()
