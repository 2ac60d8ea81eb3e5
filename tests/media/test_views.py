import numpy as np
import pytest
from PIL import Image

from bind.media.views import random_view

COLUMNS = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (48, 64, 3))


def views(num_views):
    return [np.asarray(random_view(Image.fromarray(COLUMNS), np.random.default_rng(n))) for n in range(num_views)]


@pytest.mark.slow
def test_a_view_is_a_part_of_at_least_half_the_area():
    shares = [view[..., 0].size / COLUMNS[..., 0].size for view in views(200)]
    assert 0.49 < min(shares) < 0.6
    assert 0.9 < max(shares) <= 1.0


@pytest.mark.slow
def test_half_of_the_views_are_mirrored_and_none_is_scaled():
    steps = [np.unique(np.diff(view[0, :, 0].astype(int))).tolist() for view in views(200)]
    assert all(step in ([1], [-1]) for step in steps)
    assert 70 < steps.count([-1]) < 130


def test_a_view_is_a_function_of_its_generator():
    for one, other in zip(views(5), views(5), strict=True):
        np.testing.assert_array_equal(one, other)
