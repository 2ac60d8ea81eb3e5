"""Label sets: the classes of a zero-shot classification, in words, and which sample is of which class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bind.evaluation.queries import describe_pool
from bind.metrics import class_embeddings
from bind.types import TextLookup, compose_name

SEPARATOR = "|"
"""Stands between the labels of a sample that has several."""

_KEYS = {"modalities", "templates", "classes", "multi_label"}


@dataclass(frozen=True)
class LabelSet:
    """`data.zero_shot.NAME` of a config.

    Attributes:
        classes: label → phrases for it; each is put into every template.
        multi_label: whether a sample may be of several classes at once, its labels joined by "|".

    Examples:
        >>> options = {"modalities": ["audio"], "templates": ["the sound of a {}"], "classes": ["dog", "rain"]}
        >>> label_set = LabelSet.of("sounds", options, labels=[])
        >>> label_set.prompts
        [['the sound of a dog'], ['the sound of a rain']]
        >>> label_set.members(["rain", "dog", None]).tolist()  # a sample a row, a class a column
        [[False, True], [True, False], [False, False]]
    """

    name: str
    modalities: tuple[str, ...]
    templates: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    multi_label: bool = False

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any], labels: Iterable[str | None]) -> LabelSet:
        """A label set from `{"modalities", "templates", "classes", "multi_label"}`; `labels` are those of the data.

        `classes` is `{label: [phrases]}`, a list of labels that are their own phrases, or None for all there are.

        Raises:
            ValueError: keys that are unknown or missing, a template without `{}`, a label without phrases.
        """
        place = f"data.zero_shot.{name}"
        if wrong := (set(options) - _KEYS) | ({"modalities", "templates", "classes"} - set(options)):
            raise ValueError(f"{place}: {', '.join(sorted(wrong))} unknown or missing; a set has {sorted(_KEYS)}")
        if unfilled := [t for t in options["templates"] if "{}" not in t]:
            raise ValueError(f"{place}.templates: {unfilled[0]!r} has no {{}} for the class; every template needs one")
        multi_label = bool(options.get("multi_label", False))
        classes = options["classes"]
        if classes is None:
            classes = sorted({single for label in labels for single in split_labels(label, multi_label)})
        if not isinstance(classes, Mapping):
            classes = {label: [label] for label in classes}
        if empty := [label for label, phrases in classes.items() if not phrases or isinstance(phrases, str)]:
            raise ValueError(f"{place}.classes: {empty[0]} needs a list of phrases, such as [{empty[0]}]")
        phrases = {compose_name(str(label)): tuple(words) for label, words in classes.items()}
        return cls(name, tuple(options["modalities"]), tuple(options["templates"]), phrases, multi_label)

    @property
    def prompts(self) -> list[list[str]]:
        """The texts of each class: every template with every phrase."""
        return [[t.replace("{}", phrase) for t in self.templates for phrase in p] for p in self.classes.values()]

    @property
    def fingerprint(self) -> str:
        """Hashes of classes and prompts, in their order."""
        return describe_pool(classes=[repr(list(self.classes))], prompts=[repr(self.prompts)])

    def embed(self, embed_text: Callable[[list[str]], Tensor]) -> Tensor:
        """One unit vector per class (K, D) on the CPU; see `bind.metrics.class_embeddings`."""
        return class_embeddings([embed_text(prompts).cpu() for prompts in self.prompts])

    def has_class_of(self, label: str | None) -> bool:
        """Whether a sample's label names one of the classes."""
        return any(single in self.classes for single in split_labels(label, self.multi_label))

    def members(self, labels: Sequence[str | None]) -> Tensor:
        """Bool (N, K): the classes that each sample is of.

        Raises:
            ValueError: where no sample is of any.
        """
        index = {label: i for i, label in enumerate(self.classes)}
        members_NK = torch.zeros(len(labels), len(index), dtype=torch.bool)
        for row, label in enumerate(labels):
            for single in split_labels(label, self.multi_label):
                if single in index:
                    members_NK[row, index[single]] = True
        if not bool(members_NK.any()):
            known = sorted({label for label in labels if label})[:5]
            raise ValueError(
                f"data.zero_shot.{self.name}: no sample has one of its labels {list(index)[:20]}; labels are {known}. "
                "Choose another set with prompts=NAME or change data.zero_shot"
            )
        return members_NK


def label_phrase(label: str) -> str:
    """The words for a label that has no others: `_` is read as a blank."""
    return label.replace("_", " ")


def split_labels(label: str | None, multi_label: bool) -> list[str]:
    """The labels of a sample: none, one, or those between "|"."""
    if not label:
        return []
    return label.split(SEPARATOR) if multi_label else [label]


def labels_in_order(label_sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The labels that sets name, in their order, each once.

    Examples:
        >>> few, more = {"classes": ["walking", "lying"]}, {"classes": {"lying": ["lies"], "running": ["runs"]}}
        >>> labels_in_order({"few": few, "more": more, "of the data": {"classes": None}})
        ['walking', 'lying', 'running']
    """
    return list(dict.fromkeys(str(label) for options in label_sets.values() for label in options["classes"] or ()))


DEFAULT_TEMPLATES = {
    "image": "a photo of {}",
    "video": "a video of {}",
    "audio": "the sound of {}",
    "depth": "a photo of {}",
    "thermal": "a thermal photo of {}",
}
"""Modality → the words around a label where no label set is given; of others the label stands alone."""


def known_texts(anchor: Any) -> Collection[str] | None:
    """The texts that an anchor has vectors of; None where it embeds any text."""
    if "text" not in anchor.modalities:
        return ()
    return anchor.known_texts if isinstance(anchor, TextLookup) else None


def default_label_sets(
    modalities: Sequence[str],
    labels: Sequence[str | None],
    known: Collection[str] | None = None,
    templates: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """A label set for each modality, made of the labels of the samples; none where fewer than two labels differ.

    Labels with "|" in them are several at once, and `_` in them is read as a blank. Where only `known` texts have
    vectors, the labels stand alone, and there is no set unless all of them are known. `templates` are those of the
    data's captions, if they have any; else `DEFAULT_TEMPLATES`.

    Examples:
        >>> default_label_sets(["audio"], ["dog", "door_knock", None])["audio"]["templates"]
        ['the sound of {}']
        >>> default_label_sets(["audio"], ["dog", "cat"], templates=["i hear a {}"])["audio"]["templates"]
        ['i hear a {}']
        >>> default_label_sets(["audio"], ["dog", "dog"])
        {}
        >>> default_label_sets(["audio"], ["dog", "door_knock"], known=["dog", "door knock"])["audio"]["templates"]
        ['{}']
    """
    multi_label = any(SEPARATOR in label for label in labels if label)
    classes = sorted({single for label in labels for single in split_labels(label, multi_label)})
    if len(classes) < 2:
        return {}
    phrases = {label: [label_phrase(label)] for label in classes}
    if known is not None:
        phrases = {label: [label] if label in known else words for label, words in phrases.items()}
        if not all(words[0] in known for words in phrases.values()):
            return {}
    return {
        modality: {
            "modalities": [modality],
            "templates": ["{}"] if known is not None else [*templates] or [DEFAULT_TEMPLATES.get(modality, "{}")],
            "classes": phrases,
            "multi_label": multi_label,
        }
        for modality in modalities
    }
