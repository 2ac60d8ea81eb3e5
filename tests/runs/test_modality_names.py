"""Names of modalities that hold the words by which pairs and fusions are named: nobody may take names apart."""

import csv
import json

import pytest
from support import runs

from bind.report.queries import read_queries
from bind.runs.jobs import train
from bind.studies import compare

pytestmark = pytest.mark.slow

CHOICES = ("+encoder/audio@encoder.speech_to_text=small", "+transform/audio@transform.speech_to_text=default",
           "+encoder/audio@encoder.a_and_b=small", "+transform/audio@transform.a_and_b=default",
           "data=manifest", "fusion=late")  # fmt: skip
PAIR = {"weight": 1.0, "temperature": 0.07, "learn_temperature": True}
FUSED, SUM = "speech_to_text_and_a_and_b", "speech_to_text_plus_a_and_b"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two modalities with such names, with their late fusion, and all that it printed."""
    folder = tmp_path_factory.mktemp("names")
    rows = runs.read_manifest(runs.write_recordings(folder))
    for row in rows:
        if "audio" in row:
            row |= {"speech_to_text": row.pop("audio"), "a_and_b": f"{row['key']}.wav"}
    small = {name.replace("audio", modality): value for modality in ("speech_to_text", "a_and_b")
             for name, value in runs.RECORDED.items() if ".audio." in name}  # fmt: skip
    values = {name: value for name, value in runs.RECORDED.items() if ".audio." not in name} | small
    values |= {"modalities": ["speech_to_text", "a_and_b"], "fusion.inputs": ["speech_to_text", "a_and_b"]}
    values |= {"pairs.speech_to_text-image": PAIR, "pairs.a_and_b-image": PAIR, "evaluation.num_gallery_queries": 1}
    values |= {"data.manifest": str(runs.write_manifest(folder / "named.jsonl", rows)), "run_dir": str(folder / "run")}
    values["data.zero_shot"] = {"labels": {"modalities": ["a_and_b"], "templates": ["{}"], "classes": None}}
    train(runs.config(*CHOICES, **values))
    return folder / "run"


def test_metrics_and_queries_name_every_pair(finished):
    retrieval = json.loads((finished / "metrics.json").read_text())["retrieval"]
    own = ["image", "text", "speech_to_text", "a_and_b"]
    pairs = {(a, b) for a in own for b in own if a != b}
    pairs |= {pair for m in (FUSED, SUM) for a in ("image", "text") for pair in ((m, a), (a, m))}
    assert set(retrieval) == {f"{query}_to_{pool}" for query, pool in pairs}
    kinds = {name: entry["kind"] for name, entry in retrieval.items()}
    assert {name for name, kind in kinds.items() if kind == "trained"} == {
        "speech_to_text_to_image", "image_to_speech_to_text", "a_and_b_to_image", "image_to_a_and_b",
    }  # fmt: skip
    titles = {task: results.title for task, results in read_queries(finished / "queries.parquet")[1].items()}
    assert titles["speech_to_text_to_a_and_b"] == "speech_to_text → a_and_b"
    assert titles[f"{FUSED}_to_image"] == "speech_to_text ⊕ a_and_b → image"
    assert titles[f"text_to_{SUM}"] == "text → speech_to_text + a_and_b"


def test_the_page_and_its_pictures_name_them(finished):
    page = (finished / "report.html").read_text()
    for title in ("speech_to_text → a_and_b", "image → speech_to_text ⊕ a_and_b", "text → speech_to_text + a_and_b"):
        assert f">{title}</td>" in page
    assert "A speech_to_text finds its picture in" in page
    media = json.loads(page.partition('id="page-data">')[2].partition("</script>")[0])
    shown = {(gallery["query"], gallery["pool"]) for gallery in media["galleries"]}
    assert shown == {("speech_to_text", "image"), ("a_and_b", "image"), ("speech_to_text", "a_and_b")}
    for name in ("gallery_speech_to_text_to_a_and_b", "confusion_a_and_b", "matrix", "curves"):
        assert (finished / f"{name}.png").is_file()


def test_a_run_is_compared_with_itself_under_their_titles(finished, capsys):
    compare.main([str(finished), str(finished), "--out", str(finished / "compared.csv")])
    printed = capsys.readouterr().out
    for title in ("speech_to_text → a_and_b", "speech_to_text ⊕ a_and_b → image", "a_and_b, zero-shot"):
        assert title in printed
    with (finished / "compared.csv").open(newline="") as file:
        tasks = {row["task"] for row in csv.DictReader(file)}
    assert {"speech_to_text_to_a_and_b", f"image_to_{FUSED}", "zero_shot/a_and_b"} <= tasks
