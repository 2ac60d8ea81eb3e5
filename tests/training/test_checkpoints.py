"""A checkpoint is read as numbers and text, and what is no checkpoint is refused by its name and what to do."""

import pytest
import torch

from bind.training.checkpoints import find_checkpoint, read_checkpoint


class Command:
    def __reduce__(self):
        return print, ("this ran",)


WHOLE = {
    "state_dict": {"w": torch.ones(3)},
    "epoch": 1,
    "global_step": 6,
    "pytorch-lightning_version": "2.6.4",
    "loops": {},
    "callbacks": {"A": {"x": 1}},
    "optimizer_states": [],
    "lr_schedulers": [],
}


def test_a_whole_one_is_read(tmp_path):
    torch.save(WHOLE, tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 6
    assert find_checkpoint(str(tmp_path / "last.ckpt"), tmp_path) == tmp_path / "last.ckpt"


@pytest.mark.parametrize(
    "change",
    [
        {"state_dict": {"w": 3}},
        {"state_dict": None},
        {"epoch": "1"},
        {"epoch": -1},
        {"global_step": True},
        {"global_step": 1.5},
        {"pytorch-lightning_version": "\x1b[2J"},
        {"pytorch-lightning_version": None},
        {"callbacks": []},
        {"callbacks": {"A": "x"}},
        {"loops": 1},
        {"optimizer_states": {}},
        {"more": Command()},
    ],
)
def test_what_is_none_is_refused_with_what_to_do(tmp_path, change, capsys):
    path = tmp_path / "last.ckpt"
    torch.save(WHOLE | change, path)
    with pytest.raises(ValueError, match=r"use another one|go on from another one|init_from") as refused:
        read_checkpoint(path)
    assert str(path) in str(refused.value)
    assert not {"weights_only", "trust", "unsafe"} & set(str(refused.value).replace("=", " ").split())
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK", b"not a checkpoint", b"\x80\x02}q\x00.", b"\x80\x04."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt") as refused:
        read_checkpoint(path)
    assert "weights_only" not in str(refused.value)
