"""Captions and answers of a service: the bridge's own, errors that stay with their item, and none without a bridge."""

import pytest
import torch
from support import served
from support.bridges import token_binder, toy_values, write_motion

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from bind.bridge.bridge import Bridge
from bind.bridge.gap import Gap
from bind.bridge.language_model import LanguageModel
from bind.serve.app import create_app
from bind.serve.limits import Limits
from bind.types import Clip, PackedFile

pytestmark = pytest.mark.slow
QUESTION = "What shape is it?"


@pytest.fixture(scope="module")
def bridge():
    return Bridge(served.binder(), LanguageModel.load("toy"))


@pytest.fixture(scope="module")
def client(bridge):
    app = create_app(served.binder(), limits=Limits(max_items=4), bridge=bridge)
    with TestClient(app, base_url="http://localhost:8080") as client:
        yield client


def file_item(modality, content):
    return {"modality": modality, "file": {"data": served.b64(content)}}


def test_captions_are_those_of_the_bridge_and_errors_stay_with_their_item(client, bridge):
    items = [
        {"text": "a red circle"},
        file_item("audio", served.wav(1)),
        file_item("image", b"none"),
        {"text": "a dog"},
    ]
    captions = client.post("/caption", json={"items": items}).json()["items"]
    expected = bridge.caption("text", ["a red circle", "a dog"])
    assert [captions[0]["caption"], captions[3]["caption"]] == expected
    assert captions[1]["modality"] == "audio"
    assert isinstance(captions[1]["caption"], str)
    assert captions[2]["caption"] is None
    assert "image 3" in captions[2]["error"]
    form = [("text", (None, "a red circle")), ("audio", ("a.wav", served.wav(1)))]
    assert client.post("/caption", files=form).json()["items"] == captions[:2]


def test_answers_are_those_of_the_bridge(client, bridge):
    items = [{"text": "a red circle"}, {"text": "a dog"}]
    answer = client.post("/ask", json={"question": QUESTION, "items": items[:1]}).json()
    assert answer == {"answer": bridge.ask(QUESTION, text="a red circle")}
    answer = client.post("/ask", json={"question": "The same?", "items": items}).json()
    assert answer == {"answer": bridge.ask("The same?", text=["a red circle", "a dog"])}
    form = [("question", (None, QUESTION)), ("text", (None, "a red circle"))]
    assert client.post("/ask", files=form).json() == {"answer": bridge.ask(QUESTION, text="a red circle")}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"question": QUESTION, "items": []}, 422, "items: List should have at least 1 item"),
        ({"question": "", "items": [{"text": "a"}]}, 422, "question: String should have at least 1 character"),
        ({"question": QUESTION, "items": [file_item("image", b"none")]}, 422, "image 1"),
        ({"question": QUESTION, "items": [file_item("smell", b"none")]}, 422, "smell"),
        ({"question": "What " * 350, "items": [{"text": "a"}]}, 422, "lm=toy reads"),
        ({"question": QUESTION, "items": [{"text": "a"}] * 5}, 413, "5 items, up to 4"),
    ],
)
def test_what_can_not_be_answered_is_refused_in_words(client, body, status, message):
    answer = client.post("/ask", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_form_without_its_question_is_refused(client):
    answer = client.post("/ask", files=[("text", (None, "a"))])
    assert (answer.status_code, answer.json()["error"]) == (422, "question: give one, as text")


def test_the_page_knows_whether_there_is_a_bridge(client):
    modalities = list(served.binder().modalities)
    about = client.get("/meta").json()["bridge"]
    assert about == {"modalities": modalities, "gap": {m: "noise" for m in modalities if m != "text"}}
    assert {"/caption", "/ask"} <= set(client.get("/openapi.json").json()["paths"])
    with TestClient(create_app(served.binder()), base_url="http://localhost:8080") as without:
        assert without.get("/meta").json()["bridge"] is None
        for path, more in (("/caption", {}), ("/ask", {"question": QUESTION})):
            answer = without.post(path, json={"items": [{"text": "a"}], **more})
            assert (answer.status_code, answer.json()["error"][:30]) == (404, "this service has no bridge: st")


def test_a_service_takes_other_remedies_than_its_bridge():
    binder = served.binder()
    z = binder.embed("text", ["a red star", "a dog"])
    torch.manual_seed(4)  # of a mapper with random weights, which may say nothing
    bridge = Bridge(binder, LanguageModel.load("toy"), gap=Gap("noise", {"text": z[0], "audio": z[1]}))
    app = create_app(binder, bridge=bridge, gap={"audio": "mean"})
    item = {"items": [file_item("audio", served.wav(1))]}
    with TestClient(app, base_url="http://localhost:8080") as client:
        assert client.get("/meta").json()["bridge"]["gap"]["audio"] == "mean"
        moved = client.post("/caption", json=item).json()["items"][0]["caption"]
        answer = client.post("/ask", json={"question": QUESTION, **item}).json()["answer"]
    with TestClient(create_app(binder, bridge=bridge), base_url="http://localhost:8080") as client:
        as_it_is = client.post("/caption", json=item).json()["items"][0]["caption"]
    (z_audio,) = binder.embed_items("audio", [binder.transforms["audio"](sound(1), None)])
    assert moved == bridge.caption_vectors("audio", z_audio[None], gap="mean")[0]
    assert answer == bridge.ask_vectors(QUESTION, ["audio"], z_audio[None], gap="mean")
    assert as_it_is == bridge.caption_vectors("audio", z_audio[None])[0] != moved


def sound(seed):
    return Clip(PackedFile("a.wav", served.wav(seed), None))


def test_a_bridge_of_tokens_speaks_of_its_modality_and_of_no_other(tmp_path):
    binder = token_binder()
    mapper = {"_target_": "bind.bridge.mappers.QFormerMapper", "modality": "imu", "num_tokens": 4, "width": 32}
    bridge = Bridge(binder, LanguageModel.load("toy"), mapper=mapper)
    (motions,) = toy_values("test", 2, "imu")
    files = [write_motion(tmp_path / f"{n}.npy", motion) for n, motion in enumerate(motions)]
    contents = [(served.b64(file.read_bytes()), file.with_suffix(".json").read_text()) for file in files]
    items = [{"modality": "imu", "file": {"data": data, "sidecar": sidecar}} for data, sidecar in contents]
    with TestClient(create_app(binder, bridge=bridge), base_url="http://localhost:8080") as client:
        assert client.get("/meta").json()["bridge"] == {"modalities": ["imu"], "gap": {"imu": "noise"}}
        captions = client.post("/caption", json={"items": [*items, {"text": "a"}, file_item("imu", b"none")]}).json()
        assert [item["caption"] for item in captions["items"]] == [*bridge.caption("imu", files), None, None]
        assert "reads the tokens of imu alone, and text was given" in captions["items"][2]["error"]
        assert "imu 4" in captions["items"][3]["error"]
        answer = client.post("/ask", json={"question": "The same?", "items": items}).json()
        assert answer == {"answer": bridge.ask("The same?", imu=files)}
        answer = client.post("/ask", json={"question": "The same?", "items": [{"text": "a"}]})
        assert answer.status_code == 422
        assert "reads the tokens of imu alone" in answer.json()["error"]
    with pytest.raises(ValueError, match="gap=mean: the remedies move vectors"):
        create_app(binder, bridge=bridge, gap="mean")
