from collections.abc import Sequence

import numpy as np
import pytest
import torch
from support import tiny
from torch.nn.functional import normalize

from bind.data.sources.toy.world import ToySource
from bind.evaluation import as_json, evaluate_split
from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.late import LateFusion
from bind.metrics import retrieval
from bind.model.binder import Binder
from bind.report.outcome import outcome_sentences
from bind.report.tables import tables
from bind.report.zero_shot_table import zero_shot_cells
from bind.types import Pair, Sample

CAPTIONS = ("a person {}", "someone is {}")
ACTIVITIES = ("walking", "sitting", "lying")
NUM = 24
IMU_TEXT = [Pair("imu", "text")]


class Recordings:
    """Motion of eight people at three activities, every recording with the two captions of its activity."""

    name = "recordings"

    def __init__(self, own_owner: bool = False) -> None:
        self.own_owner = own_owner

    def modalities(self) -> tuple[str, ...]:
        return ("text", "imu", "depth")

    def samples(self, split: str) -> Sequence[Sample]:
        activity = [ACTIVITIES[i % 3] for i in range(NUM)]
        owner = [f"{i}" if self.own_owner else f"person {i // 3}" for i in range(NUM)]
        empty = dict.fromkeys(self.modalities(), ())
        return [
            Sample(f"r{i}", split, empty, group=activity[i], owners=(owner[i],), label=activity[i]) for i in range(NUM)
        ]

    def fetch(self, split, indices, modalities, rngs):
        assert modalities == ["text"], "evaluation reads no recordings"
        return [{"text": [caption.format(ACTIVITIES[i % 3]) for caption in CAPTIONS]} for i in indices]


@pytest.fixture(scope="module")
def binder(tmp_path_factory):
    return Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path_factory.mktemp("anchor"))))


def embedded(seed=0, noise=0.6):
    """Vectors near their activity's, texts exactly alike where they are the same text."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(tiny.DIM)[:3]
    activity = torch.arange(NUM) % 3
    texts = normalize(centres.repeat(2, 1) + 0.3 * torch.randn(6, tiny.DIM, generator=generator), dim=-1)
    z = {m: centres[activity] + noise * torch.randn(NUM, tiny.DIM, generator=generator) for m in ("imu", "depth")}
    z["text"] = torch.stack([texts[[a, a + 3]] for a in activity.tolist()]).flatten(0, 1)
    rows = {"imu": torch.arange(NUM), "depth": torch.arange(NUM), "text": torch.arange(NUM).repeat_interleave(2)}
    groups = torch.tensor([s.group_id for s in Recordings().samples("test")])
    return EmbeddedSplit([f"r{i}" for i in range(NUM)], groups, {m: normalize(x, dim=-1) for m, x in z.items()}, rows)


BY_LABEL = {}
"""No label set: the labels are the classes."""


def evaluated(binder, split=None, source=None, pairs=IMU_TEXT, one_per_group=False, label_sets=BY_LABEL):
    split, source = split or embedded(), source or Recordings()
    return evaluate_split(split, binder, pairs, [source], "test", one_per_group=one_per_group, label_sets=label_sets)


@pytest.mark.slow
def test_a_text_that_many_samples_share_is_one_item_of_the_pool(binder):
    metrics, _ = evaluated(binder)
    split = embedded()
    found = metrics["retrieval"]["imu", "text"]
    every_copy = retrieval(split.z["imu"], split.z["text"], split.group_ids_N, split.group_ids_N[split.rows["text"]])
    assert (found["pool"], every_copy["pool"]) == (6, 48)
    assert found["chance_R@1"] == every_copy["chance_R@1"] == pytest.approx(1 / 3)
    # The first place is the same text; the places behind it are no longer its seven copies.
    assert found["R@1"] == every_copy["R@1"] == every_copy["R@5"] < found["R@5"]
    assert metrics["retrieval"]["text", "imu"]["queries"] == 48


@pytest.mark.slow
def test_equal_texts_of_different_groups_are_one_item_that_is_right_for_each(binder):
    class Alike(Recordings):
        def fetch(self, split, indices, modalities, rngs):
            return [{"text": ["a person", "someone"]} for _ in indices]

    found = evaluated(binder, source=Alike())[0]["retrieval"]["imu", "text"]
    assert (found["pool"], found["pool_copies"], found["R@1"], found["chance_R@1"]) == (2, 46, 1.0, 1.0)


@pytest.mark.slow
def test_what_is_known_on_purpose_is_named_beside_the_figure(binder):
    split = embedded()
    known = {"depth": {(key, 0) for key in split.keys[:5]}}
    metrics, queries = evaluate_split(
        split, binder, IMU_TEXT, [Recordings()], "test", one_per_group=False, label_sets={}, trained_values=known
    )
    found = metrics["retrieval"]
    assert (found["imu", "depth"]["label"], found["imu", "depth"]["pool_trained_on"]) == ("new imu, known depth", 5)
    assert found["depth", "text"]["label"] == "known depth, new text"
    assert "label" not in found["imu", "text"]
    assert queries["imu_to_depth"].title == "imu → depth (new imu, known depth)"
    assert "imu → depth (new imu, known depth)" in str(tables(metrics))


@pytest.mark.slow
def test_what_is_resampled_is_what_depends_on_each_other(binder):
    figures = evaluated(binder)[0]["retrieval"]
    stated = {pair: (e["resampled"], e["clusters"]) for pair, e in figures.items()}
    assert stated["imu", "text"] == stated["imu", "depth"] == ("owners", 8)
    assert stated["text", "imu"] == ("groups", 3), "six texts are queries, however often they were written down"
    figures = evaluated(binder, source=Recordings(own_owner=True))[0]["retrieval"]
    assert (figures["imu", "text"]["resampled"], figures["imu", "text"]["clusters"]) == ("groups", 3)


@pytest.mark.slow
def test_pairs_are_trained_emergent_or_the_anchors_own(binder):
    split = embedded()
    split.z["image"], split.rows["image"] = split.z["depth"].clone(), split.rows["depth"]
    metrics, _ = evaluated(binder, split)
    kinds = {pair: (e["kind"], e["trained"]) for pair, e in metrics["retrieval"].items()}
    assert len(kinds) == 12
    assert kinds["imu", "text"] == kinds["text", "imu"] == ("trained", True)
    assert kinds["image", "text"] == kinds["text", "image"] == ("anchor", False)
    assert {kind for pair, (kind, _) in kinds.items() if "depth" in pair} == {"emergent"}
    assert (metrics["summary"]["trained_pairs"], metrics["summary"]["emergent_pairs"]) == (2, 8)
    assert metrics["summary"]["measure"] == "R@1 above chance"


@pytest.mark.slow
def test_the_results_of_the_queries_have_the_mean_that_is_reported(binder):
    labels = {"activity": {"modalities": ["imu"], "templates": ["{}"], "classes": {a: [a] for a in ACTIVITIES}}}
    metrics, queries = evaluated(binder, label_sets=labels)
    assert set(queries) == {*as_json(metrics)["retrieval"], "zero_shot/imu"}
    for name, entry in as_json(metrics)["retrieval"].items():
        for figure, values in queries[name].per_query.items():
            assert values.mean() == pytest.approx(entry[figure])
        assert len(queries[name].keys) == entry["queries"]
        assert len(set(queries[name].clusters_Q.tolist())) == entry["clusters"]
    assert queries["text_to_imu"].values_Q.tolist() == [0, 1] * NUM
    assert queries["text_to_imu"].keys[:3] == ["r0", "r0", "r1"]
    top1 = metrics["zero_shot"]["imu"]
    assert queries["zero_shot/imu"].per_query["R@1"].mean() == pytest.approx(top1["top1"])
    assert (top1["resampled"], top1["clusters"]) == ("owners", 8)


@pytest.mark.slow
def test_a_pool_is_known_by_its_items_and_groups(binder):
    def pool(split):
        return evaluated(binder, split)[1]["imu_to_depth"].pool

    assert pool(embedded()) == pool(embedded(seed=1)), "the same items, whatever their vectors"
    other_key, other_group, fewer = embedded(), embedded(), embedded()
    other_key.keys[3] = "r3b"
    other_group.group_ids_N[3] = other_group.group_ids_N[4]
    fewer.z["depth"], fewer.rows["depth"] = fewer.z["depth"][1:], fewer.rows["depth"][1:]
    assert len({pool(s) for s in (embedded(), other_key, other_group, fewer)}) == 4


@pytest.mark.slow
def test_late_fusion_meets_every_caption(binder):
    binder.fusion = LateFusion(inputs=("imu", "depth"), method="sum")
    try:
        metrics, queries = evaluated(binder)
    finally:
        binder.fusion = None
    figures = metrics["retrieval"]
    fused, plain = figures["imu_and_depth", "text"], figures["imu_plus_depth", "text"]
    assert (fused["queries"], fused["pool"]) == (NUM, 6)
    # Against one modality the sum of scores ranks as the sum of embeddings does.
    assert (fused["R@1"], fused["map"]) == (plain["R@1"], pytest.approx(plain["map"]))
    assert figures["text", "imu_and_depth"]["queries"] == 2 * NUM
    assert queries["imu_and_depth_to_text"].pool == queries["imu_to_text"].pool
    assert queries["imu_and_depth_to_text"].title == "imu ⊕ depth → text"
    assert queries["text_to_imu_plus_depth"].title == "text → imu + depth"
    assert metrics["summary"]["emergent_pairs"] == 4, "fused pairs count their inputs twice: left out"


@pytest.mark.slow
def test_a_ranker_that_reads_every_shared_factor_reaches_the_ceiling(binder):
    source = ToySource(num_test_queries=20, modalities=("image", "imu"))
    factors = torch.from_numpy(source.factor_table("test"))
    samples = source.samples("test")
    generator = torch.Generator().manual_seed(0)
    codes = torch.cat([torch.eye(6)[factors[:, column]] for column in range(5)], dim=1)
    shared = torch.zeros(5)
    shared[[source.factor_names.index(f) for f in source.carries["imu"]]] = 1
    read = codes * shared.repeat_interleave(6)
    z = {m: normalize(read + 0.01 * torch.randn(read.shape, generator=generator), dim=-1) for m in ("image", "imu")}
    split = EmbeddedSplit(
        [s.key for s in samples],
        torch.tensor([s.group_id for s in samples]),
        z,
        dict.fromkeys(("image", "imu"), torch.arange(len(samples))),
    )
    metrics, _ = evaluated(binder, split, source, [Pair("imu", "image")], one_per_group=True, label_sets=None)
    for entry in metrics["retrieval"].values():
        expected = (entry["R@1"] - 1 / 115) / (entry["ceiling_R@1"] - 1 / 115)
        assert entry["share_of_ceiling"] == pytest.approx(expected)
        assert 0.75 < expected < 1.25
        assert (entry["resampled"], entry["clusters"]) == ("groups", 115)
    assert metrics["summary"]["measure"] == "share of the ceiling at R@1"
    assert metrics["summary"]["trained"] == pytest.approx(
        np.mean([e["share_of_ceiling"] for e in metrics["retrieval"].values()])
    )


@pytest.fixture
def labelled(binder):
    """A split without texts whose samples have labels, and the words' vectors where their activity's are."""
    split = embedded(noise=0.1)
    split.z.pop("text")
    split.rows.pop("text")
    return split


@pytest.mark.slow
def test_labels_without_a_label_set_are_classes(binder, labelled, caplog):
    metrics, queries = evaluated(binder, labelled)
    labels = sorted({sample.label for sample in Recordings().samples("test") if sample.label})
    entry = metrics["zero_shot"]["imu"]
    assert (entry["num_classes"], entry["label_set"], entry["kind"]) == (len(labels), "label", "trained")
    assert metrics["zero_shot"]["depth"]["kind"] == "emergent"
    assert "zero_shot/depth" in queries
    assert "are the classes (imu: 'a person {}', depth: 'a person {}'), in the words of the captions" in caplog.text
    assert (entry["templates"], "other_caption" in entry) == (["a person {}", "someone is {}"], False)
    cells = zero_shot_cells(metrics)
    assert {*cells.sections} == {"trained", "emergent"}
    assert "by its text prompts ('a person {}', 'someone is {}');" in cells.caption


@pytest.mark.slow
def test_captions_of_another_wording_than_the_prompts_are_said_in_a_sentence(binder, labelled):
    class FreeTexts(Recordings):
        def fetch(self, split, indices, modalities, rngs):
            return [{"text": [f"we saw this at {i} o'clock"]} for i in indices]

    metrics, _ = evaluated(binder, labelled, source=FreeTexts())
    assert metrics["zero_shot"]["imu"]["templates"] == ["{}"]
    *_, sentence = outcome_sentences(metrics)
    assert sentence.startswith("Zero-shot classification asks for '{}', which is not how the captions are worded ")
    assert "at 0 o'clock" in sentence
    assert "prompts of your own" in sentence
    own = {"activity": {"modalities": ["imu"], "templates": ["{}"], "classes": None}}
    metrics, _ = evaluated(binder, labelled, source=FreeTexts(), label_sets=own)
    assert not any("worded" in sentence for sentence in outcome_sentences(metrics)), "own prompts are the remedy"


@pytest.mark.slow
def test_zero_shot_stands_for_the_pair_with_words_where_there_are_no_texts(binder, labelled):
    summary = evaluated(binder, labelled)[0]["summary"]
    entry = evaluated(binder, labelled)[0]["zero_shot"]["depth"]
    # imu and depth find each other, and depth finds words: three figures that the loss never saw
    assert summary["emergent_pairs"] == 3
    assert evaluated(binder)[0]["summary"]["emergent_pairs"] == 4, "with texts, retrieval counts those pairs already"
    assert entry["queries"] == NUM
    assert summary["trained_pairs"] == 1


@pytest.mark.slow
def test_null_leaves_classification_out(binder, labelled):
    metrics, _ = evaluate_split(
        labelled, binder, IMU_TEXT, [Recordings()], "test", one_per_group=False, label_sets=None
    )
    assert metrics["zero_shot"] == {}
