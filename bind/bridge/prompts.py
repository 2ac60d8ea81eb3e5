"""Prompts: the words around soft tokens and questions."""

from __future__ import annotations


def ask_prompt(question: str) -> str:
    r"""What precedes an answer.

    Examples:
        >>> ask_prompt("What shape is it?")
        'Question: What shape is it?\nAnswer:'
    """
    return f"Question: {question}\nAnswer:"
