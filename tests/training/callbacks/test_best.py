import itertools

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from bind.training.callbacks.best import BestCheckpoint, rebuild_state


def callback(folder):
    return BestCheckpoint(dirpath=folder, filename="best", monitor="val/mean_R@1", mode="max")


@pytest.fixture
def state(tmp_path):
    """What a checkpoint holds of a callback that has written `old/best.ckpt`."""
    old = callback(tmp_path / "old")
    path = tmp_path / "old" / "best.ckpt"
    path.parent.mkdir()
    path.touch()
    old.best_model_path = old.kth_best_model_path = str(path)
    old.best_model_score = old.kth_value = torch.tensor(0.5)
    old.best_k_models = {str(path): torch.tensor(0.5)}
    return old.state_dict()


def test_the_best_score_is_known_in_a_folder_that_was_moved(state, tmp_path):
    (tmp_path / "old").rename(tmp_path / "new")
    new = callback(tmp_path / "new")
    new.load_state_dict(rebuild_state(new, state))
    path = str(tmp_path / "new" / "best.ckpt")
    assert (new.best_model_path, new.kth_best_model_path, new.best_k_models) == (path, path, {path: torch.tensor(0.5)})
    assert new.best_model_score == new.kth_value == 0.5


def test_a_folder_without_these_files_has_a_best_of_its_own(state, tmp_path):
    new = callback(tmp_path / "new")
    new.load_state_dict(rebuild_state(new, state))
    assert (new.best_model_path, new.best_model_score, new.best_k_models) == ("", None, {})
    assert new.kth_value == callback(tmp_path).kth_value


def test_the_state_of_a_run_that_goes_on_is_what_it_was(state, tmp_path):
    assert rebuild_state(callback(tmp_path / "old"), state) == state


def test_of_several_the_worst_goes_first(tmp_path):
    several = ModelCheckpoint(tmp_path, filename="{epoch}-{val/x:.2f}", monitor="val/x", mode="min", save_top_k=2)
    paths = [tmp_path / f"epoch={n}-val" / f"x=0.{n}0.ckpt" for n in (1, 2)]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    scores = {str(path): torch.tensor(0.1 * n) for n, path in enumerate(paths, start=1)}
    rebuilt = rebuild_state(several, {"dirpath": str(tmp_path), "best_k_models": scores})
    assert rebuilt["best_k_models"] == scores
    assert (rebuilt["best_model_path"], rebuilt["kth_best_model_path"]) == tuple(map(str, paths))


@pytest.mark.parametrize(
    "path",
    [
        "local://{victim}",
        "file://{victim}/best.ckpt",
        "memory://best.ckpt",
        "{victim}",
        "{here}",
        "{here}/",
        "{here}/../victim",
        "{here}/../victim/best.ckpt",
        "{here}/folder/../../victim/best.ckpt",
        "{here}/last.ckpt",
        "{here}/link.ckpt",
        "{here}/folder",
        "{here}/other.ckpt",
        "../victim/best.ckpt",
        "best.ckpt",
        "",
        7,
        None,
    ],
)
def test_no_path_of_a_strangers_checkpoint_is_used(tmp_path, path):
    here, victim = tmp_path / "here", tmp_path / "victim"
    for folder in (here / "folder", victim):
        folder.mkdir(parents=True)
    for file in (victim / "best.ckpt", here / "last.ckpt", here / "other.ckpt"):
        file.touch()
    (here / "link.ckpt").symlink_to(victim / "best.ckpt")

    def filled(text):
        return text.format(here=here, victim=victim) if isinstance(text, str) else text

    for dirpath in ("{here}", "{victim}", "/", "local://", None, 3):
        state = {
            "dirpath": filled(dirpath),
            "best_k_models": {filled(path): torch.tensor(-9.0)},
            "best_model_score": torch.tensor(-9.0),
            **dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), filled(path)),
        }
        for filename, monitor in itertools.product(("best", "{epoch}", None, "{anything:.2f}"), ("val/x", None)):
            rebuilt = rebuild_state(ModelCheckpoint(here, filename=filename, monitor=monitor, mode="max"), state)
            removable = {*rebuilt["best_k_models"], rebuilt["kth_best_model_path"], rebuilt["best_model_path"]}
            assert removable == {""}
            assert rebuilt["last_model_path"] in ("", str(here / "last.ckpt"))
            assert rebuilt["dirpath"] == str(here)


@pytest.mark.parametrize("scores", [None, 3, [], {"{here}/best.ckpt": "high"}, {"{here}/best.ckpt": float("nan")}])
def test_scores_that_are_none_are_forgotten(tmp_path, scores):
    (tmp_path / "best.ckpt").touch()
    if isinstance(scores, dict):
        scores = {str(tmp_path / "best.ckpt"): score for score in scores.values()}
    rebuilt = rebuild_state(callback(tmp_path), {"dirpath": str(tmp_path), "best_k_models": scores})
    assert (rebuilt["best_k_models"], rebuilt["best_model_path"], rebuilt["best_model_score"]) == ({}, "", None)
