import numpy as np
import pytest
from PIL import Image

from bind.studies.doctor.diagnose import diagnose


def resaved(picture):
    """As a picture comes back from another program: one pixel smaller on each side, a little brighter."""
    return np.clip(np.asarray(Image.fromarray(picture).resize((62, 62))).astype(int) + 2, 0, 255).astype(np.uint8)


@pytest.fixture
def similar(world):
    """Sample 0's picture under the name of sample 24, of the test split, nearly the same."""
    original = np.asarray(Image.open(world.path(0, "image")))
    world.edit_picture(24, lambda _: resaved(original))
    return world


@pytest.mark.slow
def test_clean_pictures_are_far_enough_apart(clean_world):
    diagnosis = diagnose(clean_world, anchor="toy")
    assert diagnosis.problems() == []
    assert 0.9 < diagnosis.measured["near duplicates"]["cosine"] < 1
    assert "toy anchor" in diagnosis.notes[-1]


@pytest.mark.slow
def test_nearly_the_same_picture_in_two_splits_is_found(similar):
    (problem,) = diagnose(similar.manifest, anchor="toy").problems()
    (finding,) = problem.findings
    assert (problem.kind.name, problem.is_error) == ("nearly the same picture in two splits", False)
    assert finding.name == similar.rows[0]["image"]
    assert similar.rows[24]["image"] in finding.detail
    assert diagnose(similar.manifest, anchor=None).problems() == []


@pytest.mark.slow
def test_nearly_the_same_picture_within_a_split_is_found_unless_it_is_of_one_group(similar):
    similar.edit_rows(lambda rows: rows[24].update(split="train"))
    (problem,) = diagnose(similar.manifest, anchor="toy").problems()
    assert problem.kind.name == "nearly the same picture in two groups"
    similar.edit_rows(lambda rows: rows[24].update(group=rows[0]["group"]))
    assert diagnose(similar.manifest, anchor="toy").problems() == []
