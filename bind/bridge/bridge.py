"""The Bridge: from vectors of a binder's space to words of a frozen language model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bind.bridge.comparison import comparison_of
from bind.bridge.conversations import Conversation, make_question
from bind.bridge.dialogues import Dialogue, ReadyDialogue, tokenise
from bind.bridge.gap import Gap
from bind.bridge.inputs import MapperInputs, TokensOfValues, width_of_tokens
from bind.bridge.language_model import LanguageModel
from bind.bridge.origin import BridgeOrigin
from bind.bridge.places import CONFIG_NAME
from bind.bridge.remedies import NO_REMEDY, GapChoice
from bind.bridge.saved import ADAPTER_FOLDER, AboutBridge, read_about, read_bridge_weights, write_about
from bind.bridge.writing import write_after
from bind.build import build, locate_class
from bind.encoders.lora import load_adapter, save_adapter
from bind.files.reading import require_regular_file
from bind.files.size import SizeLimit, read_shapes
from bind.files.writing import open_folder_atomically
from bind.model.binder import Binder
from bind.model.frozen import weights_fingerprint
from bind.model.tokens import embed_token_items
from bind.terminal import printable_errors
from bind.types import Modality

BATCH_SIZE = 64
MAX_TOKENS = 40
"""Of a caption or an answer."""
MLP = {"_target_": "bind.bridge.mappers.MLPMapper", "num_tokens": 6}
NO_GAP = (
    "the remedies move vectors, and this mapper reads tokens, of the modality that it learned of: there is no gap; "
    "leave gap= out"
)
NOT_IN_FILE = ("dim", "hidden_size", "scale", "num_token_features")
"""Arguments of a mapper that space, encoder and language model decide."""


class Bridge:
    """Captions and answers about whatever a binder embeds.

    Args:
        binder: of the space.
        lm: stays frozen, but for an adapter.
        mapper: class and options of the mapper, see `bind.bridge.mappers`. One with a `modality` reads the tokens of
            that one's encoder, and this bridge speaks of it alone; others read vectors, of every modality.
        gap: between modalities, and what is done about it.
        lora: rank of an adapter of the language model, None without one.
        origin: what it is made of, so that it can say so over another run's binder.

    Raises:
        ValueError: for a mapper that can't be built, tokens that no encoder gives, or an adapter that can't be put in.

    Examples:
        >>> import tempfile
        >>> binder = Binder.from_config({
        ...     "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        ...     "modalities": [], "encoder": {}, "head": {}, "transform": {},
        ... })
        >>> bridge = Bridge(binder, LanguageModel.load("toy"))
        >>> [isinstance(caption, str) for caption in bridge.caption("text", ["a red star"])]
        [True]
        >>> loaded = Bridge.load(bridge.save(tempfile.mkdtemp()), binder)
        >>> loaded.ask("What shape is it?", text="a red star") == bridge.ask("What shape is it?", text="a red star")
        True
    """

    def __init__(
        self,
        binder: Binder,
        lm: LanguageModel,
        *,
        mapper: Mapping[str, Any] | None = None,
        gap: Gap | None = None,
        lora: int | None = None,
        facts: Mapping[str, Any] | None = None,
        origin: BridgeOrigin | None = None,
    ) -> None:
        self.binder, self.lm, self.lora, self.origin = binder, lm, lora, origin
        self.mapper_config = dict(mapper or MLP)
        self.gap = gap or Gap()
        self.facts = dict(facts or {})
        """How it was trained and what came of it, plain values."""
        if lora is not None:
            lm.add_adapter(lora)
        self.mapper: nn.Module = build(self.mapper_config, "mapper", **self._known_arguments())
        self.mapper.to(lm.device).eval()
        if self.token_modality is not None and (refused := self.gap.remedies - {NO_REMEDY}):
            raise ValueError(f"gap={min(refused)}: {NO_GAP}")

    def _known_arguments(self) -> dict[str, Any]:
        """The arguments of the mapper that space, encoder and language model decide, those that it takes."""
        taken = inspect.signature(locate_class(str(self.mapper_config.get("_target_")), "mapper")).parameters
        known = {"dim": self.binder.dim, "hidden_size": self.lm.hidden_size, "scale": self.lm.embedding_scale}
        known = {name: value for name, value in known.items() if name in taken}
        if "num_token_features" in taken:
            known["num_token_features"] = width_of_tokens(self.binder, self.mapper_config.get("modality"))
        return known

    @property
    def token_modality(self) -> Modality | None:
        """The modality whose tokens the mapper reads; None for one that reads vectors."""
        return self.mapper_config.get("modality")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What can be captioned and asked about."""
        return self.binder.modalities if self.token_modality is None else (self.token_modality,)

    def require_readable(self, modality: Modality) -> None:
        """Raise ValueError for a modality that is not among `modalities`, with those that are."""
        if modality in self.modalities:
            return
        if self.token_modality is None:
            raise ValueError(f"no encoder for {modality!r}; this binder knows {self.modalities}")
        raise ValueError(
            f"this bridge reads the tokens of {self.token_modality} alone, and {modality} was given: a bridge with "
            "mapper=mlp or mapper=transformer speaks of every modality of the run"
        )

    def embed(self, modality: Modality, values: Sequence[Any], gap: GapChoice = None) -> MapperInputs:
        """What the mapper reads of files or values of one modality: vectors (N, D) near to texts, or tokens.

        Raises:
            ValueError: for a modality that it does not read, a file that can't be read, or no such remedy.
        """
        self.require_readable(modality)
        if self.token_modality is None:
            return self.gap.bring_near(modality, self.binder.embed(modality, values, BATCH_SIZE), gap)
        self.refuse_remedy(gap)
        return TokensOfValues.of(self.binder, modality, list(values))

    def embed_items(self, modality: Modality, items: list[Any], gap: GapChoice = None) -> MapperInputs:
        """As `embed`, of what the modality's transform gave of values."""
        self.require_readable(modality)
        if self.token_modality is None:
            return self.gap.bring_near(modality, self.binder.embed_items(modality, items), gap)
        self.refuse_remedy(gap)
        return embed_token_items(self.binder, modality, items)

    def near_texts(self, modality: Modality, z_ND: Tensor, gap: GapChoice = None) -> Tensor:
        """Unit vectors (N, D) that the binder gave, as the mapper reads them.

        Raises:
            ValueError: where it reads tokens, or for no such remedy.
        """
        if self.token_modality is not None:
            raise ValueError(f"this bridge reads the tokens of {self.token_modality}, not vectors: give it the values")
        return self.gap.bring_near(modality, z_ND, gap)

    def refuse_remedy(self, gap: GapChoice) -> None:
        """Raise ValueError for a choice that would move vectors, where the mapper reads tokens."""
        if self.token_modality is not None and (remedy := self.gap.remedy_of(self.token_modality, gap)) != NO_REMEDY:
            raise ValueError(f"gap={remedy}: {NO_GAP}")

    @property
    def num_soft_tokens(self) -> int:
        """K, soft tokens of a vector."""
        num_tokens: Any = self.mapper.num_tokens
        return int(num_tokens)

    def ready(self, dialogues: Sequence[Dialogue], max_answer_tokens: int | None = None) -> list[ReadyDialogue]:
        """Dialogues in tokens, see `tokenise`."""
        comparison = comparison_of(self.mapper)
        num_comparison_tokens = 0 if comparison is None else comparison.num_tokens
        return [
            tokenise(self.lm, dialogue, self.num_soft_tokens, max_answer_tokens, num_comparison_tokens)
            for dialogue in dialogues
        ]

    def caption(
        self,
        modality: Modality,
        values: Sequence[Any],
        *,
        gap: GapChoice = None,
        max_tokens: int = MAX_TOKENS,
        num_beams: int = 1,
    ) -> list[str]:
        """A caption of each of these files or values of one modality, deterministic.

        Args:
            gap: `noise`, `mean`, `captions` or `memory` in place of the bridge's own remedy, see `bind.bridge.gap`; a
                mapping for some modalities.
            max_tokens: a caption that does not end is cut there.
            num_beams: captions that are followed at a time; 1: the likeliest word at each place.

        Raises:
            ValueError: for a modality that the binder does not embed, a file that can't be read, or no such remedy.
        """
        inputs = self.embed(modality, values, gap)
        return self.caption_inputs(inputs, max_tokens=max_tokens, num_beams=num_beams)

    def caption_vectors(
        self,
        modality: Modality,
        z_ND: Tensor,
        *,
        gap: GapChoice = None,
        max_tokens: int = MAX_TOKENS,
        num_beams: int = 1,
    ) -> list[str]:
        """As `caption`, of unit vectors (N, D) that the binder gave."""
        inputs = self.near_texts(modality, z_ND, gap)
        return self.caption_inputs(inputs, max_tokens=max_tokens, num_beams=num_beams)

    def caption_inputs(self, inputs: MapperInputs, *, max_tokens: int = MAX_TOKENS, num_beams: int = 1) -> list[str]:
        """As `caption`, of what `embed` gave."""
        ready = self.ready([Dialogue((row,), (("", None),)) for row in range(len(inputs))])
        return self.write_after(inputs, ready, max_tokens, num_beams)

    def ask(
        self, question: str, *, gap: GapChoice = None, max_tokens: int = MAX_TOKENS, num_beams: int = 1, **values: Any
    ) -> str:
        """The answer to a question about files or values, `image="a.png"`; of several of one modality a list.

        They are read in the order in which they are given, or in that of placeholders: "<image> <audio> Is this …?".

        Raises:
            ValueError: as `caption`, and for an empty question or one about nothing.
        """
        conversation = make_question(question, values, self.binder.modalities)
        return self.answer([conversation], gap=gap, max_tokens=max_tokens, num_beams=num_beams)[0]

    def ask_vectors(
        self,
        question: str,
        modalities: Sequence[Modality],
        z_ND: Tensor,
        *,
        gap: GapChoice = None,
        max_tokens: int = MAX_TOKENS,
        num_beams: int = 1,
    ) -> str:
        """As `ask`, about unit vectors (N, D) that the binder gave of values of these modalities."""
        near_N = [self.near_texts(m, z_ND[n : n + 1], gap) for n, m in enumerate(modalities)]
        inputs = torch.cat(near_N) if near_N else z_ND
        return self.ask_inputs(question, inputs, max_tokens=max_tokens, num_beams=num_beams)

    def ask_inputs(
        self, question: str, inputs: MapperInputs, *, max_tokens: int = MAX_TOKENS, num_beams: int = 1
    ) -> str:
        """As `ask`, about what `embed` gave, in its order."""
        if not question.strip() or not len(inputs):
            raise ValueError("a question needs words, and something that it is about")
        ready = self.ready([Dialogue(tuple(range(len(inputs))), ((" ".join(question.split()), None),))])
        return self.write_after(inputs, ready, max_tokens, num_beams)[0]

    def answer(
        self,
        conversations: Sequence[Conversation],
        *,
        gap: GapChoice = None,
        max_tokens: int = MAX_TOKENS,
        num_beams: int = 1,
    ) -> list[str]:
        """The answer to the last question of each conversation."""
        inputs, dialogues = self.embed_conversations(conversations, gap=gap)
        dialogues = [Dialogue(d.rows, (*d.turns[:-1], (d.turns[-1][0], None))) for d in dialogues]
        return self.write_after(inputs, self.ready(dialogues), max_tokens, num_beams)

    def embed_conversations(
        self, conversations: Sequence[Conversation], *, gap: GapChoice = None
    ) -> tuple[MapperInputs, list[Dialogue]]:
        """What the mapper reads of all inputs, each value once, see `embed`, and the dialogues about them."""
        places: dict[Modality, dict[str, tuple[int, Any]]] = {}
        for conversation in conversations:
            for modality, value in conversation.inputs:
                of_modality = places.setdefault(modality, {})
                of_modality.setdefault(_name_value(value), (len(of_modality), value))
        starts: dict[Modality, int] = {}
        parts: list[Any] = []
        for modality, of_modality in places.items():
            starts[modality] = sum(len(part) for part in parts)
            parts.append(self.embed(modality, [value for _, value in of_modality.values()], gap))
        dialogues = [
            Dialogue(tuple(starts[m] + places[m][_name_value(value)][0] for m, value in one.inputs), one.turns)
            for one in conversations
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts), dialogues

    def write_after(
        self, inputs: MapperInputs, ready: Sequence[ReadyDialogue], max_tokens: int = MAX_TOKENS, num_beams: int = 1
    ) -> list[str]:
        """What the language model writes after dialogues, see `bind.bridge.writing`."""
        return write_after(self.lm, self.mapper, inputs, ready, max_tokens=max_tokens, num_beams=num_beams)

    @property
    def encoder_fingerprint(self) -> str | None:
        """Of the weights of the encoder whose tokens are read; None where vectors are."""
        return None if self.token_modality is None else weights_fingerprint(self.binder.encoders[self.token_modality])

    def save(self, folder: Path | str) -> Path:
        """Write weights (safetensors) and description for `Bridge.load`, and an adapter in peft's layout.

        The language model goes by name and fingerprint; one that was loaded from a local folder is copied.
        """
        weights = {f"mapper.{name}": x for name, x in self.mapper.state_dict().items()}
        weights |= self.gap.weights
        about = AboutBridge(
            anchor_name=Path(self.binder.anchor.name).name
            if self.binder.anchor.name.startswith("/")
            else self.binder.anchor.name,
            anchor_fingerprint=self.binder.anchor.fingerprint,
            dim=self.binder.dim,
            lm=self.lm.name,
            lm_fingerprint=self.lm.fingerprint,
            hidden_size=self.lm.hidden_size,
            mapper={name: value for name, value in self.mapper_config.items() if name not in NOT_IN_FILE},
            lora=self.lora,
            gap=self.gap.remedy,
            gap_of_modality=dict(self.gap.of_modality),
            facts=self.facts,
            encoder_fingerprint=self.encoder_fingerprint,
            origin={} if self.origin is None else self.origin.as_json(),
        )
        with open_folder_atomically(Path(folder)) as partial:
            if self.lora is not None:
                save_adapter(self.lm.model, partial / ADAPTER_FOLDER)
            write_about(partial, about, weights)
        return Path(folder)

    @classmethod
    @printable_errors()
    def load(cls, folder: Path | str, binder: Binder) -> Bridge:
        """Load what `save` wrote, over a binder of the same space; a warning where it was made of another one.

        Raises:
            ValueError: where there is nothing to load, a file is damaged, the binder is of another space, or the
                language model, or the encoder whose tokens it reads, is not the one that it was trained with.
        """
        folder = Path(folder).expanduser()
        about = read_about(folder)
        if about.anchor_fingerprint != binder.anchor.fingerprint:
            raise ValueError(
                f"bridge={folder} was made for the space of {about.anchor_name} ({about.dim} dimensions, fingerprint "
                f"{about.anchor_fingerprint[:12]}), and this binder's is that of {binder.anchor.name} ({binder.dim}, "
                f"{binder.anchor.fingerprint[:12]}): make a bridge for it with bindspace bridge"
            )
        modality = about.mapper.get("modality")
        if modality is not None:
            width_of_tokens(binder, modality)
            if weights_fingerprint(binder.encoders[modality]) != about.encoder_fingerprint:
                raise ValueError(
                    f"bridge={folder} reads the tokens of another {modality} encoder than this binder's: name the run "
                    "that it was made for, or make a bridge for this one with bindspace bridge"
                )
        lm = LanguageModel.load(about.lm)
        if lm.hidden_size != about.hidden_size or lm.fingerprint != about.lm_fingerprint:
            raise ValueError(
                f"bridge={folder} was trained with another {about.lm}: width {about.hidden_size} and fingerprint "
                f"{about.lm_fingerprint[:12]}, here {lm.hidden_size} and {lm.fingerprint[:12]}; get the same weights "
                "and tokenizer, or make the bridge again"
            )
        weights = read_bridge_weights(folder)
        origin = BridgeOrigin.read(about.origin, str(folder / CONFIG_NAME))
        gap = Gap.of_weights(weights, about.gap, about.gap_of_modality, run=origin.run if origin else "")
        require_regular_file(folder / "bridge.safetensors")
        try:
            with SizeLimit(read_shapes(folder / "bridge.safetensors")):
                bridge = cls(
                    binder, lm, mapper=about.mapper, gap=gap, lora=about.lora, facts=about.facts, origin=origin
                )
            of_mapper = {n.removeprefix("mapper."): x for n, x in weights.items() if n.startswith("mapper.")}
            bridge.mapper.load_state_dict(of_mapper)
        except RuntimeError as error:
            raise ValueError(f"{folder}: its weights and its description don't belong together: {error}") from error
        if about.lora is not None:
            load_adapter(lm.model, folder / ADAPTER_FOLDER, "lm")
        if origin is not None:
            origin.warn_if_other(folder, binder)
        return bridge


def _name_value(value: Any) -> str:
    """What tells values apart: texts and paths by what they say, others by being the same object."""
    return str(value) if isinstance(value, str | Path) else f"{type(value).__name__} {id(value)}"
