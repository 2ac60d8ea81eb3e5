"""The training of a bridge: it learns, and a stopped one ends as one that was not."""

import pytest
import torch
from support.bridges import tiny_language_model
from torch.nn.functional import normalize

from bind.bridge.dialogues import Dialogue, ReadyDialogue, tokenise
from bind.bridge.mappers import MLPMapper
from bind.bridge.options import BridgeTraining
from bind.bridge.training import held_out_losses, rows_of_step, train_bridge

TEXTS = ["a red star", "a dog", "two small circles"]


class StoppedError(Exception):
    """Stands for what ends a training without a word."""


@pytest.fixture(scope="module")
def lm():
    return tiny_language_model("llama")


def parts(lm, num_comparison_tokens=0):
    torch.manual_seed(0)
    sizes = {"num_tokens": 3, "num_comparison_tokens": num_comparison_tokens}
    mapper = MLPMapper(dim=8, hidden_size=lm.hidden_size, scale=lm.embedding_scale, **sizes)
    z = normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    dialogues = [tokenise(lm, Dialogue((n,), (("", text),)), 3) for n, text in enumerate(TEXTS)]
    if num_comparison_tokens:
        about_two = Dialogue((0, 1), (("The same?", "no"),))
        dialogues.append(tokenise(lm, about_two, 3, num_comparison_tokens=num_comparison_tokens))
    return mapper, z, dialogues


@pytest.mark.slow
def test_the_loss_falls_and_the_language_model_stays(lm):
    mapper, z, dialogues = parts(lm)
    weights = {name: x.clone() for name, x in lm.state_dict().items()}
    before = held_out_losses(lm, mapper, z, dialogues)
    train_bridge(lm, mapper, z, dialogues, BridgeTraining(num_steps=40, batch_size=6, lr=1e-2, noise=0.1))
    after = held_out_losses(lm, mapper, z, dialogues)
    assert after[0] < before[0] - 0.02
    assert after[0] < after[1]
    assert all(torch.equal(x, weights[name]) for name, x in lm.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(("stop_after", "num_comparison_tokens"), [(3, 0), (4, 0), (9, 0), (3, 2), (9, 2)])
def test_a_stopped_training_ends_as_one_that_was_not(lm, stop_after, num_comparison_tokens, tmp_path, monkeypatch):
    """Also where not every step has a dialogue about two inputs."""
    batch_size = 1 if num_comparison_tokens else 2
    options = BridgeTraining(num_steps=10, batch_size=batch_size, lr=1e-2, save_every_steps=2)
    whole, z, dialogues = parts(lm, num_comparison_tokens)
    train_bridge(lm, whole, z, dialogues, options)

    import bind.bridge.training as training

    loss_of, num_steps = training.dialogue_loss, []

    def loss_or_stop(*arguments):
        num_steps.append(1)
        if len(num_steps) > stop_after:
            raise StoppedError
        return loss_of(*arguments)

    stopped, _, _ = parts(lm, num_comparison_tokens)
    monkeypatch.setattr(training, "dialogue_loss", loss_or_stop)
    with pytest.raises(StoppedError):
        train_bridge(lm, stopped, z, dialogues, options, state_path=tmp_path / "state.safetensors")
    monkeypatch.setattr(training, "dialogue_loss", loss_of)
    resumed, _, _ = parts(lm, num_comparison_tokens)
    train_bridge(lm, resumed, z, dialogues, options, state_path=tmp_path / "state.safetensors")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


@pytest.mark.slow
def test_the_state_of_another_training_is_refused(lm, tmp_path):
    mapper, z, dialogues = parts(lm)
    state = tmp_path / "state.safetensors"
    train_bridge(lm, mapper, z, dialogues, BridgeTraining(num_steps=2, save_every_steps=1), state_path=state)
    for options, others in (
        (BridgeTraining(num_steps=2, noise=0.1), dialogues),
        (BridgeTraining(num_steps=2), dialogues[:2]),
    ):
        with pytest.raises(
            ValueError, match=r"other texts, options or models\); delete it|other texts, options or models; delete"
        ):
            train_bridge(lm, parts(lm)[0], z, others, options, state_path=state)
    state.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"state.safetensors: not readable as the state of a training"):
        train_bridge(lm, mapper, z, dialogues, BridgeTraining(num_steps=2), state_path=state)


def test_every_round_has_each_row_once_in_another_order():
    options = BridgeTraining(batch_size=4)
    rows = [row for step in range(6) for row in rows_of_step(step, 8, options)]
    rounds = [rows[start : start + 8] for start in (0, 8, 16)]
    assert all(sorted(one) == list(range(8)) for one in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    other = BridgeTraining(batch_size=4, seed=1)
    assert [row for step in range(2) for row in rows_of_step(step, 8, other)] != rounds[0]


@pytest.mark.slow
def test_held_out_losses_are_means_over_tokens(lm):
    mapper, z, dialogues = parts(lm)
    at_once, one_by_one = (held_out_losses(lm, mapper, z, dialogues, batch_size=n) for n in (3, 1))
    assert at_once == pytest.approx(one_by_one, abs=1e-5)
    moved = [ReadyDialogue(((one.rows[0] + 1) % 3,), one.ids, one.labels) for one in dialogues]
    assert held_out_losses(lm, mapper, z, moved)[0] == pytest.approx(at_once[1], abs=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_steps": 0}, "num_steps=0: give a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5: give a whole"),
        ({"noise": -1.0}, "noise=-1.0: give a number of 0 or more"),
        ({"lr": float("nan")}, "lr=nan: give a number"),
    ],
)
def test_options_that_can_not_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        BridgeTraining(**values)
