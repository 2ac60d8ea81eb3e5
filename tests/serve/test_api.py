"""The API: vectors and hits are the binder's and the index's, items fail alone, and nothing on the server is named."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from support import served

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from bind.serve.app import PAGE_FILES, create_app
from bind.serve.limits import Limits
from bind.types import Clip, PackedFile


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return served.write_index(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def client(index):
    limits = Limits(max_bytes=300_000, max_items=8, max_media_seconds=5.0, max_pixels=10_000)
    with TestClient(create_app(served.binder(), index, limits=limits), base_url="http://localhost:8080") as client:
        yield client


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    return torch.tensor([item["vector"] for item in answer.json()["items"]])


def embedded(modality, value):
    return served.binder().embed(modality, [value])[0]


FILES = {"audio": served.wav(1), "image": served.png(2), "imu": served.csv(served.motion(3))}


@pytest.mark.slow
def test_vectors_are_those_of_the_binder(client):
    items = [{"text": "a red circle"}]
    items += [{"modality": m, "file": {"data": served.b64(content)}} for m, content in FILES.items()]
    z = vectors_of(client.post("/embed", json={"items": items}))
    assert torch.allclose(z.norm(dim=1), torch.ones(4), atol=1e-5)
    assert torch.allclose(z[0], embedded("text", "a red circle"), atol=1e-5)
    names = {"audio": "a.wav", "image": "a.png", "imu": "a.csv"}
    for row, (modality, content) in enumerate(FILES.items(), start=1):
        clip = Clip(PackedFile(names[modality], content))
        assert torch.allclose(z[row], embedded(modality, clip), atol=1e-5), modality


@pytest.mark.slow
def test_a_form_with_files_is_the_same_request(client):
    files = [("text", (None, "a red circle")), *((m, (f"x.{m}", content)) for m, content in FILES.items())]
    items = [{"text": "a red circle"}]
    items += [{"modality": m, "file": {"data": served.b64(content)}} for m, content in FILES.items()]
    z_form, z_json = (client.post("/embed", **body) for body in ({"files": files}, {"json": {"items": items}}))
    assert torch.allclose(vectors_of(z_form), vectors_of(z_json), atol=1e-5)


@pytest.mark.slow
def test_an_array_comes_with_the_json_that_names_its_channels(client):
    file = io.BytesIO()
    np.save(file, served.motion(3).astype(np.float32))
    sidecar = json.dumps({"channels": served.CHANNELS, "units": served.UNITS, "sample_rate_hz": served.RATE_HZ})
    item = {"modality": "imu", "file": {"data": served.b64(file.getvalue()), "sidecar": sidecar}}
    z = vectors_of(client.post("/embed", json={"items": [item]}))
    clip = Clip(PackedFile("a.csv", served.csv(served.motion(3))))
    assert torch.allclose(z[0], embedded("imu", clip), atol=1e-3)


def test_a_bad_item_does_not_spoil_the_others(client):
    bad = [
        {"modality": "audio", "file": {"data": "%%%"}},
        {"modality": "audio", "file": {"data": served.b64(b"no sound")}},
        {"modality": "smell", "file": {"data": "AAAA"}},
        {"text": "  "},
        {"modality": "image"},
        {"modality": "image", "text": "/etc/passwd"},
    ]
    items = client.post("/embed", json={"items": [{"text": "a"}, *bad, {"text": "b"}]}).json()["items"]
    assert [item["error"] is None for item in items] == [True, *[False] * 6, True]
    for item, word in zip(
        items[1:7], ("base64", "audio 3", "smell", "not empty", "give a file", "give a file"), strict=True
    ):
        assert word in item["error"]
        assert item["vector"] is None


def bomb():
    """A picture of few bytes and many pixels."""
    file = io.BytesIO()
    Image.new("1", (3000, 3000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("modality", "content", "message"),
    [
        ("image", bomb(), "3000 x 3000 pixels"),
        ("depth", bomb(), "3000 x 3000 pixels"),
        ("audio", served.wav(0, 8.0), "lasts 8 s, up to 5 s"),
        ("audio", b"", "is empty"),
        ("imu", b"time_seconds,acc_x [g]\n0,1\n0.02,2\n0.04,1\n", "no channel"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_name(client, modality, content, message):
    item = {"modality": modality, "file": {"data": served.b64(content)}}
    (answer,) = client.post("/embed", json={"items": [item]}).json()["items"]
    assert message in answer["error"]
    assert answer["error"].startswith(f"{modality} 1")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"json": {"items": []}}, 422, "items"),
        ({"json": {"items": [{"txt": "a"}]}}, 422, "txt"),
        ({"json": {"items": [{"text": "a"}] * 9}}, 413, "9 items"),
        ({"json": [1]}, 422, "the body"),
        ({"content": b"{"}, 422, "JSON"),
        ({"content": b"[" * 100_000}, 422, "levels"),
        ({"content": b"\xff\xfe"}, 422, "JSON"),
        ({"content": b"x" * 300_001}, 413, "300001 bytes"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 400, "form"),
    ],
)
def test_a_request_that_is_none_is_answered_with_json(client, body, status, message):
    answer = client.post("/embed", **body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


@pytest.mark.slow
def test_hits_are_those_of_the_index(client, index):
    hits = client.post("/search", json={"query": {"text": "a red circle"}, "top": 4}).json()["hits"]
    expected = index.search("a red circle", top=4)
    assert [(hit["key"], hit["rank"], hit["modality"]) for hit in hits] == [
        (h.key, h.rank, h.modality) for h in expected
    ]
    assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    options = {"in": ["audio", "image"], "where": "split = 'test'", "fusion": "late", "weights": {"audio": 2.0}}
    query = {"text": "a red circle", "audio": {"data": served.b64(served.wav(1)), "name": "q.wav"}}
    as_json = client.post("/search", json={"query": query, **options}).json()
    form = {"in": json.dumps(options["in"]), "weights": json.dumps(options["weights"]), "where": options["where"]}
    fields = {"text": "a red circle", "fusion": "late", **form}
    as_form = client.post("/search", data=fields, files={"audio": ("q.wav", served.wav(1))}).json()
    assert as_json == as_form
    assert {hit["modality"] for hit in as_json["hits"]} == {"audio", "image"}
    assert as_json["num_vectors"] == 6
    vector = embedded("text", "a red circle").tolist()
    by_vector = client.post("/search", json={"vectors": {"text": vector}, "top": 4}).json()["hits"]
    assert [hit["key"] for hit in by_vector] == [hit["key"] for hit in hits]


@pytest.mark.slow
def test_a_sample_finds_itself_and_is_shown(client):
    answer = client.post("/search", data={"in": '["audio"]'}, files={"audio": ("q.wav", served.wav(2))}).json()
    assert answer["hits"][0]["key"] == "audio2"
    assert answer["hits"][0]["file"] == "audio2.wav"
    assert "path" not in answer["hits"][0]
    kinds = {"audio": "sound", "image": "picture", "imu": "trace"}
    for modality, kind in kinds.items():
        media = client.get("/media", params={"modality": modality, "key": f"{modality}1"}).json()
        assert media["kind"] == kind
    assert client.get("/media", params={"modality": "text", "key": "words"}).json()["text"] == "a red circle"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"query": {}}, 422, "query is empty"),
        ({"query": {"text": "a"}, "top": 0}, 422, "top"),
        ({"query": {"text": "a"}, "in": ["smell"]}, 422, "holds no smell"),
        ({"query": {"text": "a"}, "where": "split = "}, 422, "where="),
        ({"query": {"text": "a"}, "where": "__import__('os')"}, 422, "where="),
        ({"query": {"text": "a"}, "fusion": "middle"}, 422, "early or late"),
        ({"query": {"smell": "a"}}, 422, "no modality"),
        ({"query": {"audio": "/etc/passwd"}}, 422, "give a file"),
        ({"query": {"audio": {"data": "AAAA", "name": "/etc/passwd"}}}, 422, "audio 1"),
        ({"vectors": {"text": [1.0, 2.0]}}, 422, "holds vectors of length"),
        ({"vectors": {"text": [float("nan")] * 64}}, 422, "not finite"),
    ],
)
def test_a_search_that_is_none_says_why(client, body, status, message):
    content = json.dumps(body).encode()  # NaN too, which clients send
    answer = client.post("/search", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert message in answer.json()["error"]


@pytest.mark.slow
def test_media_are_only_of_the_index_and_never_the_file(client, index, tmp_path):
    for key in ("../../etc/passwd", "nothing", "image1' or '1'='1"):
        answer = client.get("/media", params={"modality": "image", "key": key})
        assert (answer.status_code, answer.json()) == (404, {"error": "the index holds no image of that key"})
    secret = tmp_path / "secret.png"
    secret.write_text("the secret")
    index.add(
        "image", embedded("image", Clip(PackedFile("a.png", served.png())))[None], {"key": ["s"], "path": [str(secret)]}
    )
    answer = client.get("/media", params={"modality": "image", "key": "s"})
    assert answer.status_code == 422
    assert "the secret" not in answer.text
    assert str(tmp_path) not in answer.text
    index.delete(["s"])


@pytest.mark.slow
def test_without_an_index_it_embeds_and_says_that_it_does_not_search():
    with TestClient(create_app(served.binder()), base_url="http://127.0.0.1") as client:
        assert client.get("/meta").json()["index"] is None
        answer = client.post("/search", json={"query": {"text": "a"}})
        assert (answer.status_code, "index=INDEX" in answer.json()["error"]) == (404, True)


@pytest.mark.slow
def test_the_api_describes_itself_and_counts(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/embed", "/search", "/vectorize", "/meta", "/metrics", "/healthz"} <= set(paths)
    client.post("/embed", json={"items": [{"text": "a"}]})
    lines = client.get("/metrics").text.splitlines()
    assert any(line.startswith('bind_requests_total{route="/embed",status="200"}') for line in lines)
    assert any(line.startswith('bind_items_total{modality="text",outcome="embedded"}') for line in lines)
    assert "bind_waiting_items 0.0" in lines
    assert client.get("/nothing").json() == {"error": "GET /nothing: Not Found"}


def test_the_page_may_ask_nobody_else(client):
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for path in ("/page.js", "/page.css", "/media.js", "/samples.css", "/report.css"):
        text = client.get(path).text
        assert path in answer.text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text


NAMESPACES = ("http://www.w3.org/2000/svg",)


@pytest.mark.slow
def test_no_page_names_another_host(client):
    for path in (*PAGE_FILES, "/docs", "/redoc"):
        urls = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", client.get(path).text)
        assert [url for url in urls if url not in NAMESPACES] == [], path
    assert client.get("/redoc").status_code == 404


def test_what_the_description_of_the_api_refers_to_is_there(client):
    answer = client.get("/openapi.json")
    there = {f"#/components/schemas/{name}" for name in answer.json()["components"]["schemas"]}
    assert set(re.findall(r'"\$ref":\s*"([^"]+)"', answer.text)) <= there
    assert "#/components/schemas/File" in there
