"""Questions as a command: what a bridge answers about files and texts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bind.bridge.bridge import Bridge
from bind.bridge.conversations import Conversation, make_question, read_conversations
from bind.bridge.gap import require_choice
from bind.bridge.language_model import TOY
from bind.bridge.toy_texts import QUESTIONS, is_learned_question
from bind.commands.caption import (
    hints_of_silence,
    open_binder,
    output_file,
    place_of_binder,
    required,
    writing_options,
)
from bind.commands.named_inputs import find_files, read_named_inputs, require_modalities
from bind.commands.taken_parts import print_taken_parts
from bind.files.writing import write_text
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


def main(arguments: list[str]) -> None:
    """Answer what the command line asks, and print it.

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
    writing = writing_options(options)
    place = place_of_binder(options)
    inputs = find_files(named.inputs, are_patterns=False)
    binder, _ = open_binder(place, options, needs_data=False)
    require_modalities(inputs, binder.modalities, OPTIONS)
    require_choice(writing["gap"], binder.modalities)
    if "questions" in options:
        conversations = read_conversations(Path(options["questions"]).expanduser(), binder.modalities)
    else:
        values: dict[Modality, list[str]] = {}
        for modality, value in inputs:
            values.setdefault(modality, []).append(value)
        conversations = [make_question(named.words[0], values, binder.modalities)]
    bridge = Bridge.load(required(options, "bridge"), binder)
    print_taken_parts(binder, [each for one in conversations for each in one.inputs])
    answers = bridge.answer(conversations, **writing)
    rows = [
        {"id": one.name, "question": one.turns[-1][0], "answer": answer}
        for one, answer in zip(conversations, answers, strict=True)
    ]
    if out:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        print(f"{len(rows)} answers: {out}")
    elif "questions" in options:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        print(answers[0] or "(nothing)")
    silent = [m for one, answer in zip(conversations, answers, strict=True) if not answer for m, _ in one.inputs]
    for hint in hints_of_silence(bridge, silent, writing["gap"]):
        print(hint, file=sys.stderr)
    if strange := strange_questions(bridge, conversations):
        print(
            f"lm={TOY} did not learn the question {strange[0]!r}, so that its answer says nothing: docs/bridge.md "
            f"lists those that it did, such as {QUESTIONS['shape'][0]!r} and {QUESTIONS['digit'][0]!r}",
            file=sys.stderr,
        )


def strange_questions(bridge: Bridge, conversations: Sequence[Conversation]) -> list[str]:
    """Last questions that the shipped language model did not learn; none where the bridge learned questions itself."""
    if bridge.lm.name != TOY or bridge.facts.get("num_instructions"):
        return []
    return [one.turns[-1][0] for one in conversations if not is_learned_question(one.turns[-1][0])]
