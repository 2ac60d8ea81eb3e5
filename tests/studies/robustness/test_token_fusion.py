import json
import logging

import numpy as np
import pytest
import torch
from support import runs

from bind.data.collate import collate_clips
from bind.evaluation.embed import embed_split
from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.qformer import QFormerFusion
from bind.metrics import rank_by_cosine
from bind.runs.jobs import train
from bind.runs.parts import Parts
from bind.runs.run_config import open_run
from bind.studies.robustness.command import robustness
from bind.studies.robustness.embed import Disturber, add_fused_without
from bind.studies.robustness.figures import FusedQueries
from bind.studies.robustness.heads import computed, make_heads, names_of_fused, reads_tokens
from bind.studies.robustness.kinds import KINDS
from bind.studies.robustness.tasks import RankingTask
from bind.types import stable_id

INPUTS = ["audio", "imu"]
NAMES = names_of_fused(INPUTS)
DISTURBED = [("audio", "audio_snr_db", -5.0), ("imu", "imu_gaps", 0.5)]
SMALL = {
    f"encoder.{m}.{name}": value
    for m in INPUTS
    for name, value in {"width": 16, "num_layers": 1, "num_heads": 2}.items()
}
LEVELS = {
    "levels.audio_snr_db": [-5],
    "levels.imu_gaps": [0.5],
    "kinds": ["audio_snr_db", "imu_gaps"],
    "missing_shares": [0.5, 1.0],
}


@pytest.fixture(scope="module")
def token_run(recordings, tmp_path_factory):
    """Two epochs on `recordings` with a fusion that reads tokens of both inputs; some samples lack one of them."""
    run_dir = tmp_path_factory.mktemp("runs") / "tokens"
    choices = ("data=manifest", "fusion=qformer", *(f"encoder/{m}=transformer" for m in INPUTS))
    of_run = {"data.manifest": str(recordings), "run_dir": str(run_dir), "fusion.inputs": INPUTS, "fusion.width": 16}
    of_run |= {"transform.imu.window_seconds": 0.48}
    shared = {k: v for k, v in runs.RECORDED.items() if not k.startswith("encoder.")}
    train(runs.config(*choices, **shared | SMALL | of_run))
    return run_dir


@pytest.fixture(scope="module")
def parts(token_run):
    """Its parts; the fusion says much that is not in the sum."""
    run_dir, config = open_run(str(token_run))
    parts = Parts.load(run_dir, config, trust=())
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        parts.binder.fusion.out.weight.normal_()
        parts.binder.fusion.queries_QW.normal_()
    parts.binder.eval()
    return parts


@pytest.fixture(scope="module")
def clean(parts):
    return embed_split(parts.datamodule, parts.binder, "test")


@pytest.fixture(scope="module")
def queries(parts, clean):
    split = add_fused_without(clean, parts.datamodule, parts.binder, INPUTS, "test")
    return FusedQueries(
        split, INPUTS, make_heads(INPUTS, parts.binder.fusion), [task_of(split)], computed=NAMES.values()
    )


def task_of(split):
    """To find the picture of the same sample."""
    num_samples = len(split.keys)
    asks_N = torch.ones(num_samples, dtype=torch.bool)
    groups = split.group_ids_N
    pool_groups = groups[split.rows["image"]]
    return RankingTask("image", split.z["image"], pool_groups, groups, asks_N, np.arange(num_samples), "samples", {})


@torch.no_grad()
def fuse_one_by_one(parts, rows, *, missing=None, disturbed=None):
    """What the fusion makes of each sample alone, its parts called by hand; `disturbed` is modality, kind, level."""
    binder, source = parts.binder, parts.datamodule.sources[0]
    vectors = []
    for row in rows.tolist():
        z, present, tokens = {}, {}, {}
        for modality in INPUTS:
            (value,) = source.fetch("test", [row], [modality], None)[0][modality]
            transform = binder.transforms[modality]
            if disturbed and modality == disturbed[0]:
                _, kind, level = disturbed
                key = source.samples("test")[row].key
                rng = np.random.default_rng([0, stable_id(f"{key}:{modality}:0:{kind}")])
                value = KINDS[kind].disturb(KINDS[kind].decode(value, transform), level, rng)
            inputs, _ = collate_clips(transform, [transform(value, None)])
            z[modality] = binder.heads[modality](binder.encoders[modality](inputs))
            tokens[modality] = binder.encoders[modality].tokens(inputs)
            present[modality] = torch.tensor([modality != missing])
        vectors.append(binder.fusion(z, present, tokens))
    return torch.cat(vectors)


@pytest.mark.slow
def test_the_vectors_of_the_study_are_what_the_fusion_makes_of_each_sample(parts, queries):
    assert 1 < len(queries.rows) < len(queries.split.keys), "some samples lack an input: rows differ from positions"
    z_sum = torch.nn.functional.normalize(queries.z["audio"] + queries.z["imu"], dim=-1)
    assert not torch.allclose(queries.z[NAMES[None]], z_sum, atol=0.05), "the fusion has to differ from the sum"
    for missing, name in NAMES.items():
        torch.testing.assert_close(queries.z[name], fuse_one_by_one(parts, queries.rows, missing=missing))


@pytest.mark.slow
@pytest.mark.parametrize("disturbed", DISTURBED)
def test_a_disturbed_input_has_disturbed_tokens_beside_the_clean_ones_of_the_others(parts, clean, queries, disturbed):
    together = Disturber(parts.datamodule, parts.binder, clean, "test", 0, INPUTS)
    found = together.vectors(*disturbed, lambda: None)
    assert set(found) == {disturbed[0], NAMES[None]}
    places = torch.searchsorted(clean.rows[NAMES[None]], queries.rows)
    z_RD = found[NAMES[None]][places]
    torch.testing.assert_close(z_RD, fuse_one_by_one(parts, queries.rows, disturbed=disturbed))
    assert not torch.allclose(z_RD, queries.z[NAMES[None]], atol=1e-3)
    # Other heads see the same bits as where nothing is embedded beside the disturbed input.
    alone = Disturber(parts.datamodule, parts.binder, clean, "test", 0).vectors(*disturbed, lambda: None)
    assert set(alone) == {disturbed[0]}
    assert torch.equal(found[disturbed[0]], alone[disturbed[0]])


@pytest.mark.slow
def test_figures_of_the_head_are_those_of_its_vectors(parts, queries):
    task = task_of(queries.split)
    asks = task.query_rows(queries.rows)
    groups_Q = task.groups_N[queries.rows[asks]]

    def recall(z_RD):
        return (rank_by_cosine(z_RD[asks], task.z_PD, groups_Q, task.groups_E).ranks_Q <= 1).double().mean()

    assert queries.noisy({})["image"]["qformer, trained"]["R@1"] == recall(queries.z[NAMES[None]])
    for modality in INPUTS:
        without = queries.without(modality, 1.0, seed=0)["image"]["qformer, trained"]
        assert without["R@1"] == recall(queries.z[NAMES[modality]])


def test_a_query_is_answered_by_the_vector_of_the_inputs_that_it_has():
    pool_PD = torch.eye(4)
    z = {"audio": pool_PD[[3, 3, 3]], "imu": pool_PD[[3, 3, 3]]}
    z |= {name: pool_PD[[place] * 3] for place, name in enumerate(NAMES.values())}
    present = {"audio": torch.tensor([True, False, True]), "imu": torch.tensor([True, True, False])}
    asks_N, clusters_N = torch.ones(3, dtype=torch.bool), np.arange(3)
    right_Q = torch.tensor([0, 1, 2])  # none, audio, imu missing
    task = RankingTask("image", pool_PD, torch.arange(4), right_Q, asks_N, clusters_N, "samples", {})
    assert computed(INPUTS)(z, present, task, right_Q).tolist() == [1, 1, 1]
    assert computed(INPUTS)(z, present, task, right_Q.roll(1)).min() > 1
    with pytest.raises(AssertionError, match="at most one input missing"):
        computed(INPUTS)(z, {m: torch.zeros(3, dtype=torch.bool) for m in INPUTS}, task, right_Q)


def test_a_head_of_tokens_takes_part_where_its_inputs_are_those_of_the_study():
    reading = QFormerFusion(inputs=INPUTS, dim=4, width=8, token_widths={"audio": 5})
    of_vectors = QFormerFusion(inputs=INPUTS, dim=4, width=8)
    assert reads_tokens(INPUTS, reading)
    assert not reads_tokens(INPUTS[::-1], reading)
    assert not reads_tokens(INPUTS, of_vectors)
    assert not reads_tokens(INPUTS, None)
    assert list(make_heads(INPUTS, reading)) == list(make_heads(INPUTS, of_vectors))
    assert "qformer, trained" in make_heads(INPUTS, reading)


def test_samples_that_have_no_fused_vector_are_told_as_for_other_heads():
    rows = {"audio": torch.tensor([0]), "imu": torch.tensor([1])}
    z = {m: torch.eye(2)[[0]] for m in (*INPUTS, "image")}
    split = EmbeddedSplit(["a", "b"], torch.tensor([0, 1]), z, rows | {"image": torch.tensor([0])})
    with pytest.raises(ValueError, match=r"inputs=\['audio', 'imu'\]: no sample has all of them"):
        FusedQueries(split, INPUTS, {"qformer": computed(INPUTS)}, [task_of(split)], computed=NAMES.values())


@pytest.mark.slow
def test_the_command_draws_curves_of_the_head(token_run, caplog):
    with caplog.at_level(logging.INFO, "bind"):
        robustness(runs.config(name="robustness", run=str(token_run), **LEVELS))
    assert "left out" not in caplog.text
    found = json.loads((token_run / "robustness.json").read_text())["fusion"]
    assert found["heads"][-1] == "qformer, trained"
    assert set(found["noise"]) == set(found["missing"]) == set(INPUTS)
    for curve in (c for curves in (*found["noise"].values(), found["missing"]) for c in curves.values()):
        for heads in curve["tasks"].values():
            assert len(heads["qformer, trained"]) == len(curve["levels"])
