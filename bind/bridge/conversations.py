"""Conversations about inputs, in LLaVA's JSON: a list of `{"id", "image"|"audio"|…, "conversations": […]}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bind.files.plain_data import read_json
from bind.types import Modality

HUMAN, MODEL = "human", "gpt"
NO_INPUTS = ("id", "conversations", "model", "source", "metadata")
"""Keys of an entry that are no modality."""
PLACEHOLDER = re.compile(r"<(\w+)>\n?")
TEXT = "text"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns about inputs.

    Attributes:
        name: its id, or its place in the file.
        inputs: modality and value of each, in the order in which they are read; of files paths.
        turns: question and answer; of the last one the answer may be None.
    """

    name: str
    inputs: tuple[tuple[Modality, Any], ...]
    turns: tuple[tuple[str, str | None], ...]


def read_conversations(path: Path, known: Sequence[Modality]) -> list[Conversation]:
    """The conversations of a file, each of which ends with an answer.

    Args:
        known: modalities that can be embedded; files of theirs are named from the folder of the JSON file, a text
            stands there itself.

    Raises:
        ValueError: naming the file and the entry, for an unknown modality, a missing file, a question without input,
            turns that do not alternate, or a placeholder without its input.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: holds no conversations; write a list of entries with id, inputs and conversations")
    return [_read_entry(entry, number, path, known) for number, entry in enumerate(entries)]


def make_question(question: str, values: Mapping[Modality, Any], known: Iterable[Modality]) -> Conversation:
    """A single question about values, a list of values where there are several of one modality.

    Raises:
        ValueError: for an empty question, none about anything, or an unknown modality.

    Examples:
        >>> make_question("What is it?", {"audio": "a.wav"}, ["audio"]).inputs
        (('audio', 'a.wav'),)
        >>> make_question("What is it?", {}, ["audio"])
        Traceback (most recent call last):
        ValueError: 'What is it?': a question needs something that it is about, such as audio=FILE
    """
    known = list(known)
    where = repr(question)
    if not question.strip():
        raise ValueError("the question is empty: write it in quotes")
    inputs = _list_inputs(values, known, where)
    if not inputs:
        raise ValueError(f"{where}: a question needs something that it is about, such as {known[-1]}=FILE")
    placeholders, words = split_placeholders(question)
    return Conversation(question, _in_order(inputs, placeholders, where), ((words, None),))


def split_placeholders(text: str) -> tuple[list[Modality], str]:
    r"""The placeholders of inputs in a turn, and its words.

    Examples:
        >>> split_placeholders("<image>\n<audio>\nIs this the sound?")
        (['image', 'audio'], 'Is this the sound?')
    """
    return PLACEHOLDER.findall(text), " ".join(PLACEHOLDER.sub(" ", text).split())


def _read_entry(entry: Any, number: int, path: Path, known: Sequence[Modality]) -> Conversation:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: entry {number} is no mapping with id, inputs and conversations")
    name = str(entry.get("id", number))
    where = f"{path}: conversation {name}"
    values = {key: value for key, value in entry.items() if key not in NO_INPUTS}
    inputs = [(m, value if m == TEXT else path.parent / str(value)) for m, value in _list_inputs(values, known, where)]
    if not inputs:
        raise ValueError(f"{where} has a question without input: name its file as {known[-1]}, or leave it out")
    if absent := next((value for m, value in inputs if m != TEXT and not value.is_file()), None):
        raise ValueError(f"{where}: {absent}: no such file; paths count from the folder of the JSON file")
    turns = entry.get("conversations")
    if not isinstance(turns, list) or len(turns) < 2 or len(turns) % 2:
        raise ValueError(f"{where}: conversations has to be a list of questions, each with its answer behind it")
    said: list[tuple[list[Modality], str]] = []
    for place, turn in enumerate(turns):
        speaker = MODEL if place % 2 else HUMAN
        is_right = isinstance(turn, dict) and turn.get("from") == speaker and isinstance(turn.get("value"), str)
        if not is_right or not (words := split_placeholders(turn["value"]))[1]:
            raise ValueError(f'{where}: turn {place} has to be {{"from": "{speaker}", "value": WORDS}}')
        said.append(words)
    placeholders = [m for turn in said[::2] for m in turn[0]]
    pairs = zip(said[::2], turns[1::2], strict=True)
    return Conversation(
        name,
        _in_order(inputs, placeholders, where),
        tuple((question, " ".join(answer["value"].split())) for (_, question), answer in pairs),
    )


def _list_inputs(values: Mapping[Modality, Any], known: Sequence[Modality], where: str) -> list[tuple[Modality, Any]]:
    if unknown := [m for m in values if m not in known]:
        raise ValueError(f"{where}: unknown modality {unknown[0]!r}; this run embeds {', '.join(known)}")
    return [(m, x) for m, value in values.items() for x in (value if isinstance(value, list | tuple) else [value])]


def _in_order(
    inputs: Sequence[tuple[Modality, Any]], placeholders: Sequence[Modality], where: str
) -> tuple[tuple[Modality, Any], ...]:
    """The inputs in the order of their placeholders; as they stand where there are none."""
    if not placeholders:
        return tuple(inputs)
    if sorted(placeholders) != sorted(m for m, _ in inputs):
        raise ValueError(
            f"{where}: its placeholders are {' '.join(f'<{m}>' for m in placeholders)}, and its inputs "
            f"{', '.join(m for m, _ in inputs)}: write one for each, or none"
        )
    remaining = list(inputs)
    return tuple(remaining.pop(next(n for n, (m, _) in enumerate(remaining) if m == name)) for name in placeholders)
