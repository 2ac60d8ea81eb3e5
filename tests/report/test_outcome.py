import pytest

from bind.report.outcome import outcome_sentences


def entry(r1, kind="trained", *, queries=2300, chance=1 / 115, best=None):
    known = {} if best is None else {"ceiling_R@1": best}
    return {"R@1": r1, "chance_R@1": chance, "queries": queries, "kind": kind, **known}


def outcome(*pairs, fused=None):
    return outcome_sentences({"retrieval": dict(pairs)}, fused or {})


def test_of_a_trained_pair_the_new_modality_is_the_query():
    sentences = outcome((("image", "audio"), entry(0.9)), (("audio", "image"), entry(0.374, best=0.374)))
    assert sentences == ["A sound finds its picture in 37 of 100 tries, by chance 1; the best possible is 37."]


def test_the_two_best_trained_pairs_and_the_best_emergent_one_have_a_sentence():
    sentences = outcome(
        (("image", "text"), entry(1.0, "anchor")),
        (("audio", "image"), entry(0.2)),
        (("imu", "image"), entry(0.4)),
        (("depth", "image"), entry(0.3)),
        (("imu", "text"), entry(0.1, "emergent")),
        (("text", "depth"), entry(0.2, "emergent")),
    )
    assert [sentence.partition(" in ")[0] for sentence in sentences] == [
        "A motion trace finds its picture",
        "A depth map finds its picture",
        "The best pair that was never trained: a text finds its depth map",
    ]


def test_no_best_is_said_where_none_is_known():
    assert outcome((("audio", "image"), entry(0.2))) == ["A sound finds its picture in 20 of 100 tries, by chance 1."]


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (entry(3 / 8, queries=8, chance=1 / 24), "in 3 of 8 tries, by chance 0.3."),
        (entry(0.0, queries=99, chance=1 / 99), "in 0 of 99 tries, by chance 1."),
        (entry(0.5, chance=1 / 5000), "in 50 of 100 tries, by chance 0.02."),
        (entry(0.5, chance=1e-7), "in 50 of 100 tries, by chance less than 0.001."),
        (entry(0.25, best=0.20), "in 25 of 100 tries, by chance 1; the best to be expected is 20."),
    ],
)
def test_numbers_are_honest(figures, said):
    [sentence] = outcome((("audio", "image"), figures))
    assert sentence.endswith(said)


def test_a_fusion_is_named_by_its_inputs_and_the_plain_sum_has_no_sentence():
    fused = dict.fromkeys(("audio_and_imu", "audio_plus_imu"), ("audio", "imu"))
    sentences = outcome(
        (("audio_and_imu", "image"), entry(0.2)),
        (("audio_plus_imu", "image"), entry(0.4)),
        (("text", "audio_and_imu"), entry(0.9, "emergent")),
        fused=fused,
    )
    assert sentences == ["A sound with its motion trace finds its picture in 20 of 100 tries, by chance 1."]


def test_a_modality_without_a_word_keeps_its_name():
    [sentence] = outcome((("eeg", "a_to_b"), entry(0.2)))
    assert sentence.startswith("An eeg finds its a_to_b in ")


def test_nothing_is_said_without_retrieval():
    assert outcome_sentences({"retrieval": {}}) == outcome_sentences({}) == []


@pytest.mark.parametrize(("low", "high", "doubt"), [(0.0, 0.3, " (no real difference)"), (0.15, 0.3, "")])
def test_what_may_be_chance_is_said_to_be(low, high, doubt):
    figures = entry(0.2, queries=50, chance=0.1, best=0.5) | {"ci95_R@1": [low, high]}
    assert outcome((("audio", "image"), figures)) == [
        f"A sound finds its picture in 10 of 50 tries, by chance 5{doubt}; the best possible is 25."
    ]


@pytest.mark.parametrize(
    ("clusters", "resampled", "doubt"),
    [
        (1, "owners", " (too few owners to conclude: 1)"),
        (2, "owners", " (too few owners to conclude: 2)"),
        (9, "samples", " (too few samples to conclude: 9)"),
        (10, "owners", " (no real difference)"),
    ],
)
@pytest.mark.parametrize("kind", ["trained", "emergent"])
def test_few_people_conclude_nothing_whatever_their_interval_says(clusters, resampled, doubt, kind):
    figures = entry(0.2, kind, queries=50, chance=0.1) | {"clusters": clusters, "resampled": resampled}
    for interval in ([0.0, 0.3], [0.15, 0.3]):
        said = doubt if clusters < 10 or interval[0] < 0.1 else ""
        [sentence] = outcome((("audio", "image"), figures | {"ci95_R@1": interval}))
        assert sentence.endswith(f"in 10 of 50 tries, by chance 5{said}.")
        zero_shot = {"top1": 0.2, "chance": 0.1, "num_classes": 10, "ci95_top1": interval}
        [sentence] = outcome_sentences({"zero_shot": {"audio": figures | zero_shot}})
        assert sentence.endswith(f"in 10 of 50 tries, by chance 5{said}.")


def test_classes_in_words_have_a_sentence_where_there_are_no_captions_or_nothing_else_was_trained():
    def of_words(top1, kind="emergent", **more):
        return {"top1": top1, "chance": 0.25, "num_classes": 4, "queries": 200, "kind": kind, **more}

    zero_shot = {
        "image": of_words(1.0, "anchor"),
        "audio/animals": of_words(0.8),
        "imu": of_words(0.3, ci95_top1=[0.2, 0.4]),
        "video": {"map": 0.9, "chance": 0.1},
    }
    retrieval = {("audio", "image"): entry(0.2)}
    *_, sentence = outcome_sentences({"retrieval": retrieval, "zero_shot": zero_shot})
    assert sentence == "A sound finds its class, out of 4 given in words, in 80 of 100 tries, by chance 25."
    [sentence] = outcome_sentences({"zero_shot": {"imu": zero_shot["imu"]}})
    assert sentence.endswith("in 30 of 100 tries, by chance 25 (no real difference).")
    of_texts = {"retrieval": {("imu", "text"): entry(0.5)}, "zero_shot": {"imu": of_words(0.9, "trained")}}
    assert outcome_sentences(of_texts)[1].startswith(
        "A motion trace finds its class, out of 4 given in words, in 90 of"
    )
    with_captions = {"retrieval": retrieval | {("audio", "text"): entry(0.1, "emergent")}, "zero_shot": zero_shot}
    assert not any("class" in sentence for sentence in outcome_sentences(with_captions))
