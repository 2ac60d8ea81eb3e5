"""Weaviate's contract: requests as its Go client sends them, bodies byte for byte."""

import json

import pytest
import torch
from support import served

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from bind.serve.app import create_app
from bind.types import Clip, PackedFile


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(served.binder(), only_local=False), base_url="http://multi2vec-bind:8080") as client:
        yield client


def post(client, **fields):
    """As encoding/json writes the struct: empty lists are left out, no spaces."""
    body = json.dumps({name: values for name, values in fields.items() if values}, separators=(",", ":"))
    return client.post(
        "/vectorize", content=body, headers={"Content-Type": "application/json", "User-Agent": "Go-http-client/1.1"}
    )


def embedded(modality, value):
    return served.binder().embed(modality, [value])[0]


@pytest.mark.slow
def test_it_is_live_and_ready_and_says_what_it_is(client):
    for path in ("/.well-known/live", "/.well-known/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/meta").json()["modalities"] == list(served.binder().modalities)


@pytest.mark.slow
def test_all_fields_give_unit_vectors_in_their_order(client):
    texts, sounds, pictures = ["a dog", "a cat"], [served.wav(1), served.wav(2)], [served.png(1)]
    answer = post(
        client, texts=texts, audio=[served.b64(x) for x in sounds], images=[served.b64(x) for x in pictures], imu=[]
    )
    assert answer.status_code == 200
    vectors = answer.json()
    assert set(vectors) == {"textVectors", "audioVectors", "imageVectors"}
    expected = {
        "textVectors": [embedded("text", text) for text in texts],
        "audioVectors": [embedded("audio", Clip(PackedFile("a.wav", x))) for x in sounds],
        "imageVectors": [embedded("image", Clip(PackedFile("a.png", x))) for x in pictures],
    }
    for field, z in expected.items():
        assert torch.allclose(torch.tensor(vectors[field]), torch.stack(z), atol=1e-5), field
        assert torch.allclose(torch.tensor(vectors[field]).norm(dim=1), torch.ones(len(z)), atol=1e-5)


@pytest.mark.slow
def test_a_request_of_multi2vec_clip_is_one_too(client):
    assert set(post(client, texts=["a dog"], images=[served.b64(served.png())]).json()) == {
        "textVectors",
        "imageVectors",
    }


@pytest.mark.parametrize(
    "names", [served.CHANNELS, ("x", "y", "z"), ("acc_z", "acc_y", "acc_x")], ids=["named", "numbered", "turned"]
)
def test_rows_of_a_csv_are_moments_and_columns_are_channels(client, names):
    values = served.motion(5)
    columns = [served.CHANNELS.index(name) for name in names] if set(names) == set(served.CHANNELS) else [0, 1, 2]
    content = served.csv(values[:, columns], is_described=False, names=names)
    (vector,) = post(client, imu=[served.b64(content)]).json()["imuVectors"]
    whole = Clip(PackedFile("a.csv", served.csv(values)))
    assert torch.allclose(torch.tensor(vector), embedded("imu", whole), atol=1e-4)


def test_a_csv_that_describes_itself_is_read_so(client):
    content = served.csv(served.motion(5))
    (vector,) = post(client, imu=[served.b64(content)]).json()["imuVectors"]
    assert torch.allclose(torch.tensor(vector), embedded("imu", Clip(PackedFile("a.csv", content))), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thermal": ["AAAA"]}, "no modality of this binder"),
        ({"audio": ["data:audio/wav;base64,AAAA"]}, "without a data: prefix"),
        ({"images": [served.b64(b"nothing")]}, "image 1"),
        ({"texts": ["a", ""]}, "not empty"),
        ({"texts": "a dog"}, "texts: give a list"),
        ({"imu": [served.b64(b"a,b\n1,2\n")]}, "give the channels acc_x, acc_y, acc_z"),
    ],
)
def test_errors_are_json_with_a_message(client, fields, message):
    answer = post(client, **fields)
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_a_request_of_nothing_has_no_vectors(client):
    assert post(client).json() == {}
