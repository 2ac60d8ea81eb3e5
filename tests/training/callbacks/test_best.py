import pytest
import torch

from bind.training.callbacks.best import BestCheckpoint


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
    new.load_state_dict(state)
    path = str(tmp_path / "new" / "best.ckpt")
    assert (new.best_model_path, new.kth_best_model_path, new.best_k_models) == (path, path, {path: torch.tensor(0.5)})
    assert new.best_model_score == new.kth_value == 0.5


def test_another_run_has_a_best_of_its_own(state, tmp_path):
    new = callback(tmp_path / "new")
    with pytest.warns(UserWarning, match="dirpath has changed"):
        new.load_state_dict(state)
    assert (new.best_model_score, new.best_k_models) == (None, {})
