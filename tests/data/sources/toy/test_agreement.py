import numpy as np
import pytest

from bind.data.sources.toy.agreement import MODALITIES, MOTION, TEXTS, AgreementSource
from bind.data.sources.toy.world import FACTORS, SPLITS, ToySource
from bind.metrics.additive import additive_ceiling, interaction_ceiling
from bind.types import FactorSource, GeneratedSource


@pytest.fixture(scope="module")
def source() -> AgreementSource:
    return AgreementSource(num_train=480, num_val=48, num_test=240)


@pytest.mark.parametrize("split", SPLITS)
def test_both_answers_are_as_frequent_whatever_one_modality_says(source: AgreementSource, split: str) -> None:
    counts_2MM = source.counts(split)
    num_samples = len(source.samples(split))
    assert counts_2MM.sum() == num_samples
    for axis in (1, 2):  # of the sound's motions, of the trace's
        assert (counts_2MM.sum(axis=axis) == num_samples // 8).all()
    assert (counts_2MM[1] == np.eye(4) * num_samples // 8).all()
    assert (counts_2MM[0] == (1 - np.eye(4)) * num_samples // 24).all()
    assert (interaction_ceiling(counts_2MM), additive_ceiling(counts_2MM)) == (1.0, 0.75)


def test_groups_and_texts_say_whether_the_motions_agree(source: AgreementSource) -> None:
    heard, felt = (source.combinations("val", m)[:, MOTION] for m in ("audio", "imu"))
    samples = source.samples("val")
    assert [sample.group == "agree" for sample in samples] == (heard == felt).tolist()
    assert len({sample.key for sample in samples}) == len(samples)
    texts = [values["text"] for values in source.fetch("val", range(48), ["text"], None)]
    assert texts == [[TEXTS[sample.group]] for sample in samples]
    assert len({*TEXTS.values()}) == 2


def test_what_is_held_out_is_what_the_toy_world_holds_out(source: AgreementSource) -> None:
    toy = ToySource()
    rows = {split: {tuple(row) for row in toy.factor_table(split)} for split in SPLITS}
    for split in SPLITS:
        for modality in ("audio", "imu"):
            assert {tuple(row) for row in source.combinations(split, modality)} <= rows[split]


def test_everything_but_the_motion_of_both_is_drawn_apart() -> None:
    source = AgreementSource(num_train=9600)
    heard, felt = (source.combinations("train", m) for m in ("audio", "imu"))
    same = heard[:, MOTION] == felt[:, MOTION]
    for factor in ("shape", "size", "material"):
        column = list(FACTORS).index(factor)
        matches = heard[:, column] == felt[:, column]
        # 4800 samples each: three standard errors of the difference are 0.03.
        assert matches[same].mean() == pytest.approx(matches[~same].mean(), abs=0.04)


@pytest.mark.slow
def test_values_are_deterministic_and_those_of_the_rows(source: AgreementSource) -> None:
    again = AgreementSource(num_train=480, num_val=48, num_test=240)
    first, second = (s.fetch("test", [3, 7], MODALITIES, None) for s in (source, again))
    alone = source.fetch("test", [7], ["imu"], None)[0]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a["audio"][0].samples, b["audio"][0].samples)
        assert np.array_equal(a["imu"][0].values, b["imu"][0].values)
    assert np.array_equal(alone["imu"][0].values, first[1]["imu"][0].values)
    assert [source.content_hash("test", m) for m in MODALITIES] == [again.content_hash("test", m) for m in MODALITIES]
    other = AgreementSource(num_train=480, num_val=48, num_test=240, seed=1)
    assert other.content_hash("test", "imu") != source.content_hash("test", "imu")
    assert not np.array_equal(other.combinations("test", "imu"), source.combinations("test", "imu"))


@pytest.mark.slow
def test_only_fresh_modalities_are_drawn_anew() -> None:
    source = AgreementSource(num_train=24, num_val=24, num_test=24, fresh=["imu"])
    draws = [source.fetch("train", [0], ["imu", "audio"], [np.random.default_rng(seed)])[0] for seed in (1, 1, 2)]
    assert np.array_equal(draws[0]["imu"][0].values, draws[1]["imu"][0].values)
    assert not np.array_equal(draws[0]["imu"][0].values, draws[2]["imu"][0].values)
    assert np.array_equal(draws[0]["audio"][0].samples, draws[2]["audio"][0].samples)


def test_it_draws_afresh_but_claims_no_ceiling_of_shared_factors(source: AgreementSource) -> None:
    assert isinstance(source, GeneratedSource)
    assert not isinstance(source, FactorSource)  # neither modality shares a factor with the text: both together do


def test_errors_name_what_is_wrong(source: AgreementSource) -> None:
    with pytest.raises(ValueError, match="num_val=25: give a multiple of 24"):
        AgreementSource(num_val=25)
    with pytest.raises(ValueError, match=r"fresh: \['text'\]"):
        AgreementSource(fresh=["text"])
    with pytest.raises(ValueError, match=r"carries .* not \['image'\]"):
        source.fetch("train", [0], ["image"], None)
    with pytest.raises(ValueError, match=r"splits .* not 'holdout'"):
        source.samples("holdout")
