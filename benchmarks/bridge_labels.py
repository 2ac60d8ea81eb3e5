"""Captions that have to name a label: python benchmarks/bridge_labels.py RUN BRIDGE --modality audio --split test

How often the caption of a sample names its label (the longest label that is in the caption), beside zero-shot
classification of the same samples, with each remedy for the gap between modalities.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from bind.bridge.bridge import Bridge
from bind.commands.bridge_remedies import named_label
from bind.data.datamodule import BindDataModule
from bind.evaluation.embed import embed_split
from bind.evaluation.label_sets import LabelSet
from bind.runs.parts import Parts
from bind.runs.run_config import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("bridge")
    parser.add_argument("--modality", required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--label-set", help="of the run; the first by default")
    options = parser.parse_args()
    run_dir, config = open_run(options.run)
    parts = Parts.load(run_dir, config, trust=[], device="cpu")
    binder = parts.binder.eval()
    bridge = Bridge.load(options.bridge, binder)
    sets = config["data"]["zero_shot"]
    name = options.label_set or next(iter(sets))
    label_set = LabelSet.of(name, sets[name], [])
    labels = list(label_set.classes)
    [source] = parts.datamodule.sources
    datamodule = BindDataModule({source.name: source}, binder.transforms, [], [options.modality])
    embedded = embed_split(datamodule, binder, options.split)
    samples = source.samples(options.split)
    rows = [r for r in embedded.rows[options.modality].tolist() if samples[r].label in labels]
    is_labelled = [samples[r].label in labels for r in embedded.rows[options.modality].tolist()]
    z_ND = embedded.z[options.modality][is_labelled]
    truth = [str(samples[r].label) for r in rows]
    z_KD = label_set.embed(lambda texts: binder.embed("text", texts))
    guesses = [labels[n] for n in (z_ND @ z_KD.T).argmax(dim=1).tolist()]
    print(f"{len(rows)} {options.modality} of {options.split}, {len(labels)} labels of {name}")
    print(f"zero-shot: {np.mean([a == b for a, b in zip(guesses, truth, strict=True)]):.3f}")
    for gap in bridge.gap.remedies_for(options.modality):
        captions = bridge.caption_vectors(options.modality, z_ND, gap=gap)
        named = [named_label(caption, labels) for caption in captions]
        share = np.mean([a == b for a, b in zip(named, truth, strict=True)])
        as_zero_shot = np.mean([a == b for a, b in zip(named, guesses, strict=True)])
        nothing = named.count(None)
        print(f"{gap}: caption names the label {share:.3f}, that of zero-shot {as_zero_shot:.3f}, none in {nothing}")
        print("  ", Counter(captions).most_common(3))


if __name__ == "__main__":
    main()
