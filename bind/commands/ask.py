"""Questions as a command: what a bridge answers about files and texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from bind.bridge.bridge import Bridge
from bind.bridge.conversations import Conversation
from bind.bridge.language_model import TOY
from bind.bridge.toy_texts import QUESTIONS, is_learned_question
from bind.commands.arguments.ask import read_arguments
from bind.commands.caption import hints_of_silence
from bind.commands.open_binder import open_binder
from bind.commands.taken_parts import print_taken_parts
from bind.files.writing import write_text


def main(arguments: list[str]) -> None:
    """Answer what the command line asks, and print it.

    Raises:
        ValueError: for options, files, a question, a run or a bridge that can't be used.
    """
    read = read_arguments(arguments)
    options, out = read.options, read.out
    binder, _ = open_binder(read.place, options, needs_data=False)
    conversations = read.conversations(binder.modalities)
    bridge = Bridge.load(read.bridge, binder)
    print_taken_parts(binder, [each for one in conversations for each in one.inputs])
    answers = bridge.answer(conversations, **read.writing)
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
    for hint in hints_of_silence(bridge, silent, read.writing["gap"]):
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
