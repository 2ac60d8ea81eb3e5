"""Table of the commands of `bindspace`: what each runs, checks first, and says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """What `bindspace NAME …` runs: `job` is `module:function`, loaded when it is called.

    A Hydra command has `configs/NAME.yaml` and its function takes the config; any other takes the list of arguments
    and may return an exit status.

    Loading a job takes seconds: torch, transformers and lightning come with it. What is wrong with arguments, with the
    config of a run or with the name of a file is told before: `check`, another `module:function` whose module imports
    none of them, is called first with the same. The job calls it too, since not all of its callers are this command.
    """

    job: str
    arguments: str
    help: str
    is_hydra: bool = True
    check: str = ""


COMMANDS = {
    "evaluate": Command(
        "bind.runs.jobs:evaluate",
        "run=PATH [split=test] [manifest=FILE]",
        "evaluate a finished run again",
        check="bind.commands.arguments.run:require_run",
    ),
    "probe": Command(
        "bind.studies.probe.command:probe",
        "run=PATH [k=[1,2,4,8,16]] [draws=5]",
        "classify frozen embeddings, from a few examples and from all",
        check="bind.commands.arguments.run:require_run",
    ),
    "robustness": Command(
        "bind.studies.robustness.command:robustness",
        "run=PATH [kinds=[audio_snr_db]]",
        "measure what noise and missing inputs do, as curves",
        check="bind.commands.arguments.run:require_run",
    ),
    "heterogeneity": Command(
        "bind.studies.heterogeneity.command:heterogeneity",
        "run=PATH [steps=40] [seeds=[0,1,2]]",
        "say which modalities are alike and which pairs deserve a fusion",
        check="bind.commands.arguments.run:require_run",
    ),
    "embed": Command(
        "bind.commands.embed:embed",
        "run=PATH manifest=FILE|files=PATTERN out=FILE.parquet",
        "embed a table's samples, or files, and write the vectors",
        check="bind.commands.arguments.embed:read_arguments",
    ),
    "export": Command(
        "bind.commands.export:export",
        "run=PATH to=onnx out=FOLDER [int8=true]",
        "write encoders for onnxruntime, ExecuTorch or torch alone",
        check="bind.commands.arguments.run:require_run",
    ),
    "share": Command(
        "bind.commands.share:share",
        "run=PATH out=FOLDER [repo=ORG/NAME] [push=true]",
        "write a binder for others, with a model card, and to the hub",
        check="bind.commands.arguments.run:require_run",
    ),
    "mteb": Command(
        "bind.commands.mteb:mteb",
        "run=PATH tasks=[TASK,...]",
        "measure a binder by MTEB's tasks",
        check="bind.commands.arguments.mteb:check_arguments",
    ),
    "index": Command(
        "bind.commands.index:index",
        "run=PATH manifest=FILE|files=PATTERN out=INDEX",
        "embed a manifest's samples, or files, to search them",
        check="bind.commands.arguments.index:check_arguments",
    ),
    "search": Command(
        "bind.commands.search:main",
        'INDEX "WORDS" [audio=FILE] [top=10] [in=image]',
        "find what is nearest to words, a sound, a picture, …",
        is_hydra=False,
        check="bind.commands.arguments.search:read_arguments",
    ),
    "explain": Command(
        "bind.commands.explain:explain",
        "run=PATH a=audio:FILE b=image:FILE",
        "say why two things are close: concepts, maps, evidence",
        check="bind.commands.arguments.explain:read_arguments",
    ),
    "bridge": Command(
        "bind.commands.bridge:bridge",
        "run=PATH lm=toy texts=FILE out=FOLDER",
        "train a bridge to a language model, on texts alone",
        check="bind.commands.arguments.bridge:read_arguments",
    ),
    "caption": Command(
        "bind.commands.caption:main",
        "run=PATH bridge=FOLDER audio=FILE",
        "say in words what a sound, a motion, a picture is",
        is_hydra=False,
        check="bind.commands.arguments.caption:read_arguments",
    ),
    "ask": Command(
        "bind.commands.ask:main",
        'run=PATH bridge=FOLDER image=FILE "QUESTION"',
        "answer a question about files",
        is_hydra=False,
        check="bind.commands.arguments.ask:read_arguments",
    ),
    "timeline": Command(
        "bind.studies.timeline.command:timeline",
        "run=PATH imu=FILE labels=NAME out=FILE",
        "say from when to when a recording shows which label",
        check="bind.studies.timeline.arguments:read_arguments",
    ),
    "serve": Command(
        "bind.serve.command:serve",
        "run=PATH [index=INDEX] [port=8080]",
        "embed and search over HTTP, with a page to search on",
        check="bind.serve.arguments:read_arguments",
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
        check="bind.commands.arguments.run:require_run",
    ),
    "compare": Command(
        "bind.studies.compare:main",
        "RUN_A RUN_B [--split test]",
        "say which differences between two runs are real",
        is_hydra=False,
        check="bind.studies.compare_arguments:read_arguments",
    ),
    "convert": Command(
        "bind.commands.convert:main",
        "imagebind|languagebind PLACE OUT",
        "turn published weights into a binder",
        is_hydra=False,
        check="bind.commands.arguments.convert:read_arguments",
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
        check="bind.studies.doctor.arguments:read_arguments",
    ),
    "sync": Command(
        "bind.studies.sync.command:main",
        "MANIFEST [--reference video] [--max-lag 3]",
        "find how the clocks of a recording's streams differ",
        is_hydra=False,
        check="bind.studies.sync.arguments:read_arguments",
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
        check="bind.commands.arguments.learning_curve:read_arguments",
    ),
    "sweep-report": Command(
        "bind.studies.sweeps.report:main",
        "PATH",
        "make the table and the plot of a sweep (train -m …) again",
        is_hydra=False,
    ),
}


TRAIN = Command(
    "bind.runs.jobs:train",
    "[overrides]",
    "train, evaluate the best checkpoint, write a run directory",
    check="bind.commands.arguments.train:check_arguments",
)
"""Which `main` runs as train.py, so that more processes can join it."""


def usage() -> str:
    lines = [
        "usage: bindspace COMMAND [KEY=VALUE ...]",
        "",
        "Train encoders for new modalities into the space of a frozen CLIP, and use what they have learned.",
        "",
    ]
    for name, command in {"train": TRAIN, **COMMANDS}.items():
        start = f"  {name:<15}{command.arguments:<28}"
        lines += [f"{start}{command.help}"] if start.endswith(" ") else [start, f"{'':<45}{command.help}"]
    first = "To begin: bindspace train debug=tiny takes a minute and needs no data; bindspace COMMAND --help says more."
    return "\n".join([*lines, "", first])
