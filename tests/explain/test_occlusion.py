"""Occlusion: grids hide what they say and nothing else, and effects are differences of cosines, on average."""

import numpy as np
import pytest
import torch
from PIL import Image

from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.imu import ImuTransform
from bind.explain.grids import (
    ClipsGrid,
    FrameGrid,
    PictureGrid,
    SensorGrid,
    SoundGrid,
    TimedGrid,
    WordGrid,
    make_grid,
)
from bind.explain.occlusion import OcclusionMap, draw_masks, draw_orders, occlude

RATE_HZ = 8000


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pixels(height, width, seed):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


GRIDS = {
    "sound": lambda: SoundGrid(noise(RATE_HZ), [noise(RATE_HZ, seed=n) for n in (1, 2)], RATE_HZ),
    "sensor": lambda: SensorGrid(noise(3, 50), [noise(3, 50, seed=1)], ["x", "y", "z"], 1.0),
    "map": lambda: PictureGrid(noise(1, 20, 24), [noise(1, 20, 24, seed=1)]),
    "bytes": lambda: FrameGrid(noise(4, 3, 6, 6).byte(), [noise(4, 3, 6, 6, seed=1).byte()]),
}


def input_of(name):
    return {
        "sound": noise(RATE_HZ),
        "sensor": noise(3, 50),
        "map": noise(1, 20, 24),
        "bytes": noise(4, 3, 6, 6).byte(),
    }[name]


def mask_of(grid, *hidden):
    mask = np.zeros((len(grid.row_names), len(grid.column_names)), dtype=bool)
    for place in hidden:
        mask[place] = True
    return mask


@pytest.mark.parametrize("name", GRIDS)
def test_what_is_not_hidden_stays_and_what_is_hidden_changes(name):
    grid, x = GRIDS[name](), input_of(name)
    (same,) = grid.hide(mask_of(grid))
    torch.testing.assert_close(same, x, atol=1e-5, rtol=0)
    (without,) = grid.hide(mask_of(grid, (0, 0)))
    assert without.shape == x.shape
    assert without.dtype == x.dtype
    assert not torch.equal(without, same)
    (nothing,) = grid.hide(~mask_of(grid))
    assert (nothing.float() - x.float()).abs().mean() > (without.float() - x.float()).abs().mean()


def test_a_band_is_hidden_at_its_frequencies_and_times():
    seconds = torch.arange(RATE_HZ) / RATE_HZ
    tone = torch.sin(2 * torch.pi * 300 * seconds) + torch.sin(2 * torch.pi * 3000 * seconds)
    grid = SoundGrid(tone, [1e-4 * noise(RATE_HZ)], RATE_HZ)
    high = grid.band_of_bin[round(3000 * grid.num_fft / RATE_HZ)]
    (without,) = grid.hide(mask_of(grid, (high, slice(0, 5))))
    first, second = (torch.fft.rfft(x[:3000] if x is without else x).abs() for x in (without, without[5000:]))
    assert first[3000 * 3000 // RATE_HZ] < 0.05 * first[300 * 3000 // RATE_HZ]
    assert second[3000 * 3000 // RATE_HZ] > 0.5 * second[300 * 3000 // RATE_HZ]


def test_a_hidden_patch_has_the_middle_of_its_own_picture():
    picture = Image.new("RGB", (48, 32), (200, 100, 20))
    picture.paste((10, 250, 130), (0, 28, 6, 32))  # the patch in row 8, column 1
    for others in ([pixels(32, 48, 1)], [Image.new("RGB", (64, 64))]):
        grid = PictureGrid(picture, others)
        (without,) = grid.hide(mask_of(grid, (7, 0)))
        assert (np.asarray(without) == (200, 100, 20)).all(), "no edge, and no thing, where there was none"


def test_a_hidden_patch_is_as_near_as_what_is_left_of_the_map():
    near, far = (noise(1, 20, 24) + metres for metres in (0, 5))
    masks = [PictureGrid(x, [noise(1, 20, 24, seed=1)]) for x in (near, far)]
    first, second = (grid.hide(mask_of(grid, (2, slice(0, 3))))[0] for grid in masks)
    torch.testing.assert_close(second, first + 5)


def test_the_middle_of_a_large_picture_is_taken_of_some_of_its_pixels():
    x = noise(1, 700, 900)
    grid = PictureGrid(x, [x])
    (without,) = grid.hide(mask_of(grid, (0, 0)))
    assert without[0, 0, 0].item() == pytest.approx(float(x.median()), abs=0.05)
    only = ~mask_of(grid, (7, 7))
    assert grid.hide(only)[0][0, 0, 0].item() == pytest.approx(float(x[0, 613:, 788:].median()), abs=0.2)


def test_where_no_patch_is_left_there_is_the_mean_of_other_pictures_of_any_size():
    others = [Image.new("RGB", size, (grey,) * 3) for size, grey in (((48, 32), 10), ((96, 64), 30))]
    grid = PictureGrid(pixels(32, 48, 0), others)
    (nothing,) = grid.hide(~mask_of(grid))
    assert (np.asarray(nothing) == 20).all()


class BrightestBinder:
    """Embeds (1, H, W) as its largest value above its median: a bright thing before a wall, at any distance."""

    def embed_items(self, modality, items, *, chunk_size=None):
        return torch.stack([(x.max() - x.median())[None] for x in items])


@pytest.mark.parametrize("metres", [-3.0, 0.0, 3.0])
def test_the_patch_that_matters_is_the_thing_wherever_the_wall_is(metres):
    x = torch.full((1, 16, 16), metres)
    x[0, 6:8, 10:12] += 1
    grid = PictureGrid(x, [torch.zeros(1, 16, 16)])
    effects = occlude(BrightestBinder(), "depth", x, grid, torch.tensor([1.0]))
    assert effects.strongest(1)[0] == ("column 6, row 4", pytest.approx(1.0, abs=1e-4))
    assert np.sort(effects.effects_RK, axis=None)[:-1] == pytest.approx(0, abs=1e-4)


def test_words_are_left_out_and_other_texts_stand_for_all():
    grid = WordGrid("a red star", ["a dog", "rain"])
    assert grid.hide(mask_of(grid, (0, 0), (0, 2))) == ["red"]
    assert grid.hide(~mask_of(grid)) == ["a dog", "rain"]


def test_a_long_text_has_stretches_of_words():
    grid = WordGrid(" ".join(f"w{n}" for n in range(100)), ["a dog"])
    assert len(grid.column_names) == 40
    assert " ".join(grid.column_names) == " ".join(grid.words)
    (without,) = grid.hide(mask_of(grid, (0, 1)))
    assert grid.column_names[1] not in without
    assert without.startswith(grid.column_names[0])


def test_clips_are_hidden_one_by_one():
    clips = [noise(RATE_HZ, seed=n) for n in (0, 1)]
    grid = make_grid("audio", clips, [[noise(RATE_HZ, seed=2)] * 3], AudioTransform(sample_rate_hz=RATE_HZ))
    assert isinstance(grid, ClipsGrid)
    ([first, second],) = grid.hide(mask_of(grid, (0, 0)))
    assert not torch.allclose(first, clips[0], atol=1e-4)
    torch.testing.assert_close(second, clips[1], atol=1e-5, rtol=0)


def test_each_input_has_its_grid_or_none():
    imu = ImuTransform(window_seconds=0.5)
    assert isinstance(make_grid("imu", noise(6, 50), [noise(6, 50, seed=1)], imu), SensorGrid)
    assert make_grid("imu", noise(6, 50), [noise(6, 50)], imu).row_names == imu.channels
    assert isinstance(make_grid("video", (pixels(8, 8, 0),) * 2, [(pixels(8, 8, 1),)], None), FrameGrid)
    assert make_grid("any", {"coefficients": noise(2)}, [{}], None) is None
    assert make_grid("imu", noise(6, 50), [noise(6, 40)], imu) is None, "no other has this length"
    assert make_grid("audio", noise(1, 1, 4, 4), [noise(1, 1, 4, 4)], None) is None


class LinearBinder:
    """Embeds (C, T) as the sums of its channels, not normalised, so that effects add up exactly."""

    def embed_items(self, modality, items, *, chunk_size=None):
        return torch.stack(items).sum(dim=2)


class LoudestBinder:
    """Embeds (C, T) as the largest value of each channel: what happens twice is no more than what happens once."""

    def embed_items(self, modality, items, *, chunk_size=None):
        return torch.stack(items).amax(dim=2)


def test_effects_are_differences_of_cosines():
    x = torch.tensor([3.0, 4.0]).repeat_interleave(4).reshape(2, 4)
    grid = SensorGrid(x, [torch.zeros(2, 4)], ["x", "y"], 1.0)
    effects = occlude(LinearBinder(), "imu", x, grid, torch.tensor([1.0, 0.0]))
    assert effects.effects_RK == pytest.approx(np.array([[3.0] * 4, [0.0] * 4]), abs=1e-6)
    assert effects.effect_of_all == pytest.approx(12.0)
    assert effects.sum_of_effects == pytest.approx(12.0)
    assert effects.strongest(1)[0][0].endswith("x")


def test_what_happens_twice_matters_each_time():
    x = torch.zeros(1, 10)
    x[0, [2, 7]] = 1.0
    grid = SensorGrid(x, [torch.zeros(1, 10)], ["x"], 1.0)
    other = torch.ones(1)
    effects = occlude(LoudestBinder(), "imu", x, grid, other)
    assert min(effects.effects_RK[0, [2, 7]]) > 0.15
    assert np.abs(np.delete(effects.effects_RK[0], [2, 7])).max() < 0.1
    assert effects.effects_of_times_K == pytest.approx(0.5 * x[0].numpy())
    assert effects.strongest_time()[0] in {"0.20–0.30 s", "0.70–0.80 s"}
    one_hidden = np.arange(10) == 2
    assert LoudestBinder().embed_items("imu", [grid.hide_times(one_hidden)]) == 1.0, "alone it would not matter"


def test_a_silent_time_is_hidden_by_silence():
    trace = torch.full((2, 100), 5.0)
    trace[:, 40:60] += noise(2, 20)
    grid = SensorGrid(trace, [noise(2, 100, seed=1)], ["x", "y"], 1.0)
    torch.testing.assert_close(grid.hide_times(np.arange(10) == 8), trace)
    torch.testing.assert_close(grid.hide_times((np.arange(10) == 4) | (np.arange(10) == 5)), torch.full((2, 100), 5.0))
    sound = 1e-3 * noise(RATE_HZ)
    sound[4000:4800] += noise(800, seed=1)
    heard = SoundGrid(sound, [noise(RATE_HZ, seed=2)], RATE_HZ)
    assert heard.hide_times(np.arange(10) == 9)[7200:].std() < 2e-3
    assert heard.hide_times(np.arange(10) == 5)[4200:4600].std() < 2e-3


def test_times_of_clips_are_hidden_one_by_one():
    clips = [noise(RATE_HZ, seed=n) for n in (0, 1)]
    grid = make_grid("audio", clips, [noise(RATE_HZ, seed=2)], AudioTransform(sample_rate_hz=RATE_HZ))
    assert isinstance(grid, TimedGrid)
    first, second = grid.hide_times(np.arange(20) == 15)
    torch.testing.assert_close(first, clips[0], atol=1e-5, rtol=0)
    assert second[4200:4600].std() < 0.7 * clips[1][4200:4600].std()
    pictures = make_grid("video", [(pixels(8, 8, 0),)] * 2, [(pixels(8, 8, 1),)], None)
    assert isinstance(pictures, ClipsGrid)
    assert not isinstance(pictures, TimedGrid)


def test_times_share_what_they_do_together_and_add_up():
    weights = torch.tensor([[0.1, 0.2, 0.0, 0.4]])
    grid = SensorGrid(weights, [torch.zeros(1, 4)], ["x"], 1.0)
    effects = occlude(LinearBinder(), "imu", weights, grid, torch.ones(1)).effects_of_times_K
    assert effects == pytest.approx(weights[0].numpy() - float(grid.quiet_C1))
    orders = draw_orders(7)
    assert all(sorted(order) == list(range(7)) for order in orders.tolist())
    assert np.array_equal(orders, draw_orders(7))


@pytest.mark.parametrize("num_regions", [1, 10])
def test_masks_are_the_same_every_time_and_each_region_is_hidden_and_seen(num_regions):
    grid = SensorGrid(noise(1, num_regions), [noise(1, num_regions)], ["x"], 1.0)
    masks = draw_masks(grid)
    assert np.array_equal(masks, draw_masks(grid))
    assert masks.any(axis=0).all()
    assert not masks.all(axis=0).any()
    assert not masks[0].any()


def map_of(effects, effect_of_all):
    names = tuple(f"{n}" for n in range(len(effects)))
    return OcclusionMap(("",), names, np.asarray([effects]), effect_of_all)


@pytest.mark.parametrize(
    ("effects", "effect_of_all", "is_so"),
    [
        ([0.006, -0.005, 0.003], 0.176, True),
        ([0.09] * 8, 1.0, False),  # none has a tenth of it, but all have most
        ([0.2, 0.0, 0.0], 1.0, False),
        ([-0.2, 0.01], 1.0, False),
        ([0.01, 0.01], 0.0, False),
        ([0.001, 0.001], -0.3, True),
    ],
)
def test_regions_that_matter_only_together(effects, effect_of_all, is_so):
    assert map_of(effects, effect_of_all).matters_only_together is is_so


def test_next_to_nothing_has_no_full_colour():
    assert map_of([0.3, -0.5], 0.4).scale == 0.5
    assert map_of([0.005, -0.004], 0.6).scale == pytest.approx(0.06)
    assert map_of([0.005, -0.004], -0.6).scale == pytest.approx(0.06)
    assert map_of([0.005, -0.004], 0.01).scale == 0.02
