import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bind.data.sources.manifest import ManifestSource
from bind.files.content import decode_text, describe_other_format, text_encoding
from bind.media.audio import open_audio
from bind.media.pictures import open_image
from bind.media.sensor import open_sensor
from bind.media.video import open_video
from bind.types import Clip, PackedFile

TABLE = b"key,split,text\na,train,a dog\nb,val,a cat\n"


def in_memory(write, *arguments, **options):
    file = io.BytesIO()
    write(file, *arguments, **options)
    return file.getvalue()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m.csv", TABLE)
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("m.csv")
        info.size = len(TABLE)
        archive.addfile(info, io.BytesIO(TABLE))
    return file.getvalue()


def database(folder):
    with sqlite3.connect(folder / "a.db") as connection:
        connection.execute("create table samples (key text)")
    return (folder / "a.db").read_bytes()


PICTURE = in_memory(Image.fromarray(np.zeros((40, 40), np.uint8)).save, "PNG")
OTHERS = {
    "zip": (lambda folder: zipped(), "a zip archive"),
    "npz": (lambda folder: in_memory(np.savez, np.zeros(3)), "a zip archive"),
    "gzip": (lambda folder: gzip.compress(TABLE), "packed by gzip"),
    "xz": (lambda folder: lzma.compress(TABLE), "packed by xz"),
    "bzip2": (lambda folder: bz2.compress(TABLE), "packed by bzip2"),
    "zstd": (lambda folder: pa.Codec("zstd").compress(TABLE, asbytes=True), "packed by zstd"),
    "lz4": (lambda folder: pa.Codec("lz4").compress(TABLE, asbytes=True), "packed by lz4"),
    "tar": (lambda folder: tarred(), "a tar archive"),
    "sqlite": (database, "an SQLite database"),
    "feather": (
        lambda folder: in_memory(lambda file: pyarrow.feather.write_feather(pa.table({"key": ["a"]}), file)),
        "an Arrow",
    ),
    "pickle": (lambda folder: pickle.dumps({"key": ["a"]}), "a Python pickle"),
    "old excel": (lambda folder: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Office document"),
    "page": (lambda folder: b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "pointer": (lambda folder: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_that_is_something_else_is_called_what_it_is(tmp_path, name, suffix):
    make, what = OTHERS[name]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(make(tmp_path))
    with pytest.raises(ValueError, match=rf"m{suffix}: .*it is (the pointer that )?{what}"):
        ManifestSource(path)


def read_sound(clip):
    with open_audio(clip) as recording:
        recording.read(0, 1)


def read_video(clip):
    with open_video(clip) as video:
        video.frames([0.0])


def read_sensor(clip):
    open_sensor(clip).read(0, 1)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".csv", read_sensor), (".parquet", read_sensor), (".npy", read_sensor), (".png", open_image),
        (".wav", read_sound), (".m4a", read_sound), (".mp4", read_video),
    ],
)  # fmt: skip
def test_a_file_of_media_that_is_something_else_is_called_what_it_is(tmp_path, name, suffix, read):
    make, what = OTHERS[name]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(make(tmp_path))
    for clip in (Clip(path), Clip(PackedFile(f"a.tar: m{suffix}", path.read_bytes(), b"{}"))):
        with pytest.raises(ValueError, match=rf"m{suffix}: .*it is (the pointer that )?{what}"):
            read(clip)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (TABLE.decode().encode("utf-32"), "it is text in UTF-32; save it as UTF-8"),
        (TABLE.decode().encode("utf-32-be"), "it looks like UTF-32 without a byte order mark"),
        (TABLE.decode().encode("utf-32-le"), "it looks like UTF-32 without a byte order mark"),
        (TABLE.decode().encode("utf-16-le"), "it looks like UTF-16 without a byte order mark"),
        (TABLE.decode().encode("utf-16-be"), "it looks like UTF-16 without a byte order mark"),
        (TABLE.decode().encode("utf-16")[:-1], r"not UTF-16, as its first bytes say \(truncated data\)"),
        (PICTURE, "it is a picture"),
        (in_memory(np.save, np.zeros(3)), r"it is a NumPy array: name it \.npy"),
        (
            in_memory(lambda file: pyarrow.parquet.write_table(pa.table({"a": [1]}), file)),
            "it is Parquet: name it .parq",
        ),
        (bytes(range(60)), "it is binary, no text"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_text_in_another_encoding_or_of_another_kind_is_called_what_it_is(tmp_path, content, what, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"m{suffix}: {what}"):
        ManifestSource(path)
    if suffix == ".csv":
        with pytest.raises(ValueError, match=rf"m{suffix}: .*{what}"):
            read_sensor(Clip(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_is_decoded_by_its_mark(encoding):
    assert decode_text("ein Bär\n".encode(encoding), "a.txt") == "ein Bär\n"


@pytest.mark.parametrize("content", ["ein Bär".encode("latin-1"), b"\xff\xfea", b"\x80"])
def test_a_text_in_no_such_encoding_is_named(content):
    with pytest.raises(ValueError, match=r"^x\.tar: a\.txt(:| line 1:) not UTF-(8|16)"):
        decode_text(content, "x.tar: a.txt")


CAPTIONS = [
    "RIFF of a guitar",
    "FORM and function",
    "BM",
    "ID3 tags",
    "MZ",
    "caff",
    "PAR1 lamp",
    "a\0",
    "a cat" + "\0" * 40,
]


@pytest.mark.parametrize("text", CAPTIONS)
def test_a_caption_that_begins_like_another_format_is_one(text):
    assert decode_text(text.encode(), "a.txt") == text


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_is_text_whatever_is_in_it(text):
    text = text.removeprefix("\ufeff")
    if not describe_other_format(text.encode()[:512]):
        assert decode_text(text.encode(), "a.txt") == text
    if text:
        assert text_encoding(text.encode("utf-16"), "a.txt") == "utf-16"
