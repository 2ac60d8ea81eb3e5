"""The index: hits with what is known of them, fusion of queries, modalities that are comparable, and its binder."""

import shutil

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bind.model.binder import Binder
from bind.search.binder_folder import fingerprint_of
from bind.search.index import Index

DIM = 16


def unit(num, seed, centre=None, spread=1.0):
    x = torch.randn(num, DIM, generator=torch.Generator().manual_seed(seed))
    return normalize(x if centre is None else centre + spread * x, dim=1)


def keys(num, letter="k"):
    return [f"{letter}{number:03d}" for number in range(num)]


@pytest.fixture
def index(tmp_path):
    index = Index.create(tmp_path / "index", dim=DIM, scan="fp16")
    index.add(
        "audio",
        unit(50, 0),
        {"key": keys(50), "split": ["test", "val"] * 25, "path": [f"/a/{n}.wav" for n in range(50)]},
    )
    return index


def test_hits_are_the_nearest_with_what_is_known_of_them(index):
    query = unit(1, 5)[0]
    hits = index.search_vectors(query, top=3)[0]
    stored = unit(50, 0).half()
    scores = (stored.double() @ query.double()).float()
    assert [hit.key for hit in hits] == [f"k{row:03d}" for row in scores.topk(3).indices.tolist()]
    assert [hit.score for hit in hits] == pytest.approx(scores.topk(3).values.tolist(), abs=1e-7)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    row = int(hits[0].key[1:])
    assert (hits[0].path, hits[0].split, hits[0].standard_score) == (f"/a/{row}.wav", ["test", "val"][row % 2], None)
    assert hits[0].as_json()["score"] == hits[0].score
    assert "caption" not in hits[0].as_json()


@pytest.mark.slow
def test_a_batch_of_queries_finds_what_each_alone_finds(index):
    queries = unit(7, 3)
    assert index.search_vectors(queries) == [index.search_vectors(query)[0] for query in queries]


def test_a_condition_limits_what_is_searched(index):
    hits = index.search_vectors(unit(1, 5), top=50, where="split = 'val'")[0]
    assert sorted(hit.key for hit in hits) == keys(50)[1::2]
    everything = [hit for hit in index.search_vectors(unit(1, 5), top=50)[0] if hit.split == "val"]
    assert [hit.key for hit in hits] == [hit.key for hit in everything]
    assert index.search_vectors(unit(1, 5), where="split = 'nowhere'")[0] == []


@pytest.mark.slow
def test_what_is_added_and_deleted_is_searched_at_once_also_by_others(index):
    other = Index.open(index.store.folder)
    query = unit(1, 77)
    index.add("audio", query, {"key": ["new"]})
    assert other.search_vectors(query)[0][0].key == index.search_vectors(query)[0][0].key == "new"
    assert index.delete(["new"]) == 1
    assert all(i.search_vectors(query)[0][0].key != "new" for i in (index, other))
    assert index.delete_where("split = 'test'") == 25
    assert len(index) == len(Index.open(index.store.folder)) == 25
    assert {hit.split for hit in index.search_vectors(query, top=50)[0]} == {"val"}


def with_gap(folder):
    """Pictures near to each other and to the query, sounds in another corner; the first of each is what is meant."""
    index = Index.create(folder, dim=DIM)
    meant = unit(1, 1)[0]
    gap = torch.zeros(DIM)
    gap[0] = 3.0
    pictures, sounds = unit(200, 2, gap, 0.2), unit(200, 3, -gap, 0.2)
    pictures[0] = normalize(gap + 2 * meant, dim=0)
    sounds[0] = normalize(-gap + 2 * meant, dim=0)
    index.add("image", pictures, {"key": keys(200, "i")})
    index.add("audio", sounds, {"key": keys(200, "a")})
    return index, normalize(gap + 2 * meant, dim=0)


def test_a_gap_between_modalities_does_not_decide_the_ranking(tmp_path):
    index, query = with_gap(tmp_path / "index")
    raw = index.search_vectors(query, comparable=False)[0]
    assert {hit.modality for hit in raw} == {"image"}
    assert raw[0].standard_score is None
    hits = index.search_vectors(query)[0]
    assert {hit.modality for hit in hits} == {"image", "audio"}
    assert {hit.key for hit in hits[:2]} == {"i000", "a000"}
    assert hits[0].standard_score > hits[1].standard_score > 2


def test_standard_scores_are_those_of_the_whole_pool(tmp_path):
    index, query = with_gap(tmp_path / "index")
    pool = {
        m: torch.cat([p.vectors for p in index.store.parts if p.part.modality == m]).float() for m in index.modalities
    }
    for hit in index.search_vectors(query, top=20, where="number = 0")[0]:
        scores = pool[hit.modality] @ query
        expected = (hit.score - scores.mean()) / scores.std(correction=0)
        assert hit.standard_score == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.slow
def test_within_a_modality_the_order_is_that_of_the_scores(tmp_path):
    index, query = with_gap(tmp_path / "index")
    for modality in index.modalities:
        alone = index.search_vectors(query, top=5, modalities=[modality])[0]
        mixed = [hit.key for hit in index.search_vectors(query, top=400)[0] if hit.modality == modality]
        assert [hit.key for hit in alone] == mixed[:5]


def test_early_fusion_asks_with_the_weighted_sum(index):
    z = {"text": unit(1, 8), "audio": unit(1, 9)}
    total = normalize(z["text"] + 2 * z["audio"], dim=1)
    hits = index.search_vectors(z, weights={"audio": 2.0})[0]
    assert [hit.key for hit in hits] == [hit.key for hit in index.search_vectors(total)[0]]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in index.search_vectors(total)[0]], abs=1e-6)


def test_late_fusion_sums_standardised_scores(index):
    z = {"text": unit(1, 8), "audio": normalize(unit(1, 9) + 4 * unit(50, 0).mean(dim=0), dim=1)}
    pool = unit(50, 0).half().float()
    total = torch.zeros(50)
    mean = torch.zeros(50)
    for name, weight in (("text", 1.0), ("audio", 0.5)):
        scores = pool @ z[name][0]
        total += weight * (scores - scores.mean()) / scores.std(correction=0)
        mean += weight / 1.5 * scores
    order = total.argsort(descending=True)[:10].tolist()
    hits = index.search_vectors(z, fusion="late", weights={"audio": 0.5})[0]
    assert [hit.key for hit in hits] == [f"k{row:03d}" for row in order]
    assert [hit.score for hit in hits] == pytest.approx(mean[order].tolist(), abs=1e-6)
    assert hits[0].standard_score == pytest.approx(float(total[order[0]] / total.std(correction=0)), rel=1e-4)


@pytest.mark.parametrize(
    ("vectors", "options", "message"),
    [
        (unit(1, 0)[:, :8], {}, "holds vectors of length 16"),
        (torch.zeros(1, DIM), {}, "not finite, or zero"),
        (torch.full((1, DIM), torch.nan), {}, "not finite, or zero"),
        ({"text": unit(1, 0), "audio": unit(2, 0)}, {}, "differ in number"),
        (unit(1, 0), {"top": 0}, "top=0: give a number from 1"),
        (unit(1, 0), {"modalities": ["audi"]}, "holds no audi; did you mean audio"),
        (unit(1, 0), {"where": "splt = 'a'"}, "no column splt"),
        (unit(1, 0), {"fusion": "middle"}, "choose early or late"),
        (unit(1, 0), {"weights": {"image": 2.0}}, "names image"),
        (unit(1, 0), {"weights": {"vector": -1.0}}, "must be positive"),
        (unit(1, 0), {"weights": {"vector": float("nan")}}, "give numbers above 0"),
    ],
)
def test_what_can_not_be_asked_is_refused(vectors, options, message, index):
    with pytest.raises(ValueError, match=message):
        index.search_vectors(vectors, **options)


def test_an_index_without_vectors_has_no_hits(tmp_path):
    index = Index.create(tmp_path / "index", dim=DIM)
    assert index.search_vectors(unit(2, 0)) == [[], []]


CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["depth"],
    "encoder": {"depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8}},
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
}


@pytest.fixture(scope="module")
def binder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Binder.from_config(CONFIG).eval()


@pytest.mark.slow
def test_a_binder_in_its_index_embeds_queries(tmp_path, binder):
    index = Index.create(tmp_path / "index", binder)
    words = ["a red circle", "a blue square", "a green triangle"]
    maps = list(np.random.default_rng(0).uniform(0.5, 9.0, (3, 64, 64)).astype(np.float32))
    index.add("text", binder.embed("text", words), {"key": words})
    index.add("depth", binder.embed("depth", maps), {"key": ["near", "middle", "far"]})
    np.save(tmp_path / "far.npy", maps[2])
    shutil.move(tmp_path / "index", tmp_path / "moved")
    opened = Index.open(tmp_path / "moved")
    assert fingerprint_of(opened.binder) == fingerprint_of(binder)
    assert opened.search("a blue square", modalities=["text"])[0].key == "a blue square"
    assert opened.search({"depth": tmp_path / "far.npy"}, modalities=["depth"])[0].key == "far"
    assert opened.search({"depth": maps[1], "text": words[0]}, fusion="late", top=2)[0].rank == 1
    with pytest.raises(ValueError, match="no encoder for audio"):
        opened.search({"audio": "a.wav"})
    with pytest.raises(ValueError, match="text is empty"):
        opened.search(" ")
    with pytest.raises(ValueError, match=r"no\.npy"):
        opened.search({"depth": tmp_path / "no.npy"})


@pytest.mark.slow
def test_an_index_of_another_binder_is_refused(tmp_path, binder):
    index = Index.create(tmp_path / "index", binder)
    other = Binder.from_config(CONFIG).eval()
    with pytest.raises(ValueError, match="vectors of another binder"):
        index.use_binder(other)
    index.use_binder(binder)
    shutil.rmtree(tmp_path / "index" / "binder")
    other.save(tmp_path / "index" / "binder")
    with pytest.raises(ValueError, match="vectors of another binder"):
        Index.open(tmp_path / "index").search("a dog")
    shutil.rmtree(tmp_path / "index" / "binder")
    with pytest.raises(ValueError, match="has no binder/"):
        Index.open(tmp_path / "index").search("a dog")


def test_a_damaged_part_is_named_when_it_is_searched(index):
    path = index.store.folder / "parts" / "00000001.vectors"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"00000001\.vectors"):
        Index.open(index.store.folder).search_vectors(unit(1, 0))
    path.unlink()
    with pytest.raises(ValueError, match=r"00000001\.vectors: no such file"):
        Index.open(index.store.folder)
