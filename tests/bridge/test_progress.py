"""Lines of progress: the first one soon, the others seldom, and what is left of the time."""

import pytest

from bind.bridge.progress import ProgressLines


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr("bind.bridge.progress.time.monotonic", lambda: now[0])
    return now


def test_a_line_comes_after_ten_seconds_and_then_each_minute(clock, capsys):
    lines = ProgressLines("step", 1_000)
    for _ in range(200):
        clock[0] += 1.0
        lines.print_if_due(round(clock[0]) - 100, lambda: "loss 0.5")
    assert capsys.readouterr().out.splitlines() == [
        "step 10/1,000, loss 0.5, 990 s left",
        "step 70/1,000, loss 0.5, 930 s left",
        "step 130/1,000, loss 0.5, 870 s left",
        "step 190/1,000, loss 0.5, 810 s left",
    ]


def test_what_was_done_before_took_no_time_of_this_job(clock, capsys):
    lines = ProgressLines("step", 100, first=50)
    clock[0] += 10.0
    lines.print_if_due(60)
    assert capsys.readouterr().out == "step 60/100, 40 s left\n"


def test_a_note_is_only_asked_for_a_line(clock):
    asked = []
    ProgressLines("step", 100).print_if_due(1, lambda: asked.append(1) or "")
    assert not asked
