import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from bind.report.gallery import Query, Result, plot_gallery
from bind.report.style import RIGHT, WRONG
from bind.types import SensorRecording, Waveform

RNG = np.random.default_rng(0)
VALUES = {
    "text": "a small red square, $5, <b>",
    "image": np.zeros((8, 8, 3), dtype=np.uint8),
    "depth": np.linspace(0.5, 3, 64, dtype=np.float32).reshape(8, 8),
    "audio": Waveform(RNG.normal(size=4000).astype(np.float32), 16_000),
    "stereo": Waveform(RNG.normal(size=(4000, 2)).astype(np.float32), 16_000),
    "a click": Waveform(np.ones(1, dtype=np.float32), 16_000),
    "silence": Waveform(np.zeros(4000, dtype=np.float32), 16_000),
    "imu": SensorRecording(
        RNG.normal(size=(50, 6)).astype(np.float32),
        100.0,
        ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"),
        ("m/s²",) * 3 + ("rad/s",) * 3,
    ),
}


def count(png, colour):
    pixels = np.asarray(Image.open(png).convert("RGB"))
    return int((pixels == np.round(np.array(to_rgb(colour)) * 255).astype(np.uint8)).all(axis=-1).sum())


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")  # of Matplotlib: a missing glyph, a layout that does not fit
@pytest.mark.parametrize("kind", VALUES)
def test_every_kind_of_value_leaves_ink_in_its_cell(tmp_path, kind):
    png = plot_gallery([Query(VALUES[kind], [])], tmp_path / "gallery.png")
    pixels = np.asarray(Image.open(png).convert("L"))
    inner = pixels[-int(2.0 * 150) : -int(0.3 * 150), int(0.3 * 150) : -int(0.3 * 150)]
    assert (inner < 160).mean() > 0.003


@pytest.mark.slow
def test_right_results_are_framed_in_one_colour_wrong_ones_in_another(tmp_path):
    def frames(*relevant):
        results = [Result("word", 0.5, r) for r in relevant]
        png = plot_gallery([Query("word", results)], tmp_path / "gallery.png")
        return count(png, RIGHT), count(png, WRONG)

    right, none = frames(True)
    assert right > 1000
    assert none == 0
    assert frames(True, True)[0] > 1.9 * right
    assert frames(True, False)[1] > 300
    assert frames(False, False)[0] == 0


@pytest.mark.slow
def test_rows_and_columns_grow_with_queries_and_results(tmp_path):
    one = Image.open(plot_gallery([Query("q", [Result("a", 1.0, True)])], tmp_path / "one.png")).size
    four = [Query("q", [Result("a", 1.0, True, "a long caption " * 9)] * 3, "caption with $x_1 in it")] * 2
    more = Image.open(plot_gallery(four, tmp_path / "four.png", title="audio → text")).size
    assert more[0] > 1.8 * one[0]
    assert more[1] > 1.8 * one[1]


@pytest.mark.parametrize(
    ("queries", "message"),
    [([], "at least one query"), ([Query(3, [])], "got int"), ([Query(np.zeros((4, 4), int), [])], "got int64 array")],
)
def test_refuses_what_it_cannot_draw(tmp_path, queries, message):
    with pytest.raises(ValueError, match=message):
        plot_gallery(queries, tmp_path / "gallery.png")
    assert not (tmp_path / "gallery.png").exists()
