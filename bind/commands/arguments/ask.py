"""Arguments of `bindspace ask`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.bridge.conversations import Conversation, make_question, read_conversations
from bind.bridge.remedies import require_choice
from bind.commands.arguments.caption import bridge_folder, output_file, place_of_binder, writing_options
from bind.commands.named_inputs import find_files, read_named_inputs, require_modalities
from bind.model.places import saved_modalities, trained_modalities
from bind.types import Modality

DESCRIPTION = """\
Ask about files and texts, by a bridge that bindspace bridge made.

bindspace ask run=PATH bridge=FOLDER MODALITY=FILE ... "QUESTION" [KEY=VALUE ...]
bindspace ask run=PATH bridge=FOLDER questions=FILE.json [KEY=VALUE ...]

  run=PATH               a run directory; or binder=PATH, a folder from Binder.save, or NAME/REPOSITORY on the hub
  bridge=FOLDER          the folder of a bridge
  image=FILE             or audio=, imu=, … any modality of the binder; text=WORDS. Several are read in their order
  "QUESTION"             in quotes; lm=toy knows the wordings that docs/bridge.md lists, and those of instructions=
  questions=FILE.json    in place of both: conversations in LLaVA's JSON, of which the last question is answered
  gap=mean               noise, mean, captions or memory, in place of the bridge's own; gap.image=mean for one modality
  max_tokens=40          an answer that does not end is cut there
  beams=1                answers that are followed at a time
  out=FILE.jsonl         with questions=: write all answers there
  trust=PACKAGE          packages besides bind whose classes the config may name, and folders it may read

Examples:
  bindspace ask run=runs/mine bridge=my_bridge image=thing.png "What shape is it?"
  bindspace ask run=runs/mine bridge=my_bridge image=thing.png audio=thing.wav "Is this the sound of that picture?"
"""
OPTIONS = ("run", "binder", "bridge", "questions", "gap", "max_tokens", "beams", "out", "trust")


@dataclass(frozen=True, slots=True)
class AskArguments:
    """What is asked, about what.

    Attributes:
        options: key → value, as they stand there.
        inputs: modality and file or text of each; none where the conversations of a file are answered.
        question: "" where a file has them.
        place: run directory, folder of a binder, or its name on the hub.
        bridge: its folder.
        out: the file that is written, None without one.
        writing: options of `Bridge.ask`.
    """

    options: Mapping[str, str]
    inputs: Sequence[tuple[Modality, str]]
    question: str
    place: str
    bridge: Path
    out: Path | None
    writing: dict[str, Any]

    def conversations(self, known: Sequence[Modality]) -> list[Conversation]:
        """The questions, each with its inputs.

        Raises:
            ValueError: for a modality that is not `known`, and a file or a question that can't be used.
        """
        require_modalities(self.inputs, known, OPTIONS)
        require_choice(self.writing["gap"], known)
        if "questions" in self.options:
            return read_conversations(Path(self.options["questions"]).expanduser(), known)
        values: dict[Modality, list[str]] = {}
        for modality, value in self.inputs:
            values.setdefault(modality, []).append(value)
        return [make_question(self.question, values, known)]


def read_arguments(arguments: Sequence[str]) -> AskArguments:
    """What the command line says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for options, files, a question, a run or a bridge that can't be used.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace ask", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="QUESTION or KEY=VALUE", help="see above")
    named = read_named_inputs(parser.parse_args(arguments).words, OPTIONS, parents=("gap",))
    options, out = named.options, output_file(named.options)
    if len(named.words) + ("questions" in options) != 1:
        raise ValueError("ask one question, in quotes, or name a file of them: questions=FILE.json")
    writing, place = writing_options(options), place_of_binder(options)
    inputs, question = find_files(named.inputs, are_patterns=False), "".join(named.words)
    read = AskArguments(options, inputs, question, place, bridge_folder(options), out, writing)
    known = saved_modalities(place)
    if known is not None:
        read.conversations(known)
    elif question and not inputs and (trained := trained_modalities(place)):
        make_question(question, {}, trained)
    return read
