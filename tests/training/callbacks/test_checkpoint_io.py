import pytest
import torch

from bind.training.callbacks.checkpoint_io import AtomicCheckpointIO


def test_a_checkpoint_comes_back_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "new" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(2)}, "global_step": 3}, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)
    assert loaded["global_step"] == 3
    assert torch.equal(loaded["state_dict"]["w"], torch.ones(2))
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_new_checkpoint_replaces_the_old_one(tmp_path):
    path = tmp_path / "last.ckpt"
    for step in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"global_step": step}, path)
    assert torch.load(path)["global_step"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


FULL = OSError(28, "No space left on device")
HIDDEN = RuntimeError("unexpected pos 64 vs 0")  # as torch says it
HIDDEN.__context__ = FULL


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (
            FULL,
            ValueError,
            r"last\.ckpt could not be written: No space left on device; the one that was there is whole",
        ),
        (HIDDEN, ValueError, "No space left on device"),
        (RuntimeError("a bug"), RuntimeError, "a bug"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)
def test_what_fails_half_way_leaves_the_old_checkpoint_as_it_was(tmp_path, monkeypatch, error, raised, message):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, path)
    before = path.read_bytes()

    def half(checkpoint, file):
        file.write(before[: len(before) // 2])
        assert len(list(tmp_path.iterdir())) == 2  # beside the old one, in the same folder
        raise error

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(raised, match=message):
        AtomicCheckpointIO().save_checkpoint({"global_step": 2}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_it_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(path.exists()))
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, path)
    assert synced[0] is False
    assert path.exists()
