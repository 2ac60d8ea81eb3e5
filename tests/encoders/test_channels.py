import numpy as np
import pytest
import torch

from bind.data.transforms.channels import ChannelsTransform
from bind.encoders.channels import SIZES, ChannelsTransformer
from bind.media.channel_names import AXES, BODY_PARTS, MAX_SENSORS, QUANTITIES, SIDES
from bind.model.chunks import encode_in_chunks
from bind.types import SensorRecording

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g",) * 3 + ("rad/s",) * 3
TRANSFORM = ChannelsTransform(window_seconds=1.0)


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ChannelsTransformer(window_seconds=1.0, width=16, num_layers=2, num_heads=2).eval()
        for table in encoder.stem.meanings.values():
            torch.nn.init.normal_(table.weight, std=0.1)  # as if it were trained
    return encoder


def window(columns=range(6), names=CHANNELS, seed=0, rate_hz=50.0):
    values = np.random.default_rng(seed).standard_normal((round(rate_hz), 6)).astype(np.float32)
    channels, units = (tuple(of[c] for c in columns) for of in (names, UNITS))
    return TRANSFORM(SensorRecording(values[:, list(columns)], rate_hz, channels, units), None)


def test_the_order_of_channels_is_of_no_account(encoder):
    inputs = TRANSFORM.collate([window(), window([5, 0, 3, 1, 4, 2])])
    features_BF = encoder(inputs)
    torch.testing.assert_close(features_BF[0], features_BF[1])


@pytest.mark.slow
def test_a_row_does_not_see_the_channels_of_others_nor_those_that_are_not_there(encoder):
    alone = encoder(TRANSFORM.collate([window([0, 1, 2])]))
    inputs = TRANSFORM.collate([window(), window([0, 1, 2])])
    inputs["coefficients"][1, 3:] = 100.0
    inputs["channels"][1, 3:] = 1
    torch.testing.assert_close(encoder(inputs)[1], alone[0])


@pytest.mark.slow
def test_names_places_and_quantities_matter(encoder):
    other_axis = ("acc_y", "acc_x", *CHANNELS[2:])
    other_place = tuple(f"wrist_{name}" for name in CHANNELS)
    rows = [window(), window(names=other_axis), window(names=other_place), window([0, 1, 2]), window([3, 4, 5])]
    features_BF = encoder(TRANSFORM.collate(rows))
    assert torch.pdist(features_BF).min() > 1e-3


def test_what_training_never_saw_is_as_if_it_had_no_name():
    with torch.random.fork_rng():
        encoder = ChannelsTransformer(window_seconds=1.0, width=16, num_layers=1, num_heads=2).eval()
    names = tuple(f"left_ankle_{name}" for name in CHANNELS)
    features_BF = encoder(TRANSFORM.collate([window(), window(names=names)]))
    torch.testing.assert_close(features_BF[0], features_BF[1])


def test_rates_mix_in_a_batch(encoder):
    features_BF = encoder(TRANSFORM.collate([window(), window(rate_hz=25.0), window(rate_hz=200.0)]))
    assert features_BF.shape == (3, encoder.num_features)
    assert features_BF.isfinite().all()


def test_tokens_are_those_that_are_there(encoder):
    z_BLF, mask_BL = encoder.tokens(TRANSFORM.collate([window(), window([0, 1])]))
    assert z_BLF.shape == (2, 30, 16)
    assert mask_BL.sum(dim=1).tolist() == [30, 10]


@pytest.mark.slow
def test_chunks_of_a_batch_give_the_same(encoder):
    inputs = TRANSFORM.collate([window(range(n + 1), seed=n) for n in range(5)])
    torch.testing.assert_close(encode_in_chunks(encoder, inputs, 2), encoder(inputs))


def test_the_tables_have_room_for_all_meanings():
    counts = (len(QUANTITIES), len(AXES), len(SIDES), len(BODY_PARTS), MAX_SENSORS)
    assert all(count <= size for count, size in zip(counts, SIZES.values(), strict=True))


def test_inputs_of_another_transform_are_refused(encoder):
    with pytest.raises(ValueError, match="choose both"):
        encoder(torch.zeros(1, 6, 50))
    other = ChannelsTransform(window_seconds=1.0, num_coefficients=8)
    values = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    with pytest.raises(ValueError, match="the same sizes"):
        encoder(other.collate([other(SensorRecording(values, 50.0, CHANNELS, UNITS), None)]))
