"""Inputs on a command line that has words beside them: `audio=a.wav`, patterns of files, options and plain words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bind.commands.files import match_files, require_file
from bind.types import Modality

KEY_AND_VALUE = re.compile(r"([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)=(.*)", re.DOTALL | re.ASCII)
TEXT = "text"


@dataclass(frozen=True)
class NamedInputs:
    """What a command line names.

    Attributes:
        words: arguments without a key.
        options: key → value, of the known keys.
        inputs: modality and value of each input: a path or pattern as it was named, or a text.
    """

    words: list[str]
    options: dict[str, str]
    inputs: list[tuple[Modality, str]]


def read_named_inputs(arguments: Sequence[str], options: Collection[str], parents: Collection[str] = ()) -> NamedInputs:
    """Sort arguments: `KEY=VALUE` is an option where the key is one of `options`, else an input of that modality.

    Args:
        parents: options that also have children, `PARENT.NAME=VALUE`.

    Raises:
        ValueError: for an option that is there twice, or an empty value.

    Examples:
        >>> named = read_named_inputs(["What is it?", "text=a dog", "gap=mean"], ["gap"])
        >>> named.words, named.options, named.inputs
        (['What is it?'], {'gap': 'mean'}, [('text', 'a dog')])
    """
    named = NamedInputs([], {}, [])
    for argument in arguments:
        match = KEY_AND_VALUE.fullmatch(argument)
        if not match:
            named.words.append(argument)
            continue
        key, value = match[1], match[2]
        if not value.strip():
            raise ValueError(f"{argument}: write {key}=VALUE")
        if key in options or ("." in key and key.partition(".")[0] in parents):
            if key in named.options:
                raise ValueError(f"{argument}: there is a {key} already ({named.options[key]})")
            named.options[key] = value
        else:
            named.inputs.append((key, value))
    return named


def find_files(inputs: Sequence[tuple[Modality, str]], *, are_patterns: bool) -> list[tuple[Modality, str]]:
    """The inputs with the files that they name; texts stay.

    Args:
        are_patterns: each may be a pattern of several files.

    Raises:
        ValueError: for a file that is not there.
    """
    files = []
    for modality, value in inputs:
        names = [value] if modality == TEXT else _files(modality, value, are_patterns)
        files += [(modality, name) for name in names]
    return files


def _files(modality: Modality, value: str, are_patterns: bool) -> list[str]:
    if are_patterns:
        try:
            return match_files([value])
        except ValueError as error:
            raise ValueError(str(error).replace("files=", f"{modality}=")) from None
    return [str(require_file(modality, value))]


def require_modalities(
    inputs: Sequence[tuple[Modality, str]], known: Sequence[Modality], options: Sequence[str]
) -> None:
    """Raise ValueError, with what there is, where an input is of no modality that can be embedded."""
    for modality, value in inputs:
        if modality not in known:
            raise ValueError(
                f"{modality}={value}: this run embeds no {modality} but {', '.join(known)}; the options are "
                f"{', '.join(options)}"
            )
