import numpy as np
import pytest

from bind.metrics.transfer import transfer
from bind.report.retrieval_table import summary_note


def entry(r1, kind, chance=0.0, **more):
    return {"R@1": r1, "chance_R@1": chance, "kind": kind, "clusters": 100, **more}


def draws(pairs, *, jitter=0.0):
    wobble = jitter * np.random.default_rng(0).normal(size=500)
    return {name: e["R@1"] + wobble for name, e in pairs.items()}


def test_emergent_pairs_as_a_share_of_trained_ones():
    pairs = {
        "a_to_image": entry(0.9, "trained", chance=0.1),
        "image_to_a": entry(0.7, "trained", chance=0.2),
        "a_to_b": entry(0.5, "emergent", chance=0.1),
        "image_to_text": entry(1.0, "anchor"),
    }
    summary = transfer(pairs, draws(pairs, jitter=0.02))
    trained = (0.8 / 0.9 + 0.5 / 0.8) / 2
    assert summary["trained"] == pytest.approx(trained)
    assert summary["emergent"] == pytest.approx(0.4 / 0.9)
    assert summary["emergent_of_trained"] == pytest.approx(0.4 / 0.9 / trained)
    lo, hi = summary["ci95_emergent_of_trained"]
    assert lo < summary["emergent_of_trained"] < hi
    assert (summary["measure"], summary["trained_pairs"], summary["emergent_pairs"]) == ("R@1 above chance", 2, 1)


def test_the_ratio_is_of_as_many_clusters_as_the_pair_with_the_fewest():
    pairs = {
        "a_to_image": entry(0.9, "trained", clusters=12, resampled="owners"),
        "a_to_b": entry(0.5, "emergent", clusters=3, resampled="groups"),
    }
    summary = transfer(pairs, draws(pairs))
    assert (summary["clusters"], summary["resampled"]) == (3, "groups")
    assert "(too few groups to conclude: 3)" in summary_note({"summary": summary})
    assert "clusters" not in transfer({"a_to_b": pairs["a_to_b"]}, draws(pairs))


def test_ceilings_count_where_all_are_known_and_pairs_that_share_nothing_do_not():
    pairs = {
        "a_to_image": entry(0.4, "trained", **{"ceiling_R@1": 0.5}),
        "a_to_b": entry(0.1, "emergent", **{"ceiling_R@1": 0.25}),
        "b_to_c": entry(0.1, "emergent", chance=0.1, **{"ceiling_R@1": 0.1}),
    }
    summary = transfer(pairs, draws(pairs))
    assert summary["measure"] == "share of the ceiling at R@1"
    assert (summary["trained"], summary["emergent"]) == (pytest.approx(0.8), pytest.approx(0.4))
    assert summary["emergent_of_trained"] == pytest.approx(0.5)
    assert summary["ci95_emergent_of_trained"] == pytest.approx([0.5, 0.5])
    assert (summary["emergent_pairs"], summary["pairs_that_share_nothing"]) == (1, 1)
    without = transfer({"a_to_c": entry(0.3, "emergent"), **pairs}, draws({"a_to_c": entry(0.3, ""), **pairs}))
    assert without["measure"] == "R@1 above chance"


@pytest.mark.parametrize(
    "pairs",
    [{}, {"a_to_b": entry(0.5, "emergent")}, {"a_to_image": entry(0.5, "trained")},
     {"a_to_image": entry(0.1, "trained", chance=0.1), "a_to_b": entry(0.5, "emergent")}],
)  # fmt: skip
def test_there_is_no_ratio_to_nothing(pairs):
    summary = transfer(pairs, draws(pairs))
    assert summary["emergent_of_trained"] is None
    assert summary["ci95_emergent_of_trained"] is None
