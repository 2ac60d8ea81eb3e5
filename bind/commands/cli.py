"""The `bindspace` command: train, evaluate and embed from anywhere, and errors without a stack of frames."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bind.commands.overrides import flat, reset_used_keys, suggestions, unread
from bind.files.reading import explain_os_error
from bind.files.writing import remove_failed_start
from bind.terminal import ReaderGone, prepare_terminal

PACKAGE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = not (PACKAGE / "configs").is_dir()
"""Inside a wheel the configs and train.py lie in the package; in a checkout beside it."""
CONFIG_DIR = (PACKAGE.parent if IS_CHECKOUT else PACKAGE) / "configs"
TRAIN_SCRIPT = PACKAGE.parent / "train.py" if IS_CHECKOUT else PACKAGE / "commands" / "_train_script.py"


@dataclass(frozen=True, slots=True)
class Command:
    """What `bindspace NAME …` runs: `job` is `module:function`, loaded when it is called.

    A Hydra command has `configs/NAME.yaml` and its function takes the config; any other takes the list of arguments
    and may return an exit status.
    """

    job: str
    arguments: str
    help: str
    is_hydra: bool = True


COMMANDS = {
    "evaluate": Command(
        "bind.runs.jobs:evaluate", "run=PATH [split=test] [manifest=FILE]", "evaluate a finished run again"
    ),
    "probe": Command(
        "bind.studies.probe.command:probe",
        "run=PATH [k=[1,2,4,8,16]] [draws=5]",
        "classify frozen embeddings, from a few examples and from all",
    ),
    "robustness": Command(
        "bind.studies.robustness.command:robustness",
        "run=PATH [kinds=[audio_snr_db]]",
        "measure what noise and missing inputs do, as curves",
    ),
    "heterogeneity": Command(
        "bind.studies.heterogeneity.command:heterogeneity",
        "run=PATH [steps=40] [seeds=[0,1,2]]",
        "say which modalities are alike and which pairs deserve a fusion",
    ),
    "embed": Command(
        "bind.commands.embed:embed",
        "run=PATH manifest=FILE|files=PATTERN out=FILE.parquet",
        "embed a table's samples, or files, and write the vectors",
    ),
    "export": Command(
        "bind.commands.export:export",
        "run=PATH to=onnx out=FOLDER [int8=true]",
        "write encoders for onnxruntime, ExecuTorch or torch alone",
    ),
    "share": Command(
        "bind.commands.share:share",
        "run=PATH out=FOLDER [repo=ORG/NAME] [push=true]",
        "write a binder for others, with a model card, and to the hub",
    ),
    "mteb": Command(
        "bind.commands.mteb:mteb",
        "run=PATH tasks=[TASK,...]",
        "measure a binder by MTEB's tasks",
    ),
    "index": Command(
        "bind.commands.index:index",
        "run=PATH manifest=FILE|files=PATTERN out=INDEX",
        "embed a manifest's samples, or files, to search them",
    ),
    "search": Command(
        "bind.commands.search:main",
        'INDEX "WORDS" [audio=FILE] [top=10] [in=image]',
        "find what is nearest to words, a sound, a picture, …",
        is_hydra=False,
    ),
    "explain": Command(
        "bind.commands.explain:explain",
        "run=PATH a=audio:FILE b=image:FILE",
        "say why two things are close: concepts, maps, evidence",
    ),
    "bridge": Command(
        "bind.commands.bridge:bridge",
        "run=PATH lm=toy texts=FILE out=FOLDER",
        "train a bridge to a language model, on texts alone",
    ),
    "caption": Command(
        "bind.commands.caption:main",
        "run=PATH bridge=FOLDER audio=FILE",
        "say in words what a sound, a motion, a picture is",
        is_hydra=False,
    ),
    "ask": Command(
        "bind.commands.ask:main",
        'run=PATH bridge=FOLDER image=FILE "QUESTION"',
        "answer a question about files",
        is_hydra=False,
    ),
    "timeline": Command(
        "bind.studies.timeline.command:timeline",
        "run=PATH imu=FILE labels=NAME out=FILE",
        "say from when to when a recording shows which label",
    ),
    "serve": Command(
        "bind.serve.command:serve",
        "run=PATH [index=INDEX] [port=8080]",
        "embed and search over HTTP, with a page to search on",
    ),
    "cache": Command(
        "bind.commands.cache:cache",
        "[overrides as for train]",
        "embed pictures and texts once, before any training",
    ),
    "cached": Command(
        "bind.commands.cached:cached",
        "[delete=[FOLDER,...]]",
        "list what is in the anchor cache, or delete some of it",
    ),
    "leakage": Command(
        "bind.studies.leakage:leakage",
        "run=PATH [split=test]",
        "find what a split shares with all that a run was trained on",
    ),
    "compare": Command(
        "bind.studies.compare:main",
        "RUN_A RUN_B [--split test]",
        "say which differences between two runs are real",
        is_hydra=False,
    ),
    "convert": Command(
        "bind.commands.convert:main",
        "imagebind|languagebind PLACE OUT",
        "turn published weights into a binder",
        is_hydra=False,
    ),
    "pack": Command(
        "bind.commands.pack:pack",
        "manifest=FILE out=FOLDER [shard_megabytes=256]",
        "pack a table and its files into WebDataset shards",
    ),
    "doctor": Command(
        "bind.studies.doctor.command:main",
        "MANIFEST [--json FILE] [--anchor NAME]",
        "say what is wrong with a table of samples and its files",
        is_hydra=False,
    ),
    "sync": Command(
        "bind.studies.sync.command:main",
        "MANIFEST [--reference video] [--max-lag 3]",
        "find how the clocks of a recording's streams differ",
        is_hydra=False,
    ),
    "sensor-import": Command(
        "bind.commands.sensor_import.command:main",
        "LAYOUT EXPORT … --out FOLDER",
        "turn exports of phones and sensors into sensor files",
        is_hydra=False,
    ),
    "learning-curve": Command(
        "bind.commands.learning_curve:main",
        "[shares=[0.5,1]] [overrides]",
        "what would twice as many owners (people) bring?",
        is_hydra=False,
    ),
    "sweep-report": Command(
        "bind.studies.sweeps.report:main",
        "PATH",
        "make the table and the plot of a sweep (train -m …) again",
        is_hydra=False,
    ),
}


def usage() -> str:
    train = ("train", "[overrides]", "train, evaluate the best checkpoint, write a run directory")
    lines = [
        "usage: bindspace COMMAND [KEY=VALUE ...]",
        "",
        "Train encoders for new modalities into the space of a frozen CLIP, and use what they have learned.",
        "",
    ]
    for name, arguments, help in (train, *((n, c.arguments, c.help) for n, c in COMMANDS.items())):
        start = f"  {name:<15}{arguments:<28}"
        lines += [f"{start}{help}"] if start.endswith(" ") else [start, f"{'':<45}{help}"]
    first = "To begin: bindspace train debug=tiny takes a minute and needs no data; bindspace COMMAND --help says more."
    return "\n".join([*lines, "", first])


SWEEP_PLUGINS = {
    "optuna": "hydra-optuna-sweeper",
    "joblib": "hydra-joblib-launcher",
    "submitit": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
}
"""What a choice of configs/sweep needs; the extra of the same name installs it."""


class JobFailed(SystemExit):
    """Exit status 1 of a job that has printed why."""


def run_job(job: Callable[[Any], Any], cfg: Any) -> Any:
    """`job(cfg)`, where what a user can get wrong is one message and exit status 1.

    Under `-m` the other jobs of the sweep still run. HYDRA_FULL_ERROR=1 shows the frames.
    """
    from bind.training.hydra_private import output_dir

    try:
        with remove_failed_start(output_dir() or Path()):  # Hydra has made it
            refuse_unset(cfg)
            require_multirun_for_sweep(cfg)
            warn_unused_overrides()
            return job(cfg)
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") == "1":
            raise
        message = f"error: {plain_message(error)}"
        print(message, file=sys.stderr, flush=True)
        if in_sweep():
            from hydra.errors import CompactHydraException

            # Hydra runs the other jobs, says it again at the end, and exits with 1.
            raise CompactHydraException(message) from None
        raise JobFailed(1) from None


def in_sweep() -> bool:
    """Whether this process runs the jobs of `-m`."""
    from bind.training.hydra_private import is_multirun

    return is_multirun()


def run_train(cfg: Any) -> float | None:
    """Train; a job of a sweep leaves its outcome for the sweep's table.

    Returns:
        The best value of `cfg.monitor`; None in a sweep where there is none.
    """
    train = load("bind.runs.jobs:train")
    try:
        if not in_sweep():
            best: float | None = run_job(train, cfg)
            return best
        from bind.studies.sweeps.jobs import run_recorded

        run_as_train_script()
        return run_recorded(lambda: run_job(train, cfg), cfg.monitor)
    except ReaderGone:  # a table of figures may end without a word, hours of work may not
        print(
            "the training stopped: nobody reads its output now, as behind `| head`. Send it to a file, `> log.txt`. "
            "run_dir=RUN ckpt=auto goes on from its last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        raise


def load(job: str) -> Callable[[Any], Any]:
    """The function `module:function`; torch, transformers and lightning load with it, which is said on a terminal."""
    reset_used_keys()
    if sys.stderr.isatty() and "torch" not in sys.modules and "LOCAL_RANK" not in os.environ:
        print("loading …", file=sys.stderr, flush=True)
    module, _, function = job.partition(":")
    loaded: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return loaded


def report_interrupt(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """A `sys.excepthook`: one line for a Ctrl-C that nothing took; Python then dies of the signal, as shells expect."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, frames)
    elif "LOCAL_RANK" not in os.environ:
        print("stopped by SIGINT", file=sys.stderr, flush=True)


def run_as_train_script() -> None:
    """In a process that a launcher started for a job: the command line with which more processes can join the job.

    Multi-process training starts the script in argv[0] again, which would be the launcher's own.
    """
    from bind.training.hydra_private import current_job

    job = current_job()
    if job is None or Path(sys.argv[0]).resolve() == TRAIN_SCRIPT.resolve():
        return
    sources = job.runtime.config_sources
    folders = [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]
    sys.argv = [str(TRAIN_SCRIPT), f"--config-name={job.job.config_name}", *folders]
    sys.modules["__main__"].__spec__ = None


@contextlib.contextmanager
def sweeps(arguments: list[str]) -> Iterator[None]:
    """Refuse a choice of configs/sweep that is not installed; when a sweep has ended, however it did, its table."""
    from importlib import metadata

    from bind.studies.sweeps.jobs import SweepFolder, has_jobs

    chosen = [name for a in arguments if a.startswith("sweep=") for name in re.findall(r"\w+", a)[1:]]
    for name in chosen:
        try:
            metadata.distribution(SWEEP_PLUGINS.get(name, "hydra-core"))
        except metadata.PackageNotFoundError as error:
            message = f'sweep={name} needs {error.name}: pip install "bindspace[{name}]"'
            print(f"error: {message}", file=sys.stderr)
            raise JobFailed(1) from None
    SweepFolder.path = None
    try:
        yield
    finally:
        if SweepFolder.path and has_jobs(SweepFolder.path):
            from bind.studies.sweeps.report import report_sweep

            report_sweep(SweepFolder.path)


def refuse_unset(cfg: Any) -> None:
    """Raise ValueError, naming the keys, where the config holds values that only the user can give."""
    from omegaconf import OmegaConf

    unset = [name for name, value in flat(OmegaConf.to_container(cfg, resolve=False)) if value == "???"]
    if unset:
        raise ValueError(f"not set: {', '.join(unset)}; pass " + " ".join(f"{name}=VALUE" for name in unset))


def warn_unused_overrides() -> None:
    """Warn of keys that the command line adds with + and nothing reads."""
    from bind.training.hydra_private import current_job

    if (job := current_job()) is not None:
        for key, meant in unread(CONFIG_DIR, str(job.job.config_name), job.overrides.task).items():
            hint = f"; {meant}" if meant.startswith("did") else ""
            print(f"warning: +{key}: nothing in bind reads it{hint}", file=sys.stderr, flush=True)


def require_multirun_for_sweep(cfg: Any) -> None:
    """Raise ValueError where a choice of configs/sweep came without `-m`, which alone makes a sweep."""
    from bind.training.hydra_private import current_job

    if (job := current_job()) is None or in_sweep():
        return
    if "LOCAL_RANK" in os.environ or cfg.get("ckpt"):  # a further process of a sweep's job; one that goes on by itself
        return
    if chosen := job.runtime.choices.get("sweep"):
        raise ValueError(f"sweep={chosen} does nothing without -m: python train.py -m sweep={chosen} …")


def plain_message(error: BaseException) -> str:
    """The message of an error, without the traceback that a loader's worker process wraps around it."""
    message = explain_os_error(error) if isinstance(error, OSError) else str(error)
    if "Original Traceback" in message:
        message = message.rsplit("\nValueError: ", 1)[-1]
    return message.strip()


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
        status = load(COMMANDS[name].job)(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {plain_message(error)}", file=sys.stderr)
        raise JobFailed(1) from None
    if status:
        raise JobFailed(status)


def _hydra_command(name: str) -> None:
    import hydra

    @hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=name)
    def command(cfg: Any) -> Any:
        return run_job(load(COMMANDS[name].job), cfg)

    with suggestions(CONFIG_DIR, name):
        command()


if __name__ == "__main__":
    main()
