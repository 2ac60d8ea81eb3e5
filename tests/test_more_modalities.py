"""The study of shared trunks: arms of a comparison differ in nothing but where their trunk comes from."""

import importlib
import json
from collections import Counter

import pytest
from support import documents

from bind.commands.train import compose_training


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(documents.ROOT / "benchmarks"))
    return importlib.import_module("more_modalities")


def figures(*scores, modalities=("audio",)):
    scores = dict(zip(modalities, scores, strict=True))
    intervals = {modality: [score - 0.1, score + 0.1] for modality, score in scores.items()}
    return {"scores": scores, "intervals": intervals, "mrr": scores}


def test_every_cell_comes_once_and_behind_the_one_that_trained_its_trunk(study):
    names = []
    for cell in study.all_cells():
        assert cell.start is None or cell.start.name in names
        names.append(cell.name)
    assert max(Counter(names).values()) == 1
    assert len({study.run_dir(documents.ROOT, cell) for cell in study.all_cells()}) == len(names)


def test_arms_differ_in_the_trunk_that_they_start_from_alone(study):
    for data in study.MODALITY:
        for share in study.SHARES:
            cells = [cell for cell in study.all_cells() if (cell.data, cell.share) == (data, share)]
            assert Counter(cell.seed for cell in cells) == dict.fromkeys(study.SEEDS, 6)
            rest = {tuple(o for o in cell.overrides if not o.startswith("init_parts=")) for cell in cells}
            assert len(rest) == 1
            starts = {o for cell in cells for o in cell.overrides if o.startswith("init_parts=")}
            assert len(starts) == len({cell.trunk.split("+")[0] for cell in cells}) - 1


def test_every_modality_of_the_toy_world_has_as_many_steps_alone_as_with_others(study):
    own = ("data.", "trainer.")
    of_world = {w: [o for o in study.Cell("toy", w, 0).overrides if o.startswith(own)] for w in study.WORLDS}
    assert len(set(map(tuple, of_world.values()))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy/audio+imu+depth/0", "digits/1%/depth/1", "hapt/100%/audio+imu+depth/2"])
def test_the_overrides_of_a_cell_make_a_config(name, study):
    (cell,) = (cell for cell in study.all_cells() if cell.name == name)
    config = compose_training([*cell.overrides, "run_dir=runs/here"])
    if cell.start:
        first, modality = cell.trunk.split("+")[0], study.MODALITY[cell.data]
        assert dict(config.init_parts) == {f"encoders.{modality}.trunk": f"encoders.{first}.trunk"}
    else:
        assert config.encoder.depth.share == "audio"
        assert config.init_parts is None


def test_labels_take_turns_and_every_seed_has_its_own_rows(study):
    labels = ["lying"] * 50 + ["walking"] * 50 + ["sitting down"] * 2
    rows = study.rows_in_turns(labels, 20, seed=0)
    assert Counter(labels[row] for row in rows) == {"lying": 9, "walking": 9, "sitting down": 2}
    assert rows == sorted(set(rows)) == study.rows_in_turns(labels, 20, seed=0)
    assert rows != study.rows_in_turns(labels, 20, seed=1)


def test_a_share_keeps_all_rows_of_the_other_splits(study, tmp_path):
    rows = [
        {"key": f"{split}{i}", "split": split, "label": str(i % 10), "audio": f"audio/{i}.wav", "image": "a.png"}
        for split in ("train", "val", "test")
        for i in range(200)
    ]
    manifest = tmp_path / "data" / "manifest.jsonl"
    manifest.parent.mkdir()
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    out.mkdir()
    path = study.write_share(manifest, out, 0.1, 0, "audio")
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert Counter(row["split"] for row in kept) == {"train": 20, "val": 200, "test": 200}
    assert set(Counter(row["label"] for row in kept if row["split"] == "train").values()) == {2}
    assert (out / kept[0]["audio"]).resolve().parent == manifest.parent / "audio"


def test_the_tables_compare_within_seeds_and_leave_out_those_that_lack_a_side(study):
    joint = figures(0.4, 0.5, 0.6, modalities=("audio", "imu", "depth"))
    of_name = {
        "toy/audio/0": figures(0.3),
        "toy/audio+imu+depth/0": joint,
        "toy/audio/1": figures(0.9),
        "digits/1%/nothing/0": figures(0.5),
        "digits/1%/nothing/2": figures(0.7),
        "digits/1%/imu/0": figures(0.6),
        "digits/1%/imu/1": figures(0.9),
        "digits/1%/imu/2": figures(0.7),
        "hapt/1%/audio/1": figures(0.5, modalities=("imu",)),
        "hapt/1%/imu/1": figures(0.6, modalities=("imu",)),
        "hapt/1%/depth/1": figures(0.1, modalities=("imu",)),
        "hapt/1%/audio+imu+depth/1": figures(0.7, modalities=("imu",)),
        "hapt/1%/audio/2": figures(0.5, modalities=("imu",)),
    }
    text = study.tables(lambda cell: of_name.get(cell.name))
    assert "| audio | 0.300 (0.300; 0.20–0.40) | 0.400 (0.400; 0.30–0.50) | +0.100 (+0.100) |" in text
    assert "| digits | 1 % | imu | 0.650 (0.600, 0.700; 0.55–0.75) | +0.050 ± 0.071 (+0.100, +0.000) |" in text
    assert "| digits | 1 % | nothing | 0.600 (0.500, 0.700; 0.50–0.70) |  |" in text
    assert "| imu | – | – | – | – |" in text
    assert "| hapt | 1 % | +0.200 (+0.200) | +0.100 (+0.100) | +0.600 (+0.600) | +0.300 (+0.300) |" in text
