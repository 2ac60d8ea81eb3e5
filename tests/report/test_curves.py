import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from bind.report.curves import ONE_POINT, _moving_mean, plot_curves, read_curves

LOG = """epoch,step,train/loss/audio-image,train/scale/audio-image,val/audio_to_image/R@1,val/mean_R@1,lr-AdamW
0,0,5.5,14.3,,,0.1
0,10,4.5,14.4,,,
0,10,,,0.25,0.25,
1,20,3.5,14.5,,,
1,20,,,0.5,0.5,
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(LOG)
    return path


def size(png):
    return Image.open(png).size


def test_reads_sparse_columns(log):
    curves = read_curves(log)
    np.testing.assert_array_equal(curves["train/loss/audio-image"], [[0, 10, 20], [5.5, 4.5, 3.5]])
    np.testing.assert_array_equal(curves["val/audio_to_image/R@1"], [[10, 20], [0.25, 0.5]])


def test_a_step_logged_again_after_a_resume_counts_once(log):
    log.write_text(LOG + "0,10,4.25,14.4,,,\n")
    np.testing.assert_array_equal(read_curves(log)["train/loss/audio-image"], [[0, 10, 20], [5.5, 4.25, 3.5]])


@pytest.mark.slow
def test_draws_a_panel_for_each_quantity_that_was_logged(log, tmp_path):
    assert plot_curves(log, tmp_path / "plots" / "three.png").exists()
    log.write_text("epoch,step,train/loss/audio-image\n0,0,5.5\n0,1,nan\n")
    plot_curves(log, tmp_path / "one.png")
    assert size(tmp_path / "plots" / "three.png")[1] == pytest.approx(3 * size(tmp_path / "one.png")[1], abs=3)


@pytest.mark.slow
def test_a_curve_of_one_point_says_how_it_gets_more(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(Axes, "text", lambda ax, x, y, text, **style: said.append((ax.get_ylabel(), text)))
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,train/loss/a-b,val/mean_R@1\n0,0,5.5,\n0,3,,0.2\n0,6,,0.3\n")
    plot_curves(log, tmp_path / "curves.png")
    assert said == [("loss (nats)", ONE_POINT)]


@pytest.mark.slow
def test_the_space_has_its_panels_below_the_others(log, tmp_path):
    plot_curves(log, tmp_path / "without.png")
    header, *rows = LOG.splitlines()
    columns = ("audio/effective_rank", "image/uniformity", "audio-image/gap", "audio-image/alignment")
    header += "".join(f",val/space/{name}" for name in (*columns, "audio_to_image/hubness", "image/mean_cosine"))
    values = [",,,,,," if not row.startswith("1,20,,") else ",3,-2,0.5,1.2,0.1,0.2" for row in rows]
    log.write_text("\n".join([header, *(row + more for row, more in zip(rows, values, strict=True))]) + "\n")
    plot_curves(log, tmp_path / "with.png")
    added = size(tmp_path / "with.png")[1] - size(tmp_path / "without.png")[1]
    assert added == pytest.approx(5 * 2.4 * 150, abs=3)


@pytest.mark.slow
def test_hidden_patches_have_panels_of_their_own(tmp_path, monkeypatch):
    drawn = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda ax, *x, **style: drawn.append((ax.get_ylabel(), style["label"])) or plot(ax, *x, **style)
    )
    text = "step,train/loss/imu-text,train/loss/masked/imu,val/masked/imu/explained\n1,2,0.9,0.1\n2,1,0.8,0.2\n"
    (tmp_path / "metrics.csv").write_text(text)
    plot_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert drawn == [("loss (nats)", "imu-text"), ("squared error", "imu"), ("share", "imu")]


def test_the_moving_mean_of_a_straight_line_is_that_line():
    steps = np.arange(0, 4000, 10)
    smooth_steps, smooth = _moving_mean(steps, steps / 100)
    assert len(smooth) < len(steps)
    np.testing.assert_allclose(smooth, smooth_steps / 100)


@pytest.mark.parametrize(("text", "message"), [("step,lr\n0,0.1\n", "to draw"), ("epoch,loss\n0,1\n", "`step`")])
def test_refuses_a_log_without_curves(tmp_path, text, message):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        plot_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
