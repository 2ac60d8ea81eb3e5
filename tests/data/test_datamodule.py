from types import SimpleNamespace

import pytest

from bind.data.datamodule import BindDataModule
from bind.data.sources.toy.world import ToySource


def datamodule(**options):
    source = ToySource(num_train=12, num_val_queries=1, num_test_queries=1, modalities=["text"])
    return BindDataModule({"toy": source}, {}, ["text"], ["text", "thermal"], **{"batch_size": 4, **options})


def trainer(**more):
    return SimpleNamespace(global_rank=1, world_size=2, **more)


@pytest.mark.parametrize(
    ("option", "value"), [("batch_size", 0), ("batch_size", "many"), ("evaluation_batch_size", -1), ("num_workers", -1)]
)
def test_sizes_that_are_no_counts_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"data\.{option}={value}: give a number"):
        datamodule(**{option: value})


def test_ranks_share_validation_but_not_the_evaluation_of_one_process():
    data = datamodule(evaluation_batch_size=10)
    data.trainer = trainer()
    whole, half = (
        [index for request in loader.sampler for index in request.indices]
        for loader in (data.evaluation_dataloader("val"), data.val_dataloader())
    )
    assert whole == list(range(92))
    assert half == list(range(50, 92))


def test_what_nothing_carries_is_not_evaluated():
    assert datamodule().evaluation_modalities == ("text",)


@pytest.mark.parametrize(
    ("batches_of_an_epoch", "last_batch", "step"),
    [(3, 0, 1), (3, 2, 3), (3, 3, 4), (2, 1, 3), (2, 2, 4)],
)
def test_a_checkpoint_knows_the_step_of_the_plan(batches_of_an_epoch, last_batch, step):
    """An epoch of the plan has three batches; `limit_train_batches` may cut it short."""
    data = datamodule()
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=last_batch))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, num_training_batches=batches_of_an_epoch, fit_loop=loop)
    plan = data.train_dataloader().sampler
    passed = [request for _ in range(3) for request in plan]
    resumed = datamodule()
    resumed.load_state_dict(data.state_dict())
    resumed.trainer = trainer()
    resumed.trainer.world_size, resumed.trainer.global_rank = 1, 0
    assert next(iter(resumed.train_dataloader().sampler)) == passed[step]
