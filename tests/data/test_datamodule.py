from types import SimpleNamespace

import pytest
import torch

from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.toy.world import ToySource
from bind.data.transforms.imu import ImuTransform


def datamodule(**options):
    source = ToySource(num_train=12, num_val_queries=1, num_test_queries=1, modalities=["text"])
    return BindDataModule({"toy": source}, {}, ["text"], ["text", "thermal"], **{"batch_size": 4, **options})


def in_training(num_batches, epoch=0, batch=0, accumulated=1, world_size=1):
    """A trainer that has done so many batches of an epoch."""
    epochs = SimpleNamespace(current=SimpleNamespace(started=epoch + 1, processed=epoch))
    batches = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(ready=batch)))
    return SimpleNamespace(
        global_rank=0,
        world_size=world_size,
        num_training_batches=num_batches,
        limit_train_batches=1.0,
        accumulate_grad_batches=accumulated,
        fit_loop=SimpleNamespace(epoch_progress=epochs, epoch_loop=batches),
    )


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


@pytest.mark.slow
def test_evaluation_of_several_batches_is_loaded_by_workers():
    source = ToySource(num_train=12, num_val_queries=1, num_test_queries=1, modalities=["imu"])

    def loader(batch_size, num_workers):
        options = {"evaluation_batch_size": batch_size, "num_workers": num_workers}
        data = BindDataModule({"toy": source}, {"imu": ImuTransform()}, ["imu"], ["imu"], batch_size=4, **options)
        return data.evaluation_dataloader("val")

    there, here = loader(40, 1), loader(40, 0)
    assert (len(there), there.num_workers) == (3, 1)
    for a, b in zip(there, here, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a.inputs["imu"], b.inputs["imu"])
    assert loader(92, 1).num_workers == 0


def test_weights_of_nothing_but_0_are_refused_in_training():
    with pytest.raises(ValueError, match=r"data\.weights: all are 0"):
        datamodule(weights={"toy": 0}).train_plan()


def test_what_nothing_carries_is_not_evaluated():
    assert datamodule().evaluation_modalities == ("text",)


@pytest.mark.parametrize(
    ("batches_of_an_epoch", "last_batch", "step"),
    [(3, 0, 1), (3, 2, 3), (3, 3, 4), (2, 1, 3), (2, 2, 4)],
)
def test_a_checkpoint_knows_the_step_of_the_plan(batches_of_an_epoch, last_batch, step):
    """An epoch of the plan has three batches; `limit_train_batches` may cut it short."""
    data = datamodule()
    epoch, batch = divmod(last_batch, batches_of_an_epoch)
    data.trainer = in_training(batches_of_an_epoch, epoch, batch + 1)
    plan = data.train_dataloader().sampler
    passed = [request for _ in range(3) for request in plan]
    resumed = datamodule()
    resumed.load_state_dict(data.state_dict())
    resumed.trainer = in_training(batches_of_an_epoch)
    assert next(iter(resumed.train_dataloader().sampler)) == passed[step]
    assert not resumed.has_other_batches


def test_a_checkpoint_that_knows_only_its_step_goes_on():
    resumed = datamodule()
    resumed.load_state_dict({"step": 4})
    resumed.trainer = in_training(3)
    assert next(iter(resumed.train_dataloader().sampler)) == next(iter(datamodule().train_plan(start_step=4)))
    assert resumed.start == (1, 1)


@pytest.mark.parametrize(
    ("before", "batch", "now", "start"),
    [
        ({"batch_size": 1}, 6, {"batch_size": 3}, (5, 2)),  # six samples are behind
        ({"batch_size": 3}, 2, {"batch_size": 1}, (5, 6)),
        ({"batch_size": 1}, 11, {"batch_size": 4, "accumulated": 2}, (5, 2)),
        ({"batch_size": 1}, 11, {"batch_size": 12}, (5, 0)),
        ({"batch_size": 1}, 11, {"batch_size": 1, "world_size": 2}, (5, 5)),
    ],
)
def test_with_other_batches_it_goes_on_after_as_many_samples(before, batch, now, start):
    data = datamodule(**before)
    data.trainer = in_training(12 // before["batch_size"], 5, batch)
    data.train_dataloader()
    options = {name: now.pop(name) for name in ("accumulated", "world_size") if name in now}
    resumed = datamodule(**now)
    resumed.load_state_dict(data.state_dict())
    resumed.trainer = in_training(12, **options)
    plan = resumed.train_dataloader().sampler
    assert resumed.has_other_batches
    assert resumed.start == start
    assert plan.step == start[0] * len(plan) + start[1]


@pytest.fixture
def two_tables(tmp_path):
    """Sources `a`, which has the owner "Zoë" and the file x.wav in train, and `b`, which has both in test."""
    (tmp_path / "x.wav").write_bytes(b"")
    (tmp_path / "a.csv").write_text("key,split,owner,audio,text\na,train,Zo\u00eb,x.wav,t\nb,val,i,,t\n")
    (tmp_path / "b.csv").write_text("key,split,owner,audio,text\nc,test,Zoe\u0308,,t\nd,test,j,x.wav,t\n")
    return {name: ManifestSource(tmp_path / f"{name}.csv") for name in "ab"}


@pytest.mark.slow
def test_an_owner_that_two_tables_share_is_refused(two_tables):
    with pytest.raises(ValueError, match=r"the mixture of a, b: 1 owner.*\(train: key 'a', test: key 'c'\)"):
        BindDataModule(two_tables, {}, ["text"], ["text"])
    BindDataModule(two_tables, {}, ["text"], ["text"], weights={"a": 0})  # not trained on


@pytest.mark.slow
def test_a_file_that_two_tables_share_is_refused(two_tables, tmp_path):
    (tmp_path / "b.csv").write_text("key,split,owner,audio,text\nd,test,j,x.wav,t\n")
    tables = two_tables | {"b": ManifestSource(tmp_path / "b.csv")}
    with pytest.raises(ValueError, match=r"the mixture of a, b: 1 overlap.*x\.wav \(test: key 'd', train: key 'a'\)"):
        BindDataModule(tables, {}, ["text"], ["text"])
