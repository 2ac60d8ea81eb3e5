import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from bind.report.matrix import plot_matrix
from bind.report.style import ACCENT


def entry(r1, *, trained=False, **more):
    return {"R@1": r1, "chance_R@1": 0.0, "trained": trained, **more}


def outline_pixels(png):
    pixels = np.asarray(Image.open(png).convert("RGB"))
    return int((pixels == np.round(np.array(to_rgb(ACCENT)) * 255).astype(np.uint8)).all(axis=-1).sum())


def draw(tmp_path, name, retrieval):
    return plot_matrix({"split": "test", "retrieval": retrieval}, tmp_path / f"{name}.png")


@pytest.mark.slow
def test_every_trained_pair_is_outlined(tmp_path):
    none = draw(tmp_path, "none", {("a", "b"): entry(0.5), ("b", "a"): entry(0.5)})
    one = draw(tmp_path, "one", {("a", "b"): entry(0.5, trained=True), ("b", "a"): entry(0.5)})
    two = draw(tmp_path, "two", {("a", "b"): entry(0.5, trained=True), ("b", "a"): entry(0.5, trained=True)})
    legend, outline = outline_pixels(none), outline_pixels(one) - outline_pixels(none)
    assert legend > 0
    assert outline > 4 * legend
    assert outline_pixels(two) == pytest.approx(legend + 2 * outline, rel=0.05)


@pytest.mark.slow
def test_colours_are_shares_of_the_best_only_where_all_are_known(tmp_path):
    known = {
        ("a", "b"): entry(0.25, **{"ceiling_R@1": 0.5, "share_of_ceiling": 0.5}),
        ("b", "a"): entry(0.5, **{"ceiling_R@1": 1.0, "share_of_ceiling": 0.5}),
    }
    shares = np.asarray(Image.open(draw(tmp_path, "shares", known)))
    # Both are half of their best: equal colours. By R@1 they differ.
    mixed = np.asarray(Image.open(draw(tmp_path, "mixed", known | {("a", "c"): entry(0.5)})))
    assert len(cell_colours(shares)) == 1
    assert len(cell_colours(mixed)) == 2


def cell_colours(pixels):
    """Colours that fill a large area, but for the white page and the grey of an empty cell."""
    colours, counts = np.unique(pixels[..., :3].reshape(-1, 3), axis=0, return_counts=True)
    large = [tuple(c.tolist()) for c, n in zip(colours, counts, strict=True) if n > 5000]
    return [c for c in large if c not in ((255, 255, 255), (0xF4, 0xF4, 0xF4))]


@pytest.mark.slow
def test_a_query_that_is_in_no_pool_has_a_row_and_no_column(tmp_path):
    one = Image.open(draw(tmp_path, "one", {("audio", "image"): entry(0.5)})).size
    two = Image.open(
        draw(tmp_path, "two", {("audio", "image"): entry(0.5), ("audio_and_imu", "image"): entry(0.5)})
    ).size
    assert two[0] == one[0]
    assert two[1] > one[1]


@pytest.mark.slow
def test_long_titles_have_room_below_their_columns(tmp_path):
    short = Image.open(draw(tmp_path, "short", {("a", "b"): entry(0.5), ("a", "c"): entry(0.5)})).size
    pools = ("speech_to_text_of_calls", "speech_to_text_of_films")
    long = Image.open(draw(tmp_path, "long", {("a", pool): entry(0.5) for pool in pools})).size
    assert long[0] == short[0]
    assert long[1] > short[1]


@pytest.mark.slow
def test_the_summary_stands_below(tmp_path):
    summary = {
        "measure": "R@1 above chance", "trained": 0.8, "emergent": 0.4, "emergent_of_trained": 0.5,
        "ci95_emergent_of_trained": [0.4, 0.6], "trained_pairs": 1, "emergent_pairs": 1,
    }  # fmt: skip
    metrics = {"split": "test", "retrieval": {("a", "b"): entry(0.5), ("b", "a"): entry(0.25, trained=True)}}
    without = Image.open(plot_matrix(metrics, tmp_path / "without.png"))
    below = Image.open(plot_matrix(metrics | {"summary": summary}, tmp_path / "with.png"))
    band = int(0.1 * below.height)
    ink = [np.count_nonzero(np.asarray(picture.convert("L"))[-band:] < 128) for picture in (without, below)]
    assert ink[1] > ink[0] + 200


def test_refuses_to_draw_nothing(tmp_path):
    with pytest.raises(ValueError, match="no pair"):
        draw(tmp_path, "empty", {})
