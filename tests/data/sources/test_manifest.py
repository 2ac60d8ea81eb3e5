import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.data.sources.manifest import ManifestSource
from bind.types import Clip

CSV = """key,split,group,owner,label,audio,audio_start_seconds,audio_end_seconds,image,text
a,train,bark,dog:1|site:1,dog,one.wav,0,1.5,p.png,a dog barks|a barking dog
b,train,,dog:1,,one.wav,1.5,,,
c,test,bark,dog:2,dog,,,,q.png,a dog barks
"""
ROWS = [
    {
        "key": "a",
        "split": "train",
        "group": "bark",
        "owner": ["dog:1", "site:1"],
        "label": "dog",
        "audio": "one.wav",
        "audio_start_seconds": 0.0,
        "audio_end_seconds": 1.5,
        "image": "p.png",
        "text": ["a dog barks", "a barking dog"],
    },
    {"key": "b", "split": "train", "owner": ["dog:1"], "audio": "one.wav", "audio_start_seconds": 1.5},
    {"key": "c", "split": "test", "group": "bark", "owner": ["dog:2"], "label": "dog", "image": "q.png"}
    | {"text": ["a dog barks"]},
]


@pytest.fixture
def folder(tmp_path):
    for name in ("one.wav", "p.png", "q.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def write(folder, text, name="m.csv"):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.slow
def test_the_three_formats_give_the_same_samples(folder):
    write(folder, CSV)
    write(folder, "\n".join(map(json.dumps, ROWS)), "m.jsonl")
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "m.parquet")
    sources = [ManifestSource(folder / f"m{suffix}") for suffix in (".csv", ".jsonl", ".parquet")]
    for source in sources:
        assert source.modalities() == ("audio", "image", "text")
        for split in ("train", "test"):
            assert source.samples(split) == sources[0].samples(split)

    first, second = sources[0].samples("train")
    assert (first.key, first.group, first.label, first.owners) == ("a", "bark", "dog", ("dog:1", "site:1"))
    assert first.values == {
        "audio": [Clip(folder / "one.wav", 0.0, 1.5)],
        "image": [Clip(folder / "p.png")],
        "text": ["a dog barks", "a barking dog"],
    }
    assert second.values == {"audio": [Clip(folder / "one.wav", 1.5)]}
    assert second.group is None


def test_fetch_leaves_out_what_a_sample_lacks(folder):
    source = ManifestSource(write(folder, CSV))
    fetched = source.fetch("train", [1, 0], ["text", "audio"], None)
    assert fetched[0] == {"audio": [Clip(folder / "one.wav", 1.5)]}
    assert list(fetched[1]) == ["text", "audio"]


def test_several_files_have_several_spans(folder):
    source = ManifestSource(
        write(folder, "key,split,audio,audio_start_seconds,audio_end_seconds\na,train,one.wav|one.wav,0|2,1|3\n")
    )
    assert source.samples("train")[0].values["audio"] == [
        Clip(folder / "one.wav", 0.0, 1.0),
        Clip(folder / "one.wav", 2.0, 3.0),
    ]


def test_numbers_serve_as_keys_and_owners(folder):
    source = ManifestSource(write(folder, '{"key": 7, "split": "val", "owner": 3, "text": "a"}', "m.jsonl"))
    assert (source.samples("val")[0].key, source.samples("val")[0].owners) == ("7", ("3",))


@pytest.mark.slow
def test_the_name_is_the_files_or_its_folders(folder):
    row = '{"key": "a", "split": "val", "text": "a"}'
    assert ManifestSource(write(folder, row, "dogs.jsonl")).name == "dogs"
    assert ManifestSource(write(folder, row, "manifest.jsonl")).name == folder.name
    assert ManifestSource(folder / "dogs.jsonl", name="mine").name == "mine"


def test_rows_of_other_splits_are_not_loaded_and_logged(folder, caplog):
    text = "key,split,owner,image\na,train,p:1,p.png\nb,spare,p:1,gone.png\n"
    with caplog.at_level(logging.WARNING, "bind.data"):
        source = ManifestSource(write(folder, text))
    assert "spare 1" in caplog.text
    assert not source.samples("spare")


def test_a_split_without_rows_is_empty(folder):
    source = ManifestSource(write(folder, CSV))
    assert source.splits == ("train", "test")
    assert len(source.samples("val")) == 0


def test_a_needed_modality_that_is_not_there_gets_the_closest_name(folder):
    source = ManifestSource(write(folder, CSV))
    source.require_modalities(["audio", "text"])
    with pytest.raises(
        ValueError, match=r"no row has the modality 'audoi'; did you mean 'audio'\? It has audio, image"
    ):
        source.require_modalities(["audoi"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Keys,split,text\na,train,x\n", r"m\.csv: the column 'key' is missing \(is it 'keys'\? rename it\)"),
        ("Text,key,split,text\nx,a,train,y\n", "the columns 'Text', 'text' are one name in lower case"),
        ("key,text\na,x\n", r"m\.csv: the column 'split' is missing; there are key, text"),
        ("key,split,owners,text\na,train,p:1,x\n", "column 'owners' would be read as a modality; rename it to 'owner'"),
        ("key,split,My Audio\na,train,x\n", "column 'my audio' is no modality"),
        ("key,split\na,train\n", "there is no column of any modality"),
        ("key,split,text,audoi_start_seconds\na,train,x,1\n", "'audoi_start_seconds' belongs to no modality"),
        ("key,split,text,text_end_seconds\na,train,x,1\n", "'text_end_seconds' belongs to no modality"),
        ("key,split,text\na,train,x\na,val,y\n", r"m\.csv: keys must be unique, these are not: 'a' \(2 times\)"),
        ("key,split,text\n,train,x\n", r"m\.csv line 2: every row needs a key and a split"),
        ("key,split,text\na,train,x\nb,train,\n", r"m\.csv: 1 row\(s\) have no modality at all: key 'b'"),
        ("key,split,owner,text\na,train,p:1,x\nb,val,p:1,y\n", r"m\.csv: 1 owner\(s\).*'p:1'.*'a'.*'b'"),
        ("key,split,image\na,train,p.png\nb,val,./p.png\n", r"1 overlap\(s\) between splits.*p\.png"),
        (
            "key,split,audio,audio_end_seconds\na,train,one.wav,soon\n",
            r"line 2 \(key 'a'\): 'audio_end_seconds' must be",
        ),
        ('key,split,audio,audio_end_seconds\na,train,one.wav,"1,5"\n', "must be seconds, with a decimal point"),
        ("key,split,audio,audio_end_seconds\na,train,one.wav,nan\n", "must be finite and not negative"),
        ("key,split,audio,audio_end_seconds\na,train,one.wav,1|2\n", r"has 2 time\(s\) for 1 file"),
        (
            "key,split,audio,audio_start_seconds,audio_end_seconds\na,train,one.wav,2,1\n",
            "span of 'audio' ends at 1 s, before its start",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_named(folder, text, message):
    with pytest.raises(ValueError, match=message):
        ManifestSource(write(folder, text))


def test_missing_files_are_counted_and_five_are_named(folder):
    rows = "".join(f"k{i},train,gone{i}.png\n" for i in range(7))
    with pytest.raises(ValueError, match=r"7 of 8 files do not exist: .*gone0\.png \(image of key 'k0'\).*and 2 more"):
        ManifestSource(write(folder, f"key,split,image\nx,train,p.png\n{rows}"))


def test_a_cell_of_another_kind_is_refused(folder):
    row = '{"key": "a", "split": "train", "text": {"caption": "x"}}'
    with pytest.raises(ValueError, match=r"line 1 \(key 'a'\): 'text' must be a text or a list of texts"):
        ManifestSource(write(folder, row, "m.jsonl"))


@pytest.mark.slow
def test_a_sensors_span_counts_from_its_first_row_where_the_manifest_says_so(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    path = tmp_path / "m.csv"
    head = "key,split,imu,imu_start_seconds,imu_end_seconds,imu_clock\n"
    path.write_text(head + "a,train,a.csv,1,2,first_row\nb,train,b.csv,1,2,\n")
    clips = [sample.values["imu"][0] for sample in ManifestSource(path).samples("train")]
    assert [clip.from_first_row for clip in clips] == [True, False]
    path.write_text(head + "a,train,a.csv,1,2,first_row\nb,train,a.csv,2,3,file\n")
    with pytest.raises(ValueError, match=r"a\.csv has another imu_clock in another row"):
        ManifestSource(path)
    path.write_text(head + "a,train,a.csv,1,2,midnight\n")
    with pytest.raises(ValueError, match="imu_clock is file or first_row, not 'midnight'"):
        ManifestSource(path)


NO_CAPTIONS = ["", " ", "nan", "None", "\ufeff", "&nbsp;"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_captions_that_say_nothing_are_missing_and_counted(tmp_path, caplog, suffix):
    texts = ["\ufeffa cat ", *NO_CAPTIONS]
    rows = [{"key": f"k{i}", "split": "train", "text": text, "note": "a.bin"} for i, text in enumerate(texts)]
    path = tmp_path / f"m.{suffix}"
    if suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)]
        path.write_text("\n".join(lines))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    (tmp_path / "a.bin").touch()
    source = ManifestSource(path)
    assert source.fetch("train", range(len(rows)), ["text"], None) == [{"text": ["a cat"]}, *({} for _ in NO_CAPTIONS)]
    assert "caption(s) say nothing and count as missing (first: " in caplog.text
    assert "(key 'k3'): 'nan'" in caplog.text


@pytest.mark.slow
def test_owners_and_groups_are_the_same_numbers_however_a_table_stores_them(folder, tmp_path):
    columns = {"key": [1.0, 2.0], "split": ["train", "train"], "owner": [1.0, float("nan")], "group": [3.0, None]}
    pq.write_table(pa.table({**columns, "text": ["a", "b"]}), tmp_path / "f.parquet")
    first, second = ManifestSource(tmp_path / "f.parquet").samples("train")
    assert (first.key, first.owners, first.group, second.owners, second.group) == ("1", ("1",), "3", (), None)
    with pytest.raises(
        ValueError, match=r"1 owner\(s\) occur in more than one split: '1' \(train: key 'a', val: key 'b'"
    ):
        ManifestSource(write(folder, "key,split,owner,text\na,train,1.0|2,x\nb,val,1,y\n"))


def test_an_owner_in_two_unicode_forms_is_one(folder):
    rows = [
        {"key": k, "split": s, "owner": o, "text": "x"}
        for k, s, o in (("a", "train", "Zo\u00eb"), ("b", "val", "Zoe\u0308"))
    ]
    with pytest.raises(ValueError, match=r"1 owner\(s\) occur in more than one split"):
        ManifestSource(write(folder, "\n".join(map(json.dumps, rows)), "m.jsonl"))


def test_files_under_names_that_look_the_same_are_named(folder):
    (folder / "Zoe\u0308.wav").touch()
    with pytest.raises(ValueError, match=r"1 of 1 files do not exist: .* but one whose name is in .* decomposed form"):
        ManifestSource(write(folder, "key,split,audio\na,train,Zo\u00eb.wav\n"))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_keys_groups_and_labels_have_one_unicode_form(folder, suffix):
    rows = [("Zoe\u0308", "u\u0308ber", "cafe\u0301"), ("Zo\u00eb.2", "\u00fcber", "caf\u00e9")]
    names = ("key", "split", "group", "label", "text")
    if suffix == "csv":
        content = "\n".join(map(",".join, [names, *((k, "train", g, label, "x") for k, g, label in rows)]))
    else:
        content = "\n".join(
            json.dumps(dict(zip(names, (k, "train", g, label, "x"), strict=True))) for k, g, label in rows
        )
    first, second = ManifestSource(write(folder, content, f"m.{suffix}")).samples("train")
    assert (first.key, first.group, first.label) == ("Zo\u00eb", "\u00fcber", "caf\u00e9")
    assert (second.key, second.group, second.label) == ("Zo\u00eb.2", "\u00fcber", "caf\u00e9")
    repeated = write(
        folder, content.replace("Zo\u00eb.2", "Zo\u00eb").replace("Zo\\u00eb.2", "Zo\u00eb"), f"r.{suffix}"
    )
    with pytest.raises(ValueError, match=r"keys must be unique, these are not: 'Zo\u00eb' \(2 times\)"):
        ManifestSource(repeated)


@pytest.mark.parametrize("cell", ["['a', 'b']", '["a", "b"]', "[ 'a' ]"])
def test_a_list_written_as_text_is_refused(folder, cell):
    quoted = cell.replace('"', '""')
    with pytest.raises(ValueError, match=r"'owner' is a list written as text.*separate several by"):
        ManifestSource(write(folder, f'key,split,owner,text\na,train,"{quoted}",x\n'))
    assert ManifestSource(write(folder, "key,split,text\na,train,[music] a 'song'\n")).samples("train")


SPANS = "Key,Split,Text,audio,audio_start_seconds\na,train,a dog,one.wav,1.5\nb,val,a cat,,\n"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("index", ["", "Unnamed: 0", "__index_level_0__", None])
def test_tables_as_others_write_them_are_read(folder, encoding, delimiter, index):
    lines = [line.replace(",", delimiter) for line in SPANS.splitlines()]
    if delimiter != ",":
        lines = [line.replace("1.5", "1,5") for line in lines]
    if index is not None:
        lines = [f"{index if i == 0 else i}{delimiter}{line}" for i, line in enumerate(lines)]
    path = folder / "m.csv"
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    source = ManifestSource(path)
    assert source.modalities() == ("text", "audio")
    assert source.samples("train")[0].values["audio"][0].start_seconds == 1.5
    assert source.samples("val")[0].values == {"text": ["a cat"]}


@pytest.mark.parametrize("index", ["Unnamed: 0", "__index_level_0__"])
def test_the_index_of_a_data_frame_is_no_modality(folder, index, caplog):
    rows = [{index: i, "Key": k, "split": "train", "text": "x"} for i, k in enumerate("ab")]
    pq.write_table(pa.Table.from_pylist(rows), folder / "m.parquet")
    with caplog.at_level(logging.WARNING, "bind.data"):
        assert ManifestSource(folder / "m.parquet").modalities() == ("text",)
    assert f"the column {index!r} is left out: so pandas calls the index of a data frame" in caplog.text


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("index", ["Unnamed: 0", "__index_level_0__", ""])
def test_an_index_that_holds_the_keys_is_named(folder, index, suffix):
    table = pa.Table.from_pylist([{index: k, "split": "train", "text": "x"} for k in "ab"])
    path = folder / f"m{suffix}"
    if suffix == ".csv":
        path.write_text(f"{index},split,text\na,train,x\n")
    elif suffix == ".jsonl":
        path.write_text(json.dumps({index: "a", "split": "train", "text": "x"}))
    else:
        pq.write_table(table, path)
    message = rf"m{suffix}: the column 'key' is missing; if it is the index of a data frame, '{index}', rename it"
    with pytest.raises(ValueError, match=message):
        ManifestSource(path)


def test_a_table_in_another_encoding_is_refused_with_its_line(folder):
    for content, message in (
        ("key,split,text\na,train,x\nb,train,T\u00fcr\n".encode("latin-1"), r"m\.csv line 3: not UTF-8 \(byte 0xfc\)"),
        ("key,split,text\na,train,x\n".encode("utf-16-le"), r"m\.csv: it looks like UTF-16 without a byte order mark"),
    ):
        (folder / "m.csv").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            ManifestSource(folder / "m.csv")


@pytest.mark.slow
def test_semicolons_leave_commas_in_captions(folder):
    source = ManifestSource(write(folder, "key;split;text\na;train;a dog, barking\n"))
    assert source.samples("train")[0].values == {"text": ["a dog, barking"]}
    with pytest.raises(ValueError, match=r"line 2: 4 cells under 3 column names; put text that contains semicolons in"):
        ManifestSource(write(folder, "key;split;text\na;train;a dog; barking\n"))


def test_labels_that_pandas_wrote_as_floats_are_whole_numbers(folder):
    table = "key,split,text,label\na,train,x,1.0\nb,train,y,\nc,val,z,2.0\nd,val,w,2.5\n"
    source = ManifestSource(write(folder, table))
    labels = [sample.label for split in ("train", "val") for sample in source.samples(split)]
    assert labels == ["1", None, "2", "2.5"]


def test_the_first_line_that_excel_adds_is_named(folder):
    with pytest.raises(
        ValueError, match=r"the column 'key' is missing \(the first line is one of Excel's: delete it\)"
    ):
        ManifestSource(write(folder, "sep=;\nkey;split;text\na;train;x\n"))
