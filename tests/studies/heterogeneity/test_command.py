import itertools
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support import runs
from torch.nn.functional import normalize

from bind.build import build
from bind.commands.cli import main
from bind.data.sources.toy.world import CARRIES, ToySource
from bind.metrics.heterogeneity import Heterogeneity
from bind.report.terminal_table import print_cells
from bind.runs.jobs import train
from bind.runs.parts import Parts
from bind.runs.run_config import open_run
from bind.studies.heterogeneity.advice import write_advice
from bind.studies.heterogeneity.command import compare_fusions, figures
from bind.studies.heterogeneity.fused import make_fused_tasks, make_fusion, start_fusion_from
from bind.studies.heterogeneity.show import heterogeneity_cells
from bind.studies.heterogeneity.starts import learning_rate_share, make_learner, measure_starts, start_from
from bind.studies.heterogeneity.tasks import StudiedRun, make_tasks

NOTHING = lambda: None  # noqa: E731
MODALITIES = ("audio", "imu", "depth")
SIZES = {
    f"encoder.{m}.{size}": value
    for m in MODALITIES
    for size, value in (("width", 16), ("num_layers", 1), ("num_heads", 2))
}
TINY = SIZES | {
    "data.num_train": 48,
    "data.num_val_queries": 1,
    "data.num_test_queries": 1,
    "data.batch_size": 6,
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": False,
    "evaluation.num_gallery_queries": 0,
    "evaluation.num_scatter_samples": 0,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run directory of two steps with sound, motion and depth on equal trunks."""
    run_dir = tmp_path_factory.mktemp("alike") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        choices = [f"encoder/{m}=transformer" for m in MODALITIES]
        train(runs.config(*choices, **TINY | {"run_dir": str(run_dir), "modalities": list(MODALITIES)}))
    return run_dir


@pytest.fixture
def parts(finished):
    _, config = open_run(str(finished))
    parts = StudiedRun.of(Parts.load(finished, config, trust=()), ())
    parts.fill_anchor_cache()
    return parts


@pytest.fixture
def tasks(parts):
    return make_tasks(parts.pairs, parts.binder)


@pytest.mark.slow
def test_the_command_writes_tables_a_file_and_a_plot_and_leaves_the_test_split_alone(
    finished, as_command, capsys, monkeypatch
):
    of_any = ToySource.samples

    def samples(self, split):
        assert split in ("train", "val"), "the test split is not for choosing encoders"
        return of_any(self, split)

    monkeypatch.setattr(ToySource, "samples", samples)
    options = ("steps=2", "seeds=[0,1]", "fusion_steps=2", "fusion_batches=2")
    assert as_command(main, "heterogeneity", f"run={finished}", *options) == 0
    shown = capsys.readouterr().out
    assert "3 tasks from 4 starts, 2 steps each, 2 seeds" in shown
    for title in ("Transfer between modalities, val split", "Distance between modalities", "Transfer between fusions"):
        assert title in shown
    found = json.loads((finished / "heterogeneity.json").read_text())
    assert found["split"] == "val"
    assert found["modalities"]["names"] == list(MODALITIES)
    assert found["modalities"]["targets"] == dict.fromkeys(MODALITIES, "image")
    assert found["fused"]["names"] == ["audio_and_imu", "audio_and_depth", "imu_and_depth"]
    for of in (found["modalities"], found["fused"]):
        assert [of["distance"][i][i] for i in range(3)] == [0, 0, 0]
        assert sorted(of["order"]) == [0, 1, 2]
    assert all(sentence in shown for sentence in found["advice"])
    assert Image.open(finished / "heterogeneity.png").size[0] > 500


@pytest.mark.slow
def test_a_start_from_equal_weights_is_an_equal_start(parts, tasks):
    """What a modality's own encoder gives, any other with the same trunk and head gives: distance 0."""
    imu = tasks[1]
    parts.binder.encoders["depth"].trunk.load_state_dict(parts.binder.encoders["imu"].trunk.state_dict())
    parts.binder.heads["depth"].load_state_dict(parts.binder.heads["imu"].state_dict())

    def bits(with_head):
        return measure_starts(parts, imu, ["imu", "depth", "audio"], 0, 3, with_head=with_head, advance=NOTHING)

    for with_head in (True, False):
        found = bits(with_head)
        assert found["imu"] == found["depth"] != found["audio"]
        assert found == bits(with_head)  # and again
    assert bits(with_head=True)["audio"] != bits(with_head=False)["audio"]


@pytest.mark.slow
def test_only_what_is_taken_over_differs_from_a_fresh_start(parts, tasks):
    fresh = make_learner(parts, tasks[0], seed=3)
    started = start_from(fresh, tasks[0], parts, "imu", with_head=False)
    assert started.binder.anchor is parts.binder.anchor
    source = parts.binder.encoders["imu"].trunk.state_dict()
    own = fresh.binder.own_state_dict()
    for name, weight in started.binder.own_state_dict().items():
        expected = source[name.removeprefix("encoders.audio.trunk.")] if ".trunk." in name else own[name]
        assert torch.equal(weight, expected)
    again = make_learner(parts, tasks[0], seed=3).binder.own_state_dict()
    assert all(torch.equal(weight, own[name]) for name, weight in again.items())


@pytest.mark.slow
def test_batches_are_a_function_of_the_seed_and_last_over_epochs(parts):
    def keys(seed, num):
        return [batch.keys for batch in parts.training_loader(["imu", "image"], seed, num)]

    assert keys(5, 10) == keys(5, 10) != keys(6, 10)
    assert keys(5, 10)[:4] == keys(5, 4)  # 48 samples are 8 batches an epoch
    with pytest.raises(ValueError, match="no source of the training carries smell, image together"):
        parts.training_loader(["smell", "image"], 0, 1)


def test_the_rate_rises_once_and_falls_to_nearly_nothing():
    rates = [learning_rate_share(step, 40, 0.1) for step in range(40)]
    assert rates.index(max(rates)) in (3, 4)
    assert max(rates) > 0.95
    assert 0 < rates[-1] < 0.01
    assert learning_rate_share(0, 1, 0.05) == 1.0


@pytest.mark.slow
def test_a_fusion_taken_over_in_the_other_order_does_the_same_to_swapped_inputs(parts, tasks):
    first, *_ = make_fused_tasks(parts, tasks, 2, NOTHING)
    source = make_fusion(first, parts, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in source.parameters():
            weight.normal_(generator=generator)
    source.eval()
    a, b = (normalize(torch.randn(5, parts.binder.dim, generator=generator), dim=1) for _ in range(2))
    swapped = start_fusion_from(source, make_fusion(first, parts, seed=1), (1, 0)).eval()
    torch.testing.assert_close(first.fuse(swapped, [b, a]), first.fuse(source, [a, b]))
    same = start_fusion_from(source, make_fusion(first, parts, seed=1), (0, 1)).eval()
    torch.testing.assert_close(first.fuse(same, [a, b]), first.fuse(source, [a, b]))


@pytest.mark.slow
def test_fused_tasks_ask_with_samples_that_have_both_inputs(parts, tasks):
    found = make_fused_tasks(parts, tasks, 3, NOTHING)
    assert [task.inputs for task in found] == list(itertools.combinations(MODALITIES, 2))
    for task in found:
        assert [len(z) for z in task.train_M] == [18, 18]
        assert len(task.pool) == len(task.pool_groups.unique()) == 46
        assert len(task.query_groups) == 46


@pytest.mark.slow
def test_sources_that_carry_only_some_give_the_pairs_that_they_carry(parts, tasks, caplog):
    source = parts.datamodule.sources[0]
    source._modalities = ("image", "text", "audio", "imu")
    assert parts.sources_carrying(["audio", "imu", "depth", "image"], 3) == [True]
    [task] = make_fused_tasks(parts, tasks, 2, NOTHING)
    assert task.inputs == ("audio", "imu")
    assert "no fusion of audio and depth" in caplog.text
    source._modalities = ("image", "text", "audio")
    assert make_fused_tasks(parts, tasks, 2, NOTHING) == []


@pytest.mark.slow
def test_two_modalities_leave_nothing_to_compare_fusions_with(parts, tasks):
    found = compare_fusions(parts, tasks[:2], [0, 1], steps=1, fusion_steps=1, fusion_batches=1)
    assert list(found["pairs"]) == ["audio_and_imu"]
    assert found["skipped"].startswith("one pair")
    alone = compare_fusions(parts, tasks[:1], [0, 1], steps=1, fusion_steps=1, fusion_batches=1)
    assert (alone["pairs"], alone["skipped"][:17]) == ({}, "no two modalities")


def test_encoders_whose_trunks_differ_are_refused_with_what_fits(toy_run, as_command, capsys):
    assert as_command(main, "heterogeneity", f"run={toy_run}") == 1
    message = capsys.readouterr().err
    assert "does not fit" in message
    assert "encoder/audio=transformer encoder/imu=transformer" in message


@pytest.mark.slow
def test_one_trunk_is_not_compared_with_itself(tmp_path, as_command, capsys, monkeypatch):
    monkeypatch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
    choices = [f"encoder/{m}=transformer" for m in MODALITIES]
    shared = {"run_dir": str(tmp_path), "modalities": ["audio", "imu"], "encoder.imu.share": "audio"}
    train(runs.config(*choices, **TINY | shared))
    assert as_command(main, "heterogeneity", f"run={tmp_path}") == 1
    assert "encoder.imu.share=audio: one trunk can't be compared with itself" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("seeds=[0]", "two or more that differ"),
        ("seeds=[1,1]", "two or more that differ"),
        ("seeds=2", "seeds=[2]: give two or more that differ, such as seeds=[0,1,2]"),
        ("seeds=[0,x]", "seeds=[0, 'x']: give two or more that differ, such"),
        ("steps=0", "steps=0: give a number of at least 1"),
        ("fusion_steps=1.5", "fusion_steps=1.5"),
        ("run=/nowhere", "no config.yaml there"),
    ],
)
def test_what_can_not_be_studied_is_reported(finished, as_command, capsys, option, message):
    assert as_command(main, "heterogeneity", f"run={finished}", option) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_one_modality_with_something_to_find_is_too_few(parts):
    pairs = parts.pairs
    with pytest.raises(ValueError, match=r"1 trained modality.*modalities=\[audio,imu\]"):
        make_tasks([pair for pair in pairs if pair.a == "imu"], parts.binder)


def of_matrix(own, other, noise=0.0):
    """Figures of three modalities, of which the first two stand in for each other up to `other`."""
    bits, wobble = torch.zeros(2, 3, 3), torch.tensor([-noise, noise])[:, None, None]
    bits[:, :2, :2] = other + wobble
    bits[:, range(3), range(3)] = own
    return figures(MODALITIES, Heterogeneity(bits.double().numpy(), torch.zeros(2, 3).double().numpy()))


PAIR = {
    "inputs": ["audio", "imu"],
    "target": "image",
    "queries": 9,
    "pool": 3,
    "alone": {"audio": 1.0, "imu": 2.0},
    "plain_sum": 2.5,
    "learned": 2.75,
    "gain": 0.25,
    "gain_std": 0.01,
    "ci95_gain": [0.1, 0.4],
    "deserves_a_head": True,
}


def verdict(of_modalities, capsys, **pair):
    fused = {"pairs": {"audio_and_imu": PAIR | pair}, "skipped": "one pair"}
    found = {"split": "val", "seeds": [0, 1], "steps": 40, "head": True, "modalities": of_modalities, "fused": fused}
    for cells in heterogeneity_cells(found):
        print_cells(cells)
    return "\n".join(write_advice(found)), capsys.readouterr().out


@pytest.mark.slow
def test_advice_names_the_override(capsys):
    words, shown = verdict(of_matrix(own=2.0, other=1.9), capsys)
    assert "audio and imu may share a trunk, at most 0.20 ± 0.00 bits (4.00 if unrelated) apart" in words
    assert "encoder.imu.share=audio" in words
    assert "depth keeps an encoder of its own" in words
    assert "audio and imu deserve a fusion head, +0.250 ± 0.010 bits" in words
    assert "fusion=attention fusion.inputs=[audio,imu]" in words
    assert "audio ⊕ imu → image" in shown
    assert "audio – imu" in shown


def test_advice_is_silent_on_what_noise_hides(capsys):
    words, _ = verdict(of_matrix(own=2.0, other=1.0, noise=2.0), capsys, deserves_a_head=False, gain=-0.1)
    assert "audio and imu can't be told apart" in words
    assert ".share=" not in words
    assert "need no fusion head, -0.100" in words
    words, _ = verdict(of_matrix(own=0.0, other=0.0), capsys, plain_sum=1.5, learned=1.5, deserves_a_head=False)
    assert words.count("gains nothing in 40 steps") == 3
    assert ".share=" not in words
    assert "need no fusion: imu alone tells more (2.00 bits)" in words
    assert words.count("docs/fusion.md shows which heads can tell, and when a learned head pays") == 1
    assert (Path(__file__).parents[3] / "docs" / "fusion.md").is_file()


def test_without_a_pair_there_is_no_word_on_heads():
    fused = {"pairs": {}, "skipped": "no pair of modalities"}
    study = {"steps": 40, "modalities": of_matrix(own=2.0, other=1.0), "fused": fused}
    assert "docs/fusion.md" not in "\n".join(write_advice(study))


def test_few_groups_give_no_advice_on_a_head(capsys):
    few = {"deserves_a_head": False, "resampled": "groups", "clusters": 3}
    words, shown = verdict(of_matrix(own=2.0, other=1.9), capsys, **few)
    assert "whether audio and imu deserve a fusion head can't be said (too few groups to conclude: 3)" in words
    assert "fusion=" not in words
    assert "?: under 10 groups" in " ".join(shown.split())


@pytest.mark.slow
def test_the_advised_share_is_a_key_of_the_config():
    made = runs.config("encoder/audio=transformer", "encoder/imu=transformer", "encoder.imu.share=audio")
    assert OmegaConf.to_container(made)["encoder"]["imu"]["share"] == "audio"


@pytest.mark.slow
def test_a_world_of_fewer_factors_is_a_key_of_the_config():
    made = runs.config("data.sources.toy.carries={audio:[motion],imu:[]}")
    world = build(OmegaConf.to_container(made.data.sources.toy, resolve=True))
    assert (world.carries["audio"], world.carries["imu"]) == (("motion",), ())
    whole = build(OmegaConf.to_container(runs.config().data.sources.toy, resolve=True))
    assert whole.carries == CARRIES
