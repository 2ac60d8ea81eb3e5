"""All indices as columns say what reading them sample by sample says, and are decoded once."""

import hashlib
import pickle
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bind.data import identity
from bind.data.identity import identify_samples
from bind.data.sources.shards import kept_index
from bind.data.sources.shards.index_table import MEMBER_TYPES, IndexTable
from bind.data.sources.shards.names import MODALITY_OF_EXTENSION, parse_suffix
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.tar_index import TarIndex
from bind.files.checksums import checksum_of_values
from bind.types import Sample

TEXTS = st.text(st.sampled_from("ab é'\"\\猫\n\x7f"), max_size=4)
SUFFIXES = ["jpg", "txt", "audio.wav", "text.0.txt", "text.1.txt", "cls"]
TAR = bytes(range(256)) * 8
MANY = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def indices(draw, max_shards=3):
    """Indices of some shards, whose keys may come twice and whose samples may have nothing that is known."""
    numbers = st.integers(0, 30) if draw(st.integers(0, 5)) == 0 else st.just(None)
    drawn, count = [], 0
    for _ in range(draw(st.integers(1, max_shards))):
        index, suffixes = TarIndex(len(TAR), draw(st.sampled_from(["", "a plan"]))), []
        for _ in range(draw(st.integers(1, 5))):
            count += 1
            number = draw(numbers)
            index.key.append(f"{draw(TEXTS)}{count if number is None else number}")
            index.split.append(draw(st.sampled_from([None, "", "train", "train", "val", "spare"])))
            index.group.append(draw(st.none() | TEXTS))
            index.label.append(draw(st.none() | TEXTS))
            rare = draw(st.integers(0, 20)) == 0
            index.owners.append(draw(st.lists(TEXTS, max_size=2)) if rare else [f"owner {count}"])
            names = draw(st.lists(st.sampled_from(SUFFIXES), unique=True, max_size=4))
            suffixes.append(names or ([] if draw(st.integers(0, 9)) == 0 else ["txt"]))
        index.first = np.cumsum([0, *map(len, suffixes)])
        index.suffix = np.array([suffix for of_sample in suffixes for suffix in of_sample], object)
        size = len(index.suffix)
        offset = np.array(draw(st.lists(st.integers(512, 1500), min_size=size, max_size=size)), np.int64)
        length = np.array(draw(st.lists(st.integers(0, 500), min_size=size, max_size=size)), np.int64)
        crc32 = [zlib.crc32(TAR[o : o + n]) for o, n in zip(offset.tolist(), length.tolist(), strict=True)]
        seconds = st.lists(st.sampled_from([np.nan, np.nan, 0.0, 1.5]), min_size=size, max_size=size)
        numbers_of = {"offset": offset, "size": length, "crc32": crc32}
        numbers_of |= {"start_seconds": draw(seconds), "end_seconds": draw(seconds)}
        index.members = {name: np.array(numbers_of[name], kind) for name, kind in MEMBER_TYPES.items()}
        drawn.append(index)
    return drawn


def write(folder, drawn):
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for number, index in enumerate(drawn):
        (folder / f"{number}.tar").write_bytes(TAR)
        (folder / f"{number}.index.parquet").write_bytes(index.to_bytes())
    return str(folder)


def naive(drawn, split_of_shard=None, modality_of_extension=MODALITY_OF_EXTENSION):
    """Samples, members and hashes by a loop over samples; None where it is refused."""
    samples, members = ({split: [] for split in ("train", "val", "test")} for _ in range(2))
    keys = [key for index in drawn for key in index.key]
    if len(set(keys)) < len(keys):
        return None
    for index in drawn:
        for row, key in enumerate(index.key):
            places = range(index.first[row], index.first[row + 1])
            parsed = {place: parse_suffix(index.suffix[place], modality_of_extension) for place in places}
            values = {suffix.modality: [] for suffix in parsed.values() if suffix is not None}
            split = index.split[row] or split_of_shard or "train"
            if not values or (split_of_shard and split != split_of_shard):
                return None
            if split in samples:
                samples[split].append(
                    Sample(key, split, values, index.group[row], tuple(index.owners[row]), index.label[row])
                )
                members[split].append((index, parsed))
    splits_of_owner = {}
    for split, of_split in samples.items():
        for owner in (owner for sample in of_split for owner in sample.owners):
            splits_of_owner.setdefault(owner, set()).add(split)
    return None if any(len(splits) > 1 for splits in splits_of_owner.values()) else (samples, members)


def naive_hash(samples, members, modality, prefix=""):
    digest = hashlib.blake2b(prefix.encode(), digest_size=16)
    digest.update("\n".join(sample.key for sample in samples).encode())
    chosen = [
        (place, index, member)
        for place, (index, parsed) in enumerate(members)
        for member, suffix in parsed.items()
        if suffix is not None and suffix.modality == modality
    ]
    digest.update("\n".join(index.suffix[member] for _, index, member in chosen).encode())
    digest.update(np.array([place for place, _, _ in chosen], "<i8").tobytes())
    for name in ("size", "crc32", "start_seconds", "end_seconds"):
        digest.update(np.array([index.members[name][member] for _, index, member in chosen], "<f8").tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indices") / "shards"


@pytest.mark.slow
@MANY
@given(indices(), st.sampled_from([None, None, "train"]), st.booleans())
def test_columns_are_what_a_loop_over_samples_finds(folder, drawn, split, large):
    write(folder, drawn)
    where = str(folder) if split is None else {split: str(folder)}
    expected = naive(drawn, split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_index, "BATCH_ROWS", 3)
        if large:
            patch.setattr(kept_index, "MAX_BYTES_IN_MEMORY", 0)
        if expected is None:
            with pytest.raises(ValueError, match=r"key|split|modality"):
                IndexedShardSource(where, cache_dir=folder.parent / "cache")
            return
        source = IndexedShardSource(where, cache_dir=folder.parent / "cache")
    samples, members = expected
    carried = {m for of_split in samples.values() for sample in of_split for m in sample.values}
    assert set(source.modalities()) == carried
    for name, of_split in samples.items():
        assert list(source.samples(name)) == of_split
        assert identify_samples(source.samples(name)) == identify_samples(of_split)
        for modality in carried:
            assert source.content_hash(name, modality) == naive_hash(of_split, members[name], modality)
        fetched = source.fetch(name, range(len(of_split)), ["audio", "image"], None)
        for values, (index, parsed) in zip(fetched, members[name], strict=True):
            for clip in (clip for clips in values.values() for clip in clips):
                suffix = clip.path.name.rpartition("/")[2].rpartition(".")[2]
                member = next(m for m, s in parsed.items() if s and index.suffix[m].endswith(suffix))
                start, size = (int(index.members[n][member]) for n in ("offset", "size"))
                assert clip.path.content == TAR[start : start + size]
                seconds = [index.members[n][member] for n in ("start_seconds", "end_seconds")]
                assert [clip.start_seconds, clip.end_seconds] == [None if np.isnan(s) else s for s in seconds]


@pytest.mark.slow
@MANY
@given(indices(), st.sampled_from([{}, {"cls": "audio"}, {"txt": "image"}, {"jpg": "smell"}]), st.booleans())
def test_hashes_of_modalities_that_the_user_names_are_those_of_a_loop(folder, drawn, extensions, has_captions):
    write(folder, drawn)
    usual = MODALITY_OF_EXTENSION | ({"json": "text"} if has_captions else {}) | extensions
    if (expected := naive(drawn, None, usual)) is None:
        return
    options = {"extensions": extensions, "captions_key": "caption" if has_captions else None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_index, "BATCH_ROWS", 3)
        source = IndexedShardSource(str(folder), cache_dir=folder.parent / "cache", **options)
    samples, members = expected
    for name, of_split in samples.items():
        for modality in source.modalities():
            prefix = "captions under caption" if has_captions and modality == "text" else ""
            expected_hash = naive_hash(of_split, members[name], modality, prefix)
            assert source.content_hash(name, modality) == expected_hash, (modality, extensions)


@pytest.mark.slow
@MANY
@given(indices(max_shards=1))
def test_a_checksum_is_that_of_the_values(drawn):
    (index,) = drawn
    texts = [index.num_bytes, index.plan, index.key, index.split, index.group, index.label, index.owners]
    arrays = [index.first.astype(np.int64), *(index.members[n].astype(kind) for n, kind in MEMBER_TYPES.items())]
    crcs = [zlib.crc32(array.tobytes()) for array in arrays]
    assert index.checksum() == checksum_of_values([*texts, index.suffix.tolist(), *crcs])
    assert IndexTable.from_bytes(index.to_bytes(), "a").checksum() == index.checksum()


class TestKept:
    @pytest.fixture(autouse=True)
    def always_kept(self, monkeypatch):
        monkeypatch.setattr(kept_index, "MAX_BYTES_IN_MEMORY", 0)

    @pytest.fixture
    def opened(self, packed, tmp_path):
        """A copy of the packed world, and the folder that keeps what is decoded."""
        for path in packed.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        return lambda: IndexedShardSource(str(tmp_path), cache_dir=tmp_path / "cache"), tmp_path

    @pytest.mark.slow
    def test_indices_are_decoded_once(self, opened, monkeypatch):
        open_source, folder = opened
        keys = [sample.key for sample in open_source().samples("train")]
        monkeypatch.setattr(kept_index, "write_columns", None)
        assert [sample.key for sample in open_source().samples("train")] == keys
        assert len(list((folder / "cache").glob("*.arrow"))) == 1

    @pytest.mark.slow
    def test_hashes_are_kept_with_them(self, opened, monkeypatch):
        open_source, _ = opened

        def hashes():
            source = open_source()
            return [
                (identify_samples(source.samples(split)), source.content_hash(split, modality))
                for split in ("train", "val", "test")
                for modality in source.modalities()
            ]

        before = hashes()
        for hasher in (f"{identity.__name__}.IdentityHasher", f"{kept_index.__name__}.ContentHasher"):
            monkeypatch.setattr(hasher, None)
        monkeypatch.setattr("bind.data.sources.shards.source.ContentHasher", None)
        assert hashes() == before

    @pytest.mark.slow
    def test_they_are_decoded_again_when_one_changes(self, opened):
        open_source, folder = opened
        before = open_source()
        path = folder / "val-000000.index.parquet"
        index = TarIndex.from_bytes(path.read_bytes(), "index")
        index.key[0] = "another"
        path.write_bytes(index.to_bytes())
        after = open_source()
        assert after.samples("val")[0].key == "another"
        assert after.content_hash("val", "text") != before.content_hash("val", "text")
        assert after.content_hash("train", "text") == before.content_hash("train", "text")
        assert identify_samples(after.samples("val")) != identify_samples(before.samples("val"))
        assert len(list((folder / "cache").glob("*.arrow"))) == 1

    @pytest.mark.slow
    def test_a_damaged_file_is_made_again(self, opened, caplog):
        open_source, folder = opened
        keys = [sample.key for sample in open_source().samples("train")]
        (kept,) = (folder / "cache").glob("*.arrow")
        content = bytearray(kept.read_bytes())
        kept.write_bytes(content[:-40])
        assert [sample.key for sample in open_source().samples("train")] == keys
        assert "is damaged" in caplog.text

    @pytest.mark.slow
    def test_another_process_gets_the_path_and_not_the_rows(self, opened):
        source = opened[0]()
        again = pickle.loads(pickle.dumps(source))
        assert len(pickle.dumps(source.samples("train").columns)) < 2000
        assert list(again.samples("train")) == list(source.samples("train"))
        assert again.fetch("val", [0], ["text"], None) == source.fetch("val", [0], ["text"], None)

    @pytest.mark.slow
    def test_a_cache_that_can_not_be_written_is_done_without(self, opened, caplog):
        open_source, folder = opened
        (folder / "cache").write_text("a file where a folder should be")
        assert len(open_source().samples("train")) == 16
        assert "decoded for this process" in caplog.text
