"""Tokens of values: those of the encoder, whatever the batch, and of all clips of a value."""

import torch
from support.bridges import token_binder, toy_values

from bind.model.tokens import TokenBatch, embed_token_items, embed_tokens, token_widths_of


def test_tokens_are_those_of_the_encoder_in_evaluation():
    binder = token_binder().train()
    (values,) = toy_values("train", 3, "imu")
    tokens = embed_tokens(binder, "imu", values)
    assert binder.training
    assert tokens.x_BLF.shape == (3, 10, 16)
    assert tokens.is_token_BL.all()
    inputs = torch.stack([binder.transforms["imu"](value, None) for value in values])
    with torch.no_grad():
        expected_BLF, _ = binder.eval().encoders["imu"].tokens(inputs)
    torch.testing.assert_close(tokens.x_BLF, expected_BLF)
    torch.testing.assert_close(embed_tokens(binder, "imu", values[1:2]).x_BLF[0], tokens.x_BLF[1])
    assert token_widths_of(binder) == {"imu": 16}


def test_the_tokens_of_clips_stand_in_a_row():
    binder = token_binder()
    clips = [torch.randn(6, 200) for _ in range(3)]
    tokens = embed_token_items(binder, "imu", [clips[:2], clips[2]])
    assert tokens.is_token_BL.sum(dim=1).tolist() == [20, 10]
    one_by_one = [embed_token_items(binder, "imu", [clip]).x_BLF[0] for clip in clips]
    torch.testing.assert_close(tokens.unpadded()[0], torch.cat(one_by_one[:2]))
    torch.testing.assert_close(tokens.unpadded()[1], one_by_one[2])
    assert (tokens.x_BLF[1, 10:] == 0).all()


def test_a_batch_gives_its_rows_in_any_order():
    batch = TokenBatch.of([torch.full((num, 2), float(num)) for num in (1, 3, 2)])
    assert len(batch) == 3
    chosen = batch[[2, 0, 2]].to(torch.device("cpu"))
    assert [x.tolist() for x in chosen.unpadded()] == [[[2.0, 2.0]] * 2, [[1.0, 1.0]], [[2.0, 2.0]] * 2]
