"""What the doctor says of a table's rows, sample by sample: what its columns have to equal."""

import itertools
import os
from collections import Counter, defaultdict

from bind.data.shared_values import MAX_CLASHING_SHARE
from bind.data.sources.arrow_rows import TableReader
from bind.data.sources.cells import RowReader
from bind.data.sources.rows import read_rows
from bind.data.sources.splits import shared_owners, shared_spans
from bind.studies.doctor.captions import normalise_caption
from bind.studies.doctor.shared import BATCH_SIZE
from bind.types import Clip

SPLITS = ("train", "val", "test")


def findings_of_rows(manifest, known=()):
    """Kind, modality, name, detail and keys of every finding but those of contents of files; and the overview."""
    columns, rows = read_rows(manifest)
    vectors = TableReader.open(manifest).vectors if manifest.suffix == ".parquet" else ()
    reader, samples, findings = RowReader(manifest, columns, vectors), [], []
    for place, cells in rows:
        try:
            samples.append(reader.sample(place, cells))
        except ValueError as error:
            message = str(error).removeprefix(f"{manifest} {place}").lstrip(": ")
            findings.append(("row that can't be read", "", place, message, ()))
    counts = Counter(sample.key for sample in samples)
    findings += [("repeated key", "", key, f"{n} times", (key,)) for key, n in counts.items() if n > 1]
    others = Counter(sample.split for sample in samples if sample.split not in SPLITS)
    findings += [("split that is never loaded", "", split, f"{n} row(s)", ()) for split, n in others.items()]
    samples = [sample for sample in samples if sample.split in SPLITS]
    findings += [("row without any modality", "", s.key, s.split, (s.key,)) for s in samples if not s.values]
    findings += [*_of_splits(samples, manifest.parent, known), *_of_groups(samples, manifest.parent)]
    missing = defaultdict(list)
    for sample, (modality, values) in ((s, of_modality) for s in samples for of_modality in s.values.items()):
        for value in values:
            if isinstance(value, Clip) and not value.path.is_file():
                missing[modality, value.path].append(sample)
    for (modality, path), users in missing.items():
        name = str(path).removeprefix(f"{manifest.parent}/")
        findings.append(("missing file", modality, name, users[0].split, tuple(dict.fromkeys(s.key for s in users))))
    return sorted(findings), _overview(samples)


def _of_splits(samples, folder, known):
    for owner, keys in shared_owners(samples).items():
        yield "owner in two splits", "", owner, _keys_by_split(keys), tuple(keys.values())
    clips = [value for s in samples for values in s.values.values() for value in values if isinstance(value, Clip)]
    cut = {os.path.realpath(c.path) for c in clips if (c.start_seconds, c.end_seconds) != (None, None)}
    whole = {}
    for path, keys in shared_spans(samples, known):
        name = path.removeprefix(f"{folder.resolve()}/")
        if path in cut:
            yield "overlap in time between splits", "", name, _keys_by_split(keys), tuple(keys.values())
        else:
            whole.setdefault(name, {}).update(keys)
    for name, keys in whole.items():
        yield "file that two splits use", "", name, _keys_by_split(keys), tuple(keys.values())
    for split in ("val", "test"):
        owners = [set(sample.owners) for sample in samples if sample.split == split]
        if len(owners) > 1 and (common := set.intersection(*owners)):
            yield "split of a single owner", "", split, f"all {len(owners)} rows are of {min(common)!r}", ()


def _keys_by_split(keys):
    return ", ".join(f"{split}: key {key!r}" for split, key in keys.items())


def _of_groups(samples, folder):
    train = [sample for sample in samples if sample.split == "train"]
    if len(train) > 1 and len({sample.group_id for sample in train}) == 1:
        name = str(train[0].group)
        return [("all samples in one group", "", name, f"{len(train)} samples", (train[0].key,))]
    names = {}  # a stretch that is used by several names has the one that the table uses first
    for sample in samples:
        for modality, values in sample.values.items():
            for value in values:
                if modality != "text":
                    name = str(value.path).removeprefix(f"{folder}/")
                    names.setdefault((modality, name, value.start_seconds, value.end_seconds), len(names))
    findings = []
    for modality in dict.fromkeys(m for sample in train for m in sample.values):
        findings += _of_shared_values(train, modality, folder, names)
    return findings


def _of_shared_values(train, modality, folder, names):
    holders, wording, findings, clashes = defaultdict(lambda: defaultdict(list)), {}, [], 0
    for sample in train:
        of_sample = defaultdict(list)
        for value in sample.values.get(modality, ()):
            if modality == "text":
                of_sample[normalise_caption(value)].append((0, repr(value)))
            else:
                span = (value.start_seconds, value.end_seconds)
                name = str(value.path).removeprefix(f"{folder}/")
                of_sample[os.path.realpath(value.path), *span].append((names[modality, name, *span], name))
        for identity, named in of_sample.items():
            holders[identity][sample.group_id].append(sample.key)
            wording.setdefault(identity, min(named, key=lambda rank_and_name: rank_and_name[0])[1])
    for identity, groups in holders.items():
        if len(groups) > 1:
            sizes = [len(keys) for keys in groups.values()]
            clashes += sum(sizes) ** 2 - sum(size**2 for size in sizes)
            keys, detail = tuple(itertools.chain(*groups.values())), f"{sum(sizes)} samples, {len(groups)} groups"
            kind = "caption shared without a group" if modality == "text" else "file shared without a group"
            findings.append((kind, modality, wording[identity], detail, keys))
    if not findings:
        return []
    chance = min(1.0, clashes / (len(train) * (len(train) - 1)))
    share = 1 - (1 - chance) ** (min(BATCH_SIZE, len(train)) - 1)
    return findings if share > MAX_CLASHING_SHARE else []


def _overview(samples):
    overview = {}
    for modality in dict.fromkeys(m for sample in samples for m in sample.values):
        counts = Counter(sample.split for sample in samples if modality in sample.values)
        overview[modality] = {
            "samples": sum(counts.values()),
            "splits": {split: counts[split] for split in SPLITS if counts[split]},
            "values": sum(len(sample.values.get(modality, ())) for sample in samples),
        }
    return overview
