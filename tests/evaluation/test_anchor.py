"""An anchor that is at chance in all of its own tasks is named; one that knows anything is not."""

import pytest

from bind.evaluation.anchor import anchor_tasks_at_chance, is_at_chance
from bind.report.outcome import outcome_sentences


def entry(low, chance, kind="anchor", **more):
    return {"ci95_R@1": [low, 0.9], "chance_R@1": chance, "kind": kind, **more}


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (entry(0.0, 0.01), True),
        (entry(0.02, 0.01), False),
        (entry(0.0, 0.001, **{"ci95_R@10": [0.05, 0.1], "chance_R@10": 0.01}), False),  # too hard, and yet known
        (entry(0.0, 1.0), False),  # a pool of one says nothing
        ({"ci95_top1": [0.1, 0.3], "chance": 0.1}, True),
        ({"ci95_map": [0.2, 0.3], "chance": 0.1}, False),
    ],
)
def test_chance_is_what_the_interval_holds(figures, expected):
    assert is_at_chance(figures) == expected


def test_one_task_above_chance_is_enough():
    low, high = entry(0.0, 0.1), entry(0.3, 0.1)
    tasks = {("image", "text"): low, ("text", "image"): low, ("audio", "text"): entry(0.0, 0.1, "emergent")}
    assert anchor_tasks_at_chance(tasks, {}) == ["image → text", "text → image"]
    assert anchor_tasks_at_chance(tasks | {("text", "image"): high}, {}) == []
    zero_shot = {"image": {"ci95_top1": [0.5, 0.9], "chance": 0.1, "kind": "anchor"}}
    assert anchor_tasks_at_chance(tasks, zero_shot) == []
    assert anchor_tasks_at_chance({}, {"image": {**zero_shot["image"], "chance": 0.6}}) == ["image, zero-shot"]
    assert anchor_tasks_at_chance({("audio", "text"): low | {"kind": "trained"}}, {}) == []


def test_it_is_said_after_what_came_out():
    found = {"R@1": 0.5, "chance_R@1": 0.1, "queries": 20, "kind": "trained"}
    metrics = {"anchor": {"name": "toy", "at_chance": ["image → text"]}, "retrieval": {("audio", "image"): found}}
    first, sentence = outcome_sentences(metrics)
    assert first.startswith("A sound finds its picture in 10 of 20 tries")
    assert sentence.startswith("The anchor toy does not know these data, it is at chance itself (image → text): ")


@pytest.mark.parametrize(("clusters", "verdict"), [(10, "does not know"), (8, "seems not to know")])
def test_few_groups_make_it_a_suspicion(clusters, verdict):
    own = entry(0.0, 0.1, clusters=clusters, resampled="groups", **{"R@1": 0.1, "queries": 20})
    metrics = {"anchor": {"name": "toy", "at_chance": ["image → text"]}, "retrieval": {("image", "text"): own}}
    [sentence] = outcome_sentences(metrics)
    assert sentence.startswith(f"The anchor toy {verdict} these data, it is at chance itself (image → text")
    assert ("; too few groups to conclude: 8)" in sentence) == (clusters == 8)
    assert sentence.endswith("; choose another anchor, or train with text.")
    metrics["retrieval"]["audio", "text"] = own | {"kind": "trained"}
    assert outcome_sentences(metrics)[-1].endswith("; choose another anchor.")
