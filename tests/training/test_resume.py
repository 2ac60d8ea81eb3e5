"""Commands that are printed can be pasted."""

import sys

import pytest

from bind.training.resume import invocation


@pytest.mark.parametrize(
    ("arguments", "pasted"),
    [
        (["bindspace evaluate", "run=runs/two"], "bindspace evaluate run=runs/two"),
        (["/a b/train.py", "title='x, y'"], """python '/a b/train.py' 'title='"'"'x, y'"'"''"""),
    ],
)
def test_what_a_process_runs_is_a_line_for_the_shell(monkeypatch, arguments, pasted):
    monkeypatch.setattr(sys, "argv", arguments)
    assert invocation() == pasted
