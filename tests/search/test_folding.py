"""Folding of hits: copies of one file or text under several keys are one hit."""

from bind.search.folding import fold, search_folded
from bind.search.hits import Hit


def hit(key, path=None, modality="image", **more):
    return Hit(key, modality, 0.5, 1, path=path, **more)


def test_spans_modalities_and_values_without_a_file_are_different_things():
    hits = [
        hit("a", "day.npy", start_seconds=0.0),
        hit("b", "day.npy", start_seconds=5.0),
        hit("b", "day.npy", "imu", start_seconds=5.0),
        hit("a"),
        hit("a", number=1),
        hit("a", modality="text", caption="a dog"),
        hit("b", modality="text", caption="a dog"),
    ]
    folded = fold(hits)
    assert [one.hit.rank for one in folded] == [1, 2, 3, 4, 5, 6]
    assert [one.other_keys for one in folded] == [()] * 5 + [("b",)]


def searched(hits, top, max_top=1000):
    asked = []

    def search(num):
        asked.append(num)
        return hits[:num]

    return [(one.hit.key, len(one.other_keys)) for one in search_folded(search, top, max_top)], asked


def test_as_many_different_things_are_found_as_are_wanted():
    hits = [hit(f"{thing}.{copy}", f"{thing}.png") for thing in range(4) for copy in range(5)]
    assert searched(hits, 2) == ([("0.0", 4), ("1.0", 4)], [3, 12])
    assert searched(hits, 9)[0] == [(f"{thing}.0", 4) for thing in range(4)]
    assert searched(hits, 2, max_top=6) == ([("0.0", 4), ("1.0", 0)], [3, 6])
    assert searched(hits[::5], 2) == ([("0.0", 0), ("1.0", 0)], [3]), "without copies nothing is searched again"


def test_a_thousand_copies_end_the_search():
    copies = [hit(str(number), "same.png") for number in range(10_000)]
    (one,), asked = searched(copies, 10, max_top=10_000)
    assert one[0] == "0"
    assert asked == [11, 44, 176, 704]
