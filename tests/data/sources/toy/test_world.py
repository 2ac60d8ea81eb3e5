from typing import Any

import numpy as np
import pytest

from bind.data.sources.toy.audio import damped_modes
from bind.data.sources.toy.world import (
    CARRIES,
    FACTORS,
    SPLITS,
    TEMPLATES,
    ToySource,
    all_combinations,
    captions,
    render,
)
from bind.types import SensorRecording, Waveform

ORDER = tuple(FACTORS)


def array_of(value: Any) -> np.ndarray:
    if isinstance(value, Waveform):
        return value.samples
    return value.values if isinstance(value, SensorRecording) else np.asarray(value)


def generators(number: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, index]) for index in range(number)]


@pytest.fixture(scope="module")
def source() -> ToySource:
    return ToySource(num_train=500, num_val_queries=2, num_test_queries=2)


def test_a_fifth_of_the_combinations_is_held_out_of_training(source: ToySource) -> None:
    seen = {split: {tuple(row) for row in source.factor_table(split)} for split in SPLITS}
    assert {split: len(rows) for split, rows in seen.items()} == {"train": 415, "val": 46, "test": 115}
    assert set.union(*seen.values()) == {tuple(row) for row in all_combinations()}
    assert len(all_combinations()) == 576
    other = {tuple(row) for row in ToySource(seed=1).factor_table("test")}
    assert other != seen["test"]


def test_pool_items_come_first_and_every_combination_has_its_queries(source: ToySource) -> None:
    groups = [sample.group for sample in source.samples("test")]
    assert len(groups) == 115 * 3
    assert len(set(groups[:115])) == 115
    assert groups[115:230] == groups[:115] == groups[230:]


def test_metadata_describes_a_sample(source: ToySource) -> None:
    for split in SPLITS:
        samples, table = source.samples(split), source.factor_table(split)
        assert len({sample.key for sample in samples}) == len(samples) == len(table)
        for sample, row in zip(samples, table, strict=True):
            size, colour, material, shape, motion = (sample.group or "").split()
            words = {"size": size, "colour": colour, "material": material, "shape": shape, "motion": motion}
            assert [FACTORS[name].index(words[name]) for name in ORDER] == row.tolist()
            assert sample.label == motion
            assert sample.owners == (sample.key,)
            assert sample.split == split
    assert source.samples("test")[115 * 2 + 12].key == "toy/test/0012/02"


def test_values_have_the_promised_formats(source: ToySource) -> None:
    (values,) = source.fetch("val", [3], list(CARRIES), None)
    image, text, sound, trace, depth = (values[m][0] for m in ("image", "text", "audio", "imu", "depth"))
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5
    assert text in captions(source.factor_table("val")[3])
    assert sound.samples.shape == (16_000,)
    assert sound.samples.dtype == np.float32
    assert sound.sample_rate_hz == 16_000
    assert 0.05 < np.abs(sound.samples).max() <= 1
    assert trace.values.shape == (200, 6)
    assert trace.values.dtype == np.float32
    assert trace.sample_rate_hz == 100
    assert trace.channels == ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    assert trace.units == ("g", "g", "g", "rad/s", "rad/s", "rad/s")
    assert depth.shape == (64, 64)
    assert depth.dtype == np.float32
    assert 0 < depth.min() < depth.max() < 6


@pytest.mark.parametrize("modality", CARRIES)
def test_a_sample_is_rendered_alike_alone_and_in_any_batch(modality: str) -> None:
    rows = all_combinations()[::19]
    together = render(modality, rows, generators(len(rows)))
    for index in range(0, len(rows), 3):
        alone = render(modality, rows[index : index + 1], generators(len(rows))[index : index + 1])
        assert np.array_equal(array_of(alone[0]), array_of(together[index]))


@pytest.mark.parametrize("modality", CARRIES)
def test_a_modality_shows_the_factors_it_carries_and_no_other(modality: str) -> None:
    row = np.array([1, 2, 0, 2, 0])
    base = array_of(render(modality, row[None], generators(1))[0])
    for column, factor in enumerate(ORDER):
        for other in range(len(FACTORS[factor])):
            changed = row.copy()
            changed[column] = other
            same = np.array_equal(array_of(render(modality, changed[None], generators(1))[0]), base)
            assert same == (other == row[column] or factor not in CARRIES[modality])


def test_fresh_modalities_follow_the_generators_and_the_others_stay(source: ToySource) -> None:
    first, second = (source.fetch("train", [7], list(CARRIES), generators(1, seed))[0] for seed in (1, 2))
    fixed = source.fetch("train", [7], list(CARRIES), None)[0]
    for modality in CARRIES:
        drawn_afresh = not np.array_equal(array_of(first[modality][0]), array_of(second[modality][0]))
        assert drawn_afresh == (modality in ("audio", "imu", "depth"))
        if not drawn_afresh:
            assert np.array_equal(array_of(first[modality][0]), array_of(fixed[modality][0]))


@pytest.mark.parametrize("seed", [None, 5])
def test_a_fetched_value_does_not_depend_on_the_others(source: ToySource, seed: int | None) -> None:
    def fetch(indices: list[int], modalities: list[str]) -> list[dict[str, list[Any]]]:
        rngs = None if seed is None else [np.random.default_rng([seed, index]) for index in indices]
        return source.fetch("train", indices, modalities, rngs)

    everything = fetch([4, 9, 2], list(CARRIES))
    for modality in CARRIES:
        (alone,) = fetch([9], [modality])
        assert np.array_equal(array_of(alone[modality][0]), array_of(everything[1][modality][0]))


def test_fixed_values_depend_on_the_seed_and_the_sample(source: ToySource) -> None:
    same = ToySource(num_train=500, num_val_queries=2, num_test_queries=2)
    image = source.fetch("test", [0, 115], ["image"], None)
    assert np.array_equal(image[0]["image"][0], same.fetch("test", [0], ["image"], None)[0]["image"][0])
    assert not np.array_equal(image[0]["image"][0], image[1]["image"][0])


def test_captions_name_every_factor() -> None:
    texts = captions([3, 0, 0, 2, 1])
    assert texts[0] == "a small red metal star bouncing"
    assert len(set(texts)) == len(TEMPLATES)
    for caption in texts:
        words = caption.replace(",", "").split()
        assert all(word in words for word in ("small", "red", "metal", "star", "bouncing"))


def test_damped_modes_equal_the_plain_formula() -> None:
    rng = np.random.default_rng(0)
    hz, decay = rng.uniform(100, 7000, (2, 3)), rng.uniform(3, 60, (2, 3))
    amplitude, phase = rng.uniform(0.2, 1, (2, 3)), rng.random((2, 3))
    seconds = np.arange(16_000) / 16_000
    turns = hz[:, :, None] * seconds + phase[:, :, None]
    plain = amplitude[:, :, None] * np.exp(-decay[:, :, None] * seconds) * np.sin(2 * np.pi * turns)
    assert np.allclose(damped_modes(hz, decay, amplitude, phase), plain.sum(axis=1), atol=1e-5)


@pytest.mark.slow
def test_a_modality_may_carry_fewer_factors_and_draws_the_others_by_chance() -> None:
    sizes = {"num_train": 415, "num_val_queries": 1, "num_test_queries": 1}
    world, whole = ToySource(**sizes, carries={"audio": ["motion"], "imu": []}), ToySource(**sizes)
    assert world.carries == {**CARRIES, "audio": ("motion",), "imu": ()}
    motion = world.factor_table("train")[:, ORDER.index("motion")]

    def alike() -> list[np.random.Generator]:
        return [np.random.default_rng(1) for _ in range(2)]

    for index in range(1, 8):
        values = world.fetch("train", [0, index], ["audio", "imu", "depth"], alike())
        full = whole.fetch("train", [0, index], ["depth"], alike())
        first, second = ({m: array_of(v[0]) for m, v in each.items()} for each in values)
        assert np.array_equal(first["audio"], second["audio"]) == (motion[0] == motion[index])
        assert np.array_equal(first["imu"], second["imu"])
        assert np.array_equal(second["depth"], array_of(full[1]["depth"][0]))
    fixed = world.fetch("train", [3], ["audio"], None)[0]["audio"][0]
    assert np.array_equal(array_of(fixed), array_of(world.fetch("train", [3], ["audio"], None)[0]["audio"][0]))


@pytest.mark.slow
def test_a_factor_that_is_not_carried_takes_every_word_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        "bind.data.sources.toy.world.render", lambda modality, rows, rngs: seen.append(rows) or list(rngs)
    )
    world = ToySource(carries={"audio": ["motion"]})
    world.fetch("train", range(3000), ["audio"], None)
    (rows,), table = seen, world.factor_table("train")[:3000]
    for factor in CARRIES["audio"]:
        column = ORDER.index(factor)
        agrees = float((rows[:, column] == table[:, column]).mean())
        assert agrees == pytest.approx(1 if factor == "motion" else 1 / len(FACTORS[factor]), abs=0.03)


def test_fewer_factors_are_other_content_of_that_modality_alone() -> None:
    def content(modality: str, carries: dict[str, list[str]] | None) -> str:
        return ToySource(num_train=40, num_val_queries=1, num_test_queries=1, carries=carries).content_hash(
            "train", modality
        )

    assert content("imu", None) == content("imu", {"imu": list(CARRIES["imu"])}) == content("imu", {"audio": []})
    assert len({content("imu", {"imu": factors}) for factors in ([], ["size"], ["motion"], ["size", "motion"])}) == 4


def test_errors_name_what_to_change(source: ToySource) -> None:
    with pytest.raises(ValueError, match="carries: the toy world has no \\['smell'\\]"):
        ToySource(carries={"smell": []})
    with pytest.raises(ValueError, match=r"carries\.imu: it can't carry \['colour'\]; choose from \['motion'"):
        ToySource(carries={"imu": ["colour", "size"]})
    with pytest.raises(ValueError, match="fresh: the toy world has no \\['smell'\\]"):
        ToySource(fresh=["smell"])
    with pytest.raises(ValueError, match="num_train must be at least 1"):
        ToySource(num_train=0)
    with pytest.raises(ValueError, match="splits"):
        source.samples("dev")
    with pytest.raises(ValueError, match="not \\['audio'\\]"):
        ToySource(modalities=["image", "text"]).fetch("val", [0], ["audio"], None)
