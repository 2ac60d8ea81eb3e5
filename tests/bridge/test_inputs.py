"""Inputs of a mapper: vectors with noise, and tokens, kept or computed when they are drawn."""

import pytest
import torch
from support.bridges import anchor_binder, token_binder, toy_values
from torch.nn.functional import normalize

from bind.bridge.inputs import TokensOfValues, fingerprint_inputs, take_with_noise, width_of_tokens

NUM = 70
BYTES_OF_ONE = 10 * 16 * 4


@pytest.fixture(scope="module")
def binder():
    return token_binder()


@pytest.fixture(scope="module")
def motions():
    return toy_values("train", NUM, "imu")[0]


def test_tokens_that_are_kept_are_those_that_are_computed(binder, motions):
    drawn, kept = (TokensOfValues.of(binder, "imu", motions) for _ in range(2))
    kept.keep(NUM * BYTES_OF_ONE)
    assert (drawn.num_kept, kept.num_kept, len(kept)) == (0, NUM, NUM)
    rows = [69, 3, 3, 0]
    torch.testing.assert_close(kept[rows].x_BLF, drawn[rows].x_BLF)
    assert torch.equal(drawn[rows].x_BLF[1], drawn[rows].x_BLF[2])


def test_what_is_kept_is_bounded_and_the_same_each_time(binder, motions):
    some, again = (TokensOfValues.of(binder, "imu", motions) for _ in range(2))
    for tokens in (some, again):
        tokens.keep(65 * BYTES_OF_ONE)
    assert some.num_kept == 64
    assert torch.equal(some[[5, 68]].x_BLF, again[[5, 68]].x_BLF)
    assert some.fingerprint() == again.fingerprint()
    none = TokensOfValues.of(binder, "imu", motions)
    none.keep(0)
    assert none.num_kept == 0


def test_values_are_fetched_once_for_a_draw(binder, motions):
    fetched = []

    def fetch(rows):
        fetched.append(rows)
        return [motions[row] for row in rows]

    tokens = TokensOfValues(binder, "imu", fetch, [str(row) for row in range(NUM)])
    assert len(tokens[[7, 2, 7]]) == 3
    assert fetched == [[2, 7]]


def test_others_follow(binder, motions):
    first, second = TokensOfValues.of(binder, "imu", motions[:3]), TokensOfValues.of(binder, "imu", motions[3:5])
    joined, all_five = first.then(second), TokensOfValues.of(binder, "imu", motions[:5])
    assert len(joined) == 5
    torch.testing.assert_close(joined[[4, 0, 3]].x_BLF, all_five[[4, 0, 3]].x_BLF)
    assert TokensOfValues.of(binder, "imu", []).then(second)[[0]].x_BLF.shape == (1, 10, 16)


def test_a_fingerprint_is_of_encoder_values_and_vectors(binder, motions):
    tokens = TokensOfValues.of(binder, "imu", motions[:2])
    others = (TokensOfValues.of(binder, "imu", motions[:3]), TokensOfValues.of(token_binder(1), "imu", motions[:2]))
    assert len({x.fingerprint() for x in (tokens, *others)}) == 3
    kept, other_values = (TokensOfValues.of(binder, "imu", values) for values in (motions[:2], motions[2:4]))
    for one in (kept, other_values):
        one.keep(10**6)
    assert kept.fingerprint() != other_values.fingerprint()
    z = torch.eye(3)
    assert fingerprint_inputs(z) == fingerprint_inputs(z.clone()) != fingerprint_inputs(z[:, [1, 0, 2]])


def test_vectors_get_noise_and_tokens_none(binder, motions):
    z = normalize(torch.randn(4000, 64), dim=1)
    noisy = take_with_noise(z, list(range(4000)), 0.5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(noisy.norm(dim=1), torch.ones(4000))
    assert float((noisy * z).sum(dim=1).mean()) == pytest.approx(1 / 1.25**0.5, abs=0.01)
    tokens = TokensOfValues.of(binder, "imu", motions[:2])
    assert torch.equal(take_with_noise(tokens, [1], 0.5, torch.Generator()).x_BLF, tokens[[1]].x_BLF)


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        (None, "mapper.modality=null: .* and none is named; this binder's encoders give tokens of imu"),
        ("image", "image has no encoder of its own"),
        (["imu"], "has no encoder of its own"),
    ],
)
def test_a_modality_without_tokens_is_refused_with_those_that_have_them(binder, modality, message):
    assert width_of_tokens(binder, "imu") == 16
    with pytest.raises(ValueError, match=message):
        width_of_tokens(binder, modality)
    with pytest.raises(ValueError, match=r"encoders give no tokens\. Encoders that do: encoder/audio=transformer"):
        width_of_tokens(anchor_binder(), modality)
