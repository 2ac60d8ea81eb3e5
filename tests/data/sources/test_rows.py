import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.rows import read_rows

CELLS = [{"key": "a", "text": "one, two"}, {"key": "b", "text": 'said "x"\nand "y"'}]


def test_the_three_formats_give_the_same_rows(tmp_path):
    (tmp_path / "m.csv").write_text('\ufeffkey, text\na,"one, two"\n\nb,"said ""x""\nand ""y"""\n', encoding="utf-8")
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(cells) for cells in CELLS) + "\n\n")
    pq.write_table(pa.Table.from_pylist(CELLS), tmp_path / "m.parquet")
    places = {}
    for name in ("m.csv", "m.jsonl", "m.parquet"):
        columns, rows = read_rows(tmp_path / name)
        assert columns == ["key", "text"]
        assert [cells for _, cells in rows] == CELLS
        places[name] = [place for place, _ in rows]
    assert places == {
        "m.csv": ["line 2", "line 5"],
        "m.jsonl": ["line 1", "line 2"],
        "m.parquet": ["row 1", "row 2"],
    }


def test_jsonl_columns_are_those_of_all_rows(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"key": "a"}\n{"key": "b", "audio": ["x.wav", "y.wav"]}\n')
    columns, rows = read_rows(tmp_path / "m.jsonl")
    assert columns == ["key", "audio"]
    assert rows[1][1]["audio"] == ["x.wav", "y.wav"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.txt", "key,split\n", r"m\.txt: a manifest ends in \.csv, \.tsv, \.jsonl or \.parquet"),
        ("m.csv", "key,split\na,train,extra\n", r"m\.csv line 2: 3 cells under 2 column names"),
        ("m.csv", "key,key\na,b\n", r"m\.csv: the header names a column twice"),
        ("m.csv", 'key,split\n"a"x,train\n', r"m\.csv line 2: not readable as UTF-8 CSV"),
        ("m.csv", "key,split\n", r"m\.csv: the table has no rows"),
        ("m.csv", "", r"m\.csv: the table has no rows"),
        (
            "m.jsonl",
            '{"key": "a"}\n{"key": "b", "text": "x", "text": "y"}\n',
            r"m\.jsonl line 2: .*'text' stands in it twice",
        ),
        ("m.jsonl", '{"key": "a"}\n{"key": \n', r"m\.jsonl line 2: not a JSON object on one line"),
        ("m.jsonl", "[1, 2]\n", r"m\.jsonl line 1: expected a JSON object, got list"),
        ("m.parquet", "no parquet", r"m\.parquet: not readable as Parquet"),
    ],
)
def test_an_error_names_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 1234, 2999])
def test_a_cell_that_stands_twice_in_a_row_is_refused_wherever_it_is(tmp_path, row):
    lines = [f'{{"key": "{number}", "split": "train", "text": "a"}}' for number in range(3000)]
    lines[row] = f'{{"key": "{row}", "split": "train", "text": "a", "text": "b"}}'
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"m\.jsonl line {row + 1}: .*'text' stands in it twice"):
        ManifestSource(tmp_path / "m.jsonl")


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv: no such manifest"):
        read_rows(tmp_path / "none.csv")
