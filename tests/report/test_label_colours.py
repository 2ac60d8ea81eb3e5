from bind.report.label_colours import label_colours


def test_many_labels_have_colours_that_differ():
    names = [f"label {number}" for number in range(40)]
    assert len(set(label_colours([*names, "none of these"], "none of these").values())) == 41
