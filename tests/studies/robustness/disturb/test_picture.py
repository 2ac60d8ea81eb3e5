import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.studies.robustness.disturb.picture import blur, holes


def test_a_blur_is_as_wide_as_it_says_whatever_the_size():
    for size in (64, 200):
        edge = np.zeros((size, size, 3), dtype=np.uint8)
        edge[:, size // 2 :] = 255
        blurred = blur(edge, 0.05, np.random.default_rng(0)).astype(float)
        step = np.diff(blurred[size // 2, :, 0]) / 255
        at = np.arange(size - 1) - (step * np.arange(size - 1)).sum()
        assert np.sqrt((step * at**2).sum()) == pytest.approx(0.05 * size, rel=0.06)
        assert blurred.shape == edge.shape


def test_a_stronger_blur_leaves_less_contrast():
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    contrasts = [blur(noise, share, np.random.default_rng(0)).std() for share in (0.01, 0.03, 0.1)]
    assert noise.std() > contrasts[0] > contrasts[1] > contrasts[2]


@pytest.mark.slow
@settings(max_examples=30)
@given(share=st.floats(0.01, 0.99), height=st.integers(1, 90), width=st.integers(1, 90))
def test_holes_take_their_share_of_what_was_measured(share, height, width):
    depth = np.random.default_rng(0).uniform(1, 5, (height, width)).astype(np.float32)
    depth[: height // 3] = 0
    measured = np.count_nonzero(depth)
    holed = holes(depth, share, np.random.default_rng(1))
    assert measured - np.count_nonzero(holed) == int(share * measured)
    assert (holed[holed > 0] == depth[holed > 0]).all()


def test_holes_are_connected_and_grow():
    depth = np.full((120, 160), 2000, dtype=np.uint16)
    small, large = (holes(depth, share, np.random.default_rng(1)) == 0 for share in (0.2, 0.5))
    assert (large[small]).all()
    edges = (small[:, 1:] != small[:, :-1]).mean()
    assert edges < 0.25 * (2 * 0.2 * 0.8)  # of pixels that were lost one by one
