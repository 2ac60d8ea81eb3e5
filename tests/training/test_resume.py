"""Commands that are printed can be pasted."""

import sys

import pytest

from bind.training.resume import changes, invocation


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


def test_where_the_first_weights_came_from_is_no_change_of_a_run_that_goes_on():
    before = {"init_from": "runs/a", "init_parts": {"encoders.imu.trunk": "encoders.audio.trunk"}, "seed": 0}
    assert list(changes(before, {"init_from": None, "init_parts": None, "seed": 0})) == []
    assert list(changes(before, {"seed": 1})) == ["seed: 0 → 1"]
