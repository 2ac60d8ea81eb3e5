"""Hand-over to other engines: every vector is there with what is known of it, once, and found by its own vector."""

import contextlib
import errno
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

from bind.commands.checkout import CONFIG_DIR
from bind.commands.index import index as index_command
from bind.files.locks import lock_folder
from bind.search.handover import milvus_files
from bind.search.handover.batches import column_types, id_of, read_batches
from bind.search.handover.engines import hand_over
from bind.search.handover.milvus import fields_of
from bind.search.index import Index
from bind.search.store import IndexStore

DIM = 8


def vectors(num, seed):
    return torch.nn.functional.normalize(torch.randn(num, DIM, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture
def index(tmp_path):
    """Five sounds, one of them deleted, and three pictures that have a column of their own."""
    index = Index.create(tmp_path / "index", dim=DIM)
    keys = [f"sound {n}" for n in range(5)]
    index.add("audio", vectors(5, 0), {"key": keys, "label": ["dog", "cat", None, "dog", "cat"], "path": keys})
    index.add(
        "image", vectors(3, 1), {"key": ["a", "b", "c"], "stars": [1, None, 5], "start_seconds": [0.5, None, 2.0]}
    )
    index.delete(["sound 3"])
    return index


class Weaviate(ThreadingHTTPServer):
    """A stand-in for Weaviate: the part of its HTTP API that a hand-over needs."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), WeaviateHandler)
        self.classes, self.objects, self.refused = {}, {}, None

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class WeaviateHandler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = urlsplit(self.path).path.removeprefix("/v1/schema/")
        classes = self.server.classes
        self.answer(200, classes[name]) if name in classes else self.answer(404, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != "Bearer a key":
            return self.answer(401, {"error": [{"message": "anonymous access is not enabled"}]})
        if self.path == "/v1/schema":
            self.server.classes[body["class"]] = body
            return self.answer(200, body)
        if self.path == "/v1/batch/objects":
            answers = []
            for thing in body["objects"]:
                known = {field["name"] for field in self.server.classes[thing["class"]]["properties"]}
                is_wrong = thing["properties"]["key"] == self.server.refused or not thing["properties"].keys() <= known
                if not is_wrong:
                    self.server.objects[thing["id"]] = thing
                errors = {"errors": {"error": [{"message": "vector lengths don't match"}]}} if is_wrong else {}
                answers.append({"id": thing["id"], "result": errors})
            return self.answer(200, answers)
        name = body["query"].split("{")[2].strip()
        return self.answer(200, {"data": {"Aggregate": {name: [{"meta": {"count": len(self.server.objects)}}]}}})


@pytest.fixture
def weaviate():
    with Weaviate() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def nearest_lancedb(uri, z_D, condition):
    lancedb = pytest.importorskip("lancedb")
    hits = lancedb.connect(uri).open_table("bind").search(z_D).where(f"{condition[0]} = '{condition[1]}'").limit(1)
    return hits.to_list()[0]


def nearest_qdrant(uri, z_D, condition):
    from qdrant_client import QdrantClient, models

    [name, value] = condition
    where = models.Filter(must=[models.FieldCondition(key=name, match=models.MatchValue(value=value))])
    with contextlib.closing(QdrantClient(path=uri)) as client:
        [point] = client.query_points("bind", query=z_D, query_filter=where, limit=1).points
    return {"id": point.id, **point.payload}


def nearest_milvus(uri, z_D, condition):
    import pymilvus

    with contextlib.closing(pymilvus.MilvusClient(uri)) as client:
        where = f"{condition[0]} == '{condition[1]}'"
        [[hit]] = client.search("bind", [z_D], limit=1, filter=where, output_fields=["key", "label"])
    return {"id": hit["id"], **hit["entity"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "package", "place", "nearest"),
    [
        ("lancedb", "lancedb", "tables", nearest_lancedb),
        ("qdrant", "qdrant_client", "points", nearest_qdrant),
        ("milvus", "milvus_lite", "new/rows.db", nearest_milvus),
    ],
)
def test_vectors_are_there_once_and_found(engine, package, place, nearest, index, tmp_path):
    pytest.importorskip(package)
    uri = str(tmp_path / place)
    assert hand_over(index.store, engine, uri, modalities=["audio"]) == (4, 4)
    assert hand_over(index.store, engine, uri) == (7, 7)
    hit = nearest(uri, vectors(5, 0)[4].tolist(), ("modality", "audio"))
    assert (hit["id"], hit["key"], hit["label"]) == (id_of("audio", "sound 4", 0), "sound 4", "cat")
    assert nearest(uri, vectors(5, 0)[4].tolist(), ("label", "dog"))["key"] == "sound 0"
    other = Index.create(tmp_path / "other", dim=4)
    other.add("audio", torch.eye(4), {"key": list("abcd")})
    with pytest.raises(ValueError, match="choose another collection="):
        hand_over(other.store, engine, uri)


@pytest.mark.slow
def test_objects_of_weaviate(index, weaviate):
    written = [hand_over(index.store, "weaviate", weaviate.uri, collection="sounds", token="a key") for _ in range(2)]
    assert written == [(7, 7), (7, 7)]
    fields = {field["name"]: field for field in weaviate.classes["Sounds"]["properties"]}
    assert (fields["stars"]["dataType"], fields["label"]["tokenization"]) == (["int"], "field")
    assert weaviate.classes["Sounds"]["vectorizer"] == "none"
    thing = weaviate.objects[id_of("image", "c", 0)]
    assert thing["properties"] == {
        "modality": "image", "key": "c", "number": 0, "stars": 5, "start_seconds": 2.0
    }  # fmt: skip
    assert np.allclose(thing["vector"], vectors(3, 1)[2], atol=1e-3)
    weaviate.refused = "b"
    with pytest.raises(ValueError, match=r"refuses the object .*: vector lengths don't match"):
        hand_over(index.store, "weaviate", weaviate.uri, collection="sounds", token="a key")
    with pytest.raises(ValueError, match=r"status 401, .*anonymous access"):
        hand_over(index.store, "weaviate", weaviate.uri, collection="others")
    weaviate.classes["Sounds"]["vectorizer"] = "text2vec-openai"
    with pytest.raises(ValueError, match="its class Sounds has a vectorizer"):
        hand_over(index.store, "weaviate", weaviate.uri, collection="sounds", token="a key")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "oracle", "uri": "x"}, "to=oracle: choose lancedb, milvus, qdrant, weaviate"),
        ({"to": "weaviate", "uri": "localhost"}, "uri=localhost: give Weaviate's address"),
        ({"to": "weaviate", "uri": "http://127.0.0.1:9"}, "no answer of Weaviate"),
        ({"to": "weaviate"}, "to=weaviate needs uri="),
        ({"to": "milvus", "uri": "localhost:19530"}, "uri=localhost:19530: give Milvus's address"),
        ({"to": "milvus", "uri": "s3://bucket/files"}, "or a folder for Parquet files, which are copied"),
        ({"to": "lancedb", "uri": "x", "collection": "a b"}, "collection=a b: take letters"),
        ({"to": "lancedb", "uri": "x", "modalities": ["imu"]}, "holds no imu; it has audio, image"),
    ],
)
def test_what_can_not_be_handed_over_says_why(index, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.load(CONFIG_DIR / "index.yaml")
    del config["defaults"], config["hydra"]
    with pytest.raises(ValueError, match=message):
        index_command(OmegaConf.merge(config, {"out": str(index.store.folder)}, options))


@pytest.mark.slow
def test_the_command_says_how_many_are_there(index, tmp_path, capsys):
    config = OmegaConf.load(CONFIG_DIR / "index.yaml")
    del config["defaults"], config["hydra"]
    pytest.importorskip("lancedb")
    place = str(tmp_path / "tables")
    index_command(OmegaConf.merge(config, {"out": str(index.store.folder), "to": "lancedb", "uri": place}))
    assert f"7 vectors written to lancedb, whose bind holds 7: {place}" in capsys.readouterr().out


@pytest.mark.slow
def test_files_of_a_bulk_import_make_the_collection_that_rows_make(index, tmp_path):
    """Milvus Lite has no bulk import: the rows of the files are put into a collection as the requests describe it."""
    for _ in range(2):
        assert hand_over(index.store, "milvus", str(tmp_path / "bulk")) == (7, 7)
    folder = tmp_path / "bulk" / "bind"
    assert sorted(path.name for path in folder.iterdir()) == [
        "1.parquet", "2.parquet", "collection.json", "import_1.json"
    ]  # fmt: skip
    request = json.loads((folder / "import_1.json").read_text())
    assert request == {"collectionName": "bind", "files": [["bind/1.parquet"], ["bind/2.parquet"]]}
    rows = [row for [name] in request["files"] for row in pq.read_table(tmp_path / "bulk" / name).to_pylist()]
    assert [row["id"] for row in rows[-3:]] == [id_of("image", key, 0) for key in "abc"]
    assert np.allclose([row["vector"] for row in rows[-3:]], vectors(3, 1), atol=1e-3)
    described = json.loads((folder / "collection.json").read_text())
    fields = {field["fieldName"]: field for field in described["schema"]["fields"]}
    assert list(fields) == pq.read_schema(folder / "1.parquet").names
    assert (fields["stars"]["dataType"], fields["vector"]["elementTypeParams"]["dim"]) == ("Int64", DIM)
    pytest.importorskip("milvus_lite")
    from bind.search.handover.milvus_rows import open_collection

    uri = str(tmp_path / "rows.db")
    writer = open_collection(uri, described["collectionName"], described["schema"]["fields"], None)
    writer.client.upsert("bind", rows)
    assert writer.count() == 7
    writer.close()
    assert nearest_milvus(uri, vectors(5, 0)[4].tolist(), ("modality", "audio"))["key"] == "sound 4"
    assert hand_over(index.store, "milvus", uri) == (7, 7)


@pytest.mark.slow
def test_many_files_of_a_bulk_import_are_several_requests(index, tmp_path, monkeypatch):
    monkeypatch.setattr(milvus_files, "FILE_BYTES", 2 * 4 * DIM)
    monkeypatch.setattr(milvus_files, "MAX_FILES", 3)
    assert hand_over(index.store, "milvus", str(tmp_path)) == (7, 7)
    names = [json.loads(path.read_text())["files"] for path in sorted((tmp_path / "bind").glob("import_*.json"))]
    assert names == [[[f"bind/{n}.parquet"] for n in numbers] for numbers in ([1, 2, 3], [4])]
    hand_over(index.store, "milvus", str(tmp_path), modalities=["image"])
    assert sorted(path.name for path in (tmp_path / "bind").glob("*[0-9].*")) == [
        "1.parquet", "2.parquet", "import_1.json"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_folder_of_something_else_gets_no_bulk_files(index, tmp_path):
    hand_over(index.store, "milvus", str(tmp_path))
    other = Index.create(tmp_path / "other", dim=4)
    other.add("audio", torch.eye(4), {"key": list("abcd")})
    with pytest.raises(ValueError, match="a collection with other fields than the index; choose another collection="):
        hand_over(other.store, "milvus", str(tmp_path))
    with (
        lock_folder(tmp_path / "bind", "wait"),
        pytest.raises(ValueError, match=r"bind is in use by this process, .*wait until it has ended"),
    ):
        hand_over(index.store, "milvus", str(tmp_path))
    (tmp_path / "bind" / "letter.txt").touch()
    with pytest.raises(ValueError, match=r"holds something else \(letter.txt\)"):
        hand_over(index.store, "milvus", str(tmp_path))


@pytest.mark.slow
def test_a_text_too_long_for_milvus_is_named(tmp_path):
    index = Index.create(tmp_path / "index", dim=DIM)
    index.add("audio", vectors(2, 0), {"key": ["a", "b"], "caption": ["short", "ä" * 33_000]})
    with pytest.raises(ValueError, match="the caption of key 'b' has 66,000 bytes, Milvus takes 65,535"):
        hand_over(index.store, "milvus", str(tmp_path / "bulk"))


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "package"), [("qdrant", "qdrant_client"), ("milvus", "pymilvus")])
def test_an_engine_that_does_not_answer_is_named(engine, package, index):
    pytest.importorskip(package)
    with pytest.raises(ValueError, match=rf"http://127.0.0.1:9: no answer of {engine.title()}"):
        hand_over(index.store, engine, "http://127.0.0.1:9")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "package", "uri"), [("qdrant", "qdrant_client", "points"), ("milvus", "pymilvus", "rows.db")]
)
def test_a_missing_extra_is_named(engine, package, uri, index, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("bind.search.handover.milvus", package))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "bind.search.handover.qdrant_points", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf'to={engine} needs {package}: pip install "bindspace\[{engine}\]"'):
        hand_over(index.store, engine, uri)


@pytest.mark.slow
def test_a_folder_of_qdrant_has_one_writer(index, tmp_path):
    qdrant_client = pytest.importorskip("qdrant_client")
    with pytest.raises(ValueError, match="uri=localhost:6333: give Qdrant's address"):
        hand_over(index.store, "qdrant", "localhost:6333")
    with (
        contextlib.closing(qdrant_client.QdrantClient(path=str(tmp_path))),
        pytest.raises(ValueError, match="another process uses this folder of Qdrant"),
    ):
        hand_over(index.store, "qdrant", str(tmp_path))


@pytest.mark.slow
def test_bulk_files_are_those_of_the_bulk_writer_of_milvus(index, tmp_path):
    """It needs packages that `bindspace[milvus]` does not bring: pip install "pymilvus[bulk_writer]"."""
    pytest.importorskip("pymilvus")
    bulk_writer = pytest.importorskip("pymilvus.bulk_writer", exc_type=ImportError)
    from bind.search.handover.milvus_rows import schema_of

    hand_over(index.store, "milvus", str(tmp_path), modalities=["image"])
    schema = schema_of(fields_of(DIM, column_types(index.store)))
    writer = bulk_writer.LocalBulkWriter(schema, str(tmp_path / "theirs"), file_type=bulk_writer.BulkFileType.PARQUET)
    for batch in read_batches(index.store, ["image"], batch_size=10):
        for name, z_D, known in batch.rows():
            writer.append_row({**dict.fromkeys(batch.columns), **known, "id": name, "vector": z_D.tolist()})
    writer.commit()
    [path] = (tmp_path / "theirs").glob("*/*.parquet")
    theirs, ours = pq.read_table(path), pq.read_table(tmp_path / "bind" / "1.parquet")
    assert theirs.replace_schema_metadata().equals(ours.replace_schema_metadata())


@pytest.mark.slow
def test_a_full_disk_is_named_and_leaves_no_request_to_import_half(index, tmp_path, monkeypatch):
    hand_over(index.store, "milvus", str(tmp_path))
    written, fsync = [], os.fsync

    def fail(descriptor):
        written.append(descriptor)
        if len(written) == 3:  # the first file and its folder are there
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"2\.parquet"):
        hand_over(index.store, "milvus", str(tmp_path))
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "bind").iterdir()) == ["1.parquet", "collection.json"]
    assert hand_over(index.store, "milvus", str(tmp_path)) == (7, 7)


@pytest.mark.slow
def test_a_damaged_part_is_named_and_not_handed_over(index, tmp_path):
    path = next((index.store.folder / "parts").glob("*.vectors"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path.name}: is not as it was written; .*repair=true"):
        hand_over(IndexStore(index.store.folder), "milvus", str(tmp_path))
    assert not list((tmp_path / "bind").glob("import_*.json"))


class Qdrant(ThreadingHTTPServer):
    """A stand-in for a server of Qdrant: the part of its HTTP API that a hand-over needs."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), QdrantHandler)
        self.collections, self.indexed, self.points, self.keys = {}, {}, {}, set()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class QdrantHandler(WeaviateHandler):
    def do_GET(self):
        name, _, rest = self.path.removeprefix("/collections/").partition("/")
        if rest == "exists":
            return self.give({"exists": name in self.server.collections})
        options = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
        optimizer = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0}
        config = {
            "params": {"vectors": self.server.collections[name]["vectors"]},
            "hnsw_config": options,
            "optimizer_config": {**optimizer, "flush_interval_sec": 5},
        }
        about = {"status": "green", "optimizer_status": "ok", "segments_count": 1, "payload_schema": {}}
        return self.give({**about, "config": config})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.add(self.headers.get("api-key"))
        [name, *rest] = self.path.partition("?")[0].removeprefix("/collections/").split("/")
        if rest == ["index"]:
            self.server.indexed[body["field_name"]] = body["field_schema"]
        elif rest == ["points"]:
            batch = body["batch"]
            self.server.points.update(
                zip(batch["ids"], zip(batch["vectors"], batch["payloads"], strict=True), strict=True)
            )
        else:
            self.server.collections[name] = body
            return self.give(True)
        return self.give({"operation_id": 0, "status": "completed"})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.give({"count": len(self.server.points)})

    def give(self, value):
        self.answer(200, {"result": value, "status": "ok", "time": 0.0})


@pytest.mark.slow
def test_points_of_a_server_of_qdrant_have_an_index_for_what_is_filtered_by(index, tmp_path):
    pytest.importorskip("qdrant_client")
    other = Index.create(tmp_path / "other", dim=4)
    other.add("audio", torch.eye(4), {"key": list("abcd")})
    with Qdrant() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        written = [hand_over(index.store, "qdrant", server.uri, token="a key") for _ in range(2)]
        with pytest.raises(ValueError, match="holds Cosine vectors of length 8, the index Cosine vectors of length 4"):
            hand_over(other.store, "qdrant", server.uri, token="a key")
        server.shutdown()
    assert written == [(7, 7), (7, 7)]
    assert server.keys == {"a key"}
    assert (server.indexed["modality"], server.indexed["stars"]) == ("keyword", "integer")
    assert "caption" not in server.indexed
    vector, payload = server.points[id_of("image", "c", 0)]
    assert payload == {"modality": "image", "key": "c", "number": 0, "stars": 5, "start_seconds": 2.0}
    assert np.allclose(vector, vectors(3, 1)[2], atol=1e-3)
