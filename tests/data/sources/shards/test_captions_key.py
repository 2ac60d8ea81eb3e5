"""Captions in JSON, as CLAP's shards have them: one text or a list under a key that the user names."""

import io
import json
import tarfile

import pytest

from bind.data.sources.shards.source import IndexedShardSource


def write_tar(folder, captions):
    with tarfile.open(folder / "a.tar", "w") as tar:
        for i, content in enumerate(captions):
            for name, data in ((f"{i}.flac", b"x"), (f"{i}.json", content)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(folder / "a.tar")


def texts(source):
    return [values.get("text") for values in source.fetch("train", range(len(source.samples("train"))), ["text"], None)]


@pytest.mark.slow
def test_one_caption_or_several_are_read_from_their_key(tmp_path):
    contents = [
        {"text": ["a dog", " barking "], "tag": ["x"]},
        {"text": "rain", "tag": ["y"]},
        {"text": [""], "tag": []},
    ]
    path = write_tar(tmp_path, [json.dumps(content).encode() for content in contents])
    source = IndexedShardSource(path, captions_key="text")
    assert source.modalities() == ("audio", "text")
    assert texts(source) == [["a dog", "barking"], ["rain"], None]
    tags = IndexedShardSource(path, captions_key="tag")
    assert texts(tags) == [["x"], ["y"], None]
    assert source.content_hash("train", "text") != tags.content_hash("train", "text")
    assert source.content_hash("train", "audio") == tags.content_hash("train", "audio")
    assert "text" not in IndexedShardSource(path).modalities()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"caption": "x", "tag": 1}', r"0\.json: there is no 'text' in it but caption, tag; set data\.captions_key"),
        (b"[1]", r"0\.json: there is no 'text' in it but a list"),
        (b"{", r"0\.json: not JSON"),
        (b'{"text": [1]}', r"0\.json: 'text' must be a text or a list of texts"),
        (b'{"text": {"en": "x"}}', r"0\.json: 'text' must be a text or a list of texts"),
    ],
)
def test_what_holds_no_captions_is_refused_by_name(tmp_path, content, message):
    source = IndexedShardSource(write_tar(tmp_path, [content]), captions_key="text")
    with pytest.raises(ValueError, match=message):
        texts(source)
