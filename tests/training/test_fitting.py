import pytest
import torch
from omegaconf import OmegaConf
from support import runs

from bind.build import ANY_CLASS
from bind.data.plan import BatchPlan
from bind.processes.memory import forget_peak, peak_bytes
from bind.runs.auto_sizes import make_auto_batch
from bind.runs.jobs import make_module, train
from bind.runs.parts import Parts
from bind.training import fitting
from bind.training.fitting import Room, first_batches, most_rows, repeat_rows
from bind.types import Batch

MB = 10**6


@pytest.mark.parametrize(
    ("sizes", "weights", "world_size", "rows"),
    [
        ([8000], [1.0], 1, 128),
        ([8000], [1.0], 2, 64),
        ([8000, 300], [1.0, 1.0], 1, 32),  # of the smallest source that trains
        ([8000, 300], [1.0, 0.0], 1, 128),
        ([64], [1.0], 1, 16),
        ([3], [1.0], 2, 1),
        ([100_000_000], [1.0], 4, 8192),  # 32,768 together
    ],
)
def test_a_batch_is_no_larger_than_the_data_is_worth(sizes, weights, world_size, rows):
    assert most_rows(BatchPlan(sizes, 1, seed=0, weights=weights), world_size) == rows


def test_chunks_make_room_for_more_rows():
    room = Room(budget=1000 * MB, row_bytes=10.0 * MB, kept_bytes=1.0 * MB)
    assert room.rows() == 64
    assert room.rows(chunk_size=16) == 512
    assert room.rows(chunk_size=512) == 64, "a chunk that does not fit itself"
    assert [room.chunk(rows) for rows in (64, 100, 128, 512, 1024)] == [None, None, 64, 32, 0]


def test_repeated_rows_keep_what_is_missing_and_what_several_tensors_hold():
    batch = Batch(
        keys=["a", "b", "c"],
        group_ids_B=torch.tensor([1, 2, 3]),
        inputs={"imu": torch.tensor([[10.0], [30.0]]), "text": {"ids": torch.tensor([[1], [2], [3]])}},
        rows={"imu": torch.tensor([0, 2]), "text": torch.arange(3), "image": torch.tensor([1])},
        cached={"image": torch.tensor([[7.0]])},
    )
    longer = repeat_rows(batch, 5)
    assert longer.keys == ["a", "b", "c", "a", "b"]
    assert longer.rows["imu"].tolist() == [0, 2, 3]
    assert longer.inputs["imu"][:, 0].tolist() == [10.0, 30.0, 10.0]
    assert longer.inputs["text"]["ids"][:, 0].tolist() == [1, 2, 3, 1, 2]
    assert longer.rows["image"].tolist() == [1, 4]
    assert longer.cached["image"].shape == (2, 1)


@pytest.mark.slow
def test_what_a_row_takes_foretells_the_peak_of_a_larger_batch():
    if not forget_peak():
        pytest.skip("this system does not let a process forget its peak")
    names = {"cache.dir": None, "encoder.audio.width": 32, "data.batch_size": 1, "modalities": ["audio"]}
    config = OmegaConf.to_container(runs.config("debug=tiny", **runs.QUICK | names), resolve=True)
    parts = Parts.build(config, trust=ANY_CLASS)
    module = make_module(parts)
    parts.datamodule.cache = None
    [batch] = first_batches(parts.datamodule)
    precision = runs.plain_precision()
    device = torch.device("cpu")
    of_row = fitting._row_bytes(module, batch, precision, device, 256, 1e18)
    peaks = {n: fitting.peak_of_step(module, repeat_rows(batch, n), precision, device) for n in (64, 512)}
    # What other tests have left in this process makes a few rows seem larger: never is too little foretold.
    assert 0.5 < (peaks[512] - peaks[64]) / (448 * of_row) < 1.25
    assert peak_bytes() > 0


@pytest.fixture
def little_memory(monkeypatch):
    """Room for 8 rows of 1 MB, of which 0.1 MB are kept without their activations."""
    monkeypatch.setattr(
        "bind.training.callbacks.auto_batch.measure_room", lambda *args, **kwargs: Room(8 * MB, 1.0 * MB, 0.1 * MB)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        ({"data.batch_size": "auto"}, (8, None)),
        ({"data.batch_size": 32, "data.chunk_size": "auto"}, (32, 4)),
        ({"data.batch_size": 8, "data.chunk_size": "auto"}, (8, None)),
        ({"data.batch_size": "auto", "data.chunk_size": 4}, (32, 4)),
    ],
)
def test_what_fits_is_in_the_config_and_the_run_goes_on_with_it(
    tmp_path, little_memory, no_pictures, monkeypatch, capsys, overrides, sizes
):
    own = {"run_dir": str(tmp_path / "run"), "trainer.max_epochs": 1, "trainer.max_steps": 3}
    train(runs.config("debug=tiny", **runs.QUICK | own | overrides))
    printed = capsys.readouterr().out
    assert "=auto: " in printed
    assert f"3 steps × {sizes[0]} rows" in printed
    assert sizes_of(tmp_path / "run") == sizes
    # With more memory now, it goes on as it was.
    monkeypatch.setattr(
        "bind.training.callbacks.auto_batch.measure_room", lambda *args, **kwargs: Room(10**12, 1.0, 0.1)
    )
    for steps in (5, 6):
        more = {"trainer.max_steps": steps, "ckpt": "last"}
        train(runs.config("debug=tiny", **runs.QUICK | own | overrides | more))
        assert sizes_of(tmp_path / "run") == sizes


def sizes_of(run_dir):
    data = OmegaConf.load(run_dir / "config.yaml").data
    return data.batch_size, data.chunk_size


@pytest.mark.slow
def test_found_sizes_train_as_given_ones(tmp_path, little_memory, no_pictures):
    own = {"trainer.max_epochs": 1, "trainer.max_steps": 3}
    for name, sizes in (("found", {"data.batch_size": "auto"}), ("given", {"data.batch_size": 8})):
        train(runs.config("debug=tiny", **runs.QUICK | own | sizes | {"run_dir": str(tmp_path / name)}))
    weights = [(tmp_path / name / "binder" / "model.safetensors").read_bytes() for name in ("found", "given")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_what_does_not_fit_at_all_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("bind.training.callbacks.auto_batch.measure_room", lambda *args, **kwargs: Room(10, 20.0, 1.0))
    own = {"run_dir": str(tmp_path / "run"), "data.batch_size": "auto"}
    with pytest.raises(
        ValueError, match=r"data\.batch_size=auto: one row takes .* MB in a step, and there is room for"
    ):
        train(runs.config("debug=tiny", **runs.QUICK | own))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("batch_size", r"data\.batch_size=many: give .* or auto"),
        ("chunk_size", r"data\.chunk_size=many: give .* or auto"),
    ],
)
def test_other_words_are_no_sizes(tmp_path, key, message):
    with pytest.raises(ValueError, match=message):
        train(runs.config("debug=tiny", **runs.QUICK | {"run_dir": str(tmp_path / "run"), f"data.{key}": "many"}))


def test_a_sweep_has_batches_of_one_size(monkeypatch):
    monkeypatch.setattr("bind.runs.auto_sizes.is_multirun", lambda: True)
    with pytest.raises(ValueError, match=r"data\.batch_size=auto in a sweep"):
        make_auto_batch({"data": {"batch_size": "auto", "chunk_size": None}}, None)
    assert make_auto_batch({"data": {"batch_size": 8, "chunk_size": "auto"}}, None).batch_size == 8
    assert make_auto_batch({"data": {"batch_size": 8, "chunk_size": None}}, None) is None
