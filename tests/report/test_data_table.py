from bind.data.counts import MAX_COUNTED, Counts, count_samples
from bind.report.data_table import data_cells
from bind.types import Sample


class Table:
    """A source of the samples that it is given, by split."""

    name = "table"

    def __init__(self, **splits):
        self.splits = splits

    def samples(self, split):
        return self.splits.get(split, [])


def sample(key, label=None, owners=(), group=None, modalities=("audio",)):
    return Sample(key, "train", dict.fromkeys(modalities, ()), group=group, owners=owners, label=label)


TRAIN = [
    sample("a", "dog", ("anna",)),
    sample("b", "cat", ("anna", "ben"), modalities=("audio", "image")),
    sample("c", modalities=("image",)),
]


def test_every_split_and_modality_has_its_samples_classes_and_owners():
    sources = [Table(train=TRAIN), Table(train=[sample("d", "dog", ("carl",))], test=[sample("e")])]
    cells = data_cells(count_samples(sources, ["train", "val", "test"]), ("image", "text", "audio"))
    assert cells.headers == ("split, modality", "samples", "classes", "owners")
    assert cells.sections == {
        "train": [("all", "4", "2", "3"), ("image", "2", "1", "2"), ("audio", "3", "2", "3")],
        "test": [("audio", "1", "–", "–")],
    }


def test_what_the_data_say_nothing_of_has_no_column():
    cells = data_cells(count_samples([Table(train=[sample("a")])], ["train"]), ("audio",))
    assert cells.headers == ("split, modality", "samples")


def test_a_split_that_is_too_large_is_not_looked_at():
    class Large:
        def __len__(self):
            return MAX_COUNTED + 1

        def __iter__(self):
            raise AssertionError("looked at one by one")

    counts = count_samples([Table(train=Large())], ["train"])
    assert counts == {"train": {None: Counts(MAX_COUNTED + 1)}}
    assert data_cells(counts, ("audio",)).sections == {"train": [("all", "1,000,001")]}
