"""The doctor by columns equals the doctor row by row, for any table."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.row_by_row import findings_of_rows

from bind.studies.doctor.diagnose import diagnose

FILES = ("a.bin", "./a.bin", "b.bin", "gone.bin", "link.bin", "folder/../b.bin", "folder", "linked/c.bin")
CAPTIONS = ("a dog", "A  dog!", "a cat", "Straße", "STRASSE", "nan", "it rains on_the roof", "été")
ROWS = st.fixed_dictionaries(
    {
        "key": st.sampled_from([*"abcdefgh", ""]),
        "split": st.sampled_from(["train", "train", "val", "test", "holdout"]),
        "group": st.sampled_from([None, "g", "h"]),
        "owner": st.lists(st.sampled_from(["anna", "ben", "cleo"]), max_size=2, unique=True),
        "text": st.lists(st.sampled_from(CAPTIONS), max_size=2),
        "sound": st.lists(st.sampled_from(FILES), max_size=2, unique=True),
        "other": st.sampled_from(["", *FILES]),
        "other_start_seconds": st.sampled_from([None, None, 0, 1.5, "x"]),
        "other_end_seconds": st.sampled_from([None, None, 1, 2.5]),
    }
)
OF_CONTENT = ("same content", "unreadable", "refused")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    for name in ("a.bin", "b.bin", "folder/c.bin"):
        (folder / name).write_bytes(name.encode())
    os.symlink("a.bin", folder / "link.bin")
    os.symlink("folder", folder / "linked")
    return folder


def findings_of_columns(manifest, known=()):
    diagnosis = diagnose(manifest, transforms={}, known=known)
    found = [(f.kind.name, f.modality, f.name, f.detail, f.keys) for f in diagnosis.findings]
    overview = {m: {k: v for k, v in about.items() if k != "files"} for m, about in diagnosis.overview.items()}
    return sorted(f for f in found if not f[0].startswith(OF_CONTENT)), overview


def write(folder, rows, suffix):
    path = folder / f"table{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".csv":
        cells = [[_csv_cell(row[name]) for name in rows[0]] for row in rows]
        path.write_text("\n".join(",".join(row) for row in [list(rows[0]), *cells]) + "\n")
    else:
        as_texts = {name: [_csv_cell(row[name]) or None for row in rows] for name in rows[0]}
        lists = {name: [row[name] for row in rows] for name in ("owner", "text", "sound")}
        pyarrow.parquet.write_table(pa.table({**as_texts, **lists}), path)
    return path


def _csv_cell(cell):
    return "|".join(cell) if isinstance(cell, list) else "" if cell is None else str(cell)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=12), st.sampled_from([".csv", ".jsonl", ".parquet"]), st.booleans())
def test_columns_find_what_rows_find(folder, rows, suffix, knows_other):
    known = ("other",) if knows_other else ()
    manifest = write(folder, rows, suffix)
    assert findings_of_columns(manifest, known) == findings_of_rows(manifest, known)


def test_a_clock_that_another_row_contradicts_is_found(folder):
    rows = [
        {"key": "a", "split": "train", "imu": "a.bin", "imu_clock": "file"},
        {"key": "b", "split": "train", "imu": "a.bin", "imu_clock": "first_row"},
    ]
    manifest = write(folder, rows, ".jsonl")
    found = findings_of_columns(manifest)
    assert [(kind, name) for kind, _, name, _, _ in found[0]] == [("row that can't be read", "line 2")]
    assert found == findings_of_rows(manifest)


@pytest.mark.slow
def test_a_large_table_is_read_in_blocks(folder, monkeypatch):
    monkeypatch.setattr("bind.data.sources.arrow_rows.BATCH_ROWS", 7)
    rng = np.random.default_rng(0)
    rows = [
        {
            "key": f"k{rng.integers(60)}",
            "split": ("train", "val")[int(rng.integers(2))],
            "owner": f"o{rng.integers(40)}",
            "text": f"caption {rng.integers(30)}",
            "sound": FILES[int(rng.integers(len(FILES)))],
        }
        for _ in range(64)
    ]
    for suffix in (".csv", ".jsonl"):
        manifest = write(folder, rows, suffix)
        assert findings_of_columns(manifest) == findings_of_rows(manifest)
