"""Hand-over to other engines: every vector is there with what is known of it, once, and found by its own vector."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bind.commands.cli import CONFIG_DIR
from bind.commands.index import index as index_command
from bind.search.handover.batches import id_of
from bind.search.handover.engines import hand_over
from bind.search.index import Index

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


@pytest.mark.slow
def test_vectors_are_there_once_and_found(index, tmp_path):
    pytest.importorskip("lancedb")
    engine, nearest = "lancedb", nearest_lancedb
    uri = str(tmp_path / "tables")
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
        ({"to": "oracle", "uri": "x"}, "to=oracle: choose lancedb, weaviate"),
        ({"to": "weaviate", "uri": "localhost"}, "uri=localhost: give Weaviate's address"),
        ({"to": "weaviate", "uri": "http://127.0.0.1:9"}, "no answer of Weaviate"),
        ({"to": "weaviate"}, "to=weaviate needs uri="),
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
