"""Makes the language model that bind ships, and marks it: python benchmarks/toy_language_model.py OUT

A Llama of four layers learns the texts of `bind.bridge.toy_texts` about the training combinations of the toy world. It
is marked on the validation combinations: whether a caption says the facts before it and no others, and how often an
answer is right.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bind.bridge.toy_texts import all_words, draw_text, leave_facts_out, list_facts
from bind.data.sources.toy.world import FACTORS, ToySource, factor_words

END, PAD = "<|end|>", "<|pad|>"
VOCABULARY = 640
MAX_TOKENS = 256
WORD_FACTORS = {word: factor for factor, words in FACTORS.items() for word in words}


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer in which the words of the texts are single tokens; it spells any other."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END, PAD], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=MAX_TOKENS
    )


def make_model(tokenizer: PreTrainedTokenizerFast, width: int, num_layers: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def make_batch(
    tokenizer: PreTrainedTokenizerFast, combinations: np.ndarray, step: int, options: argparse.Namespace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, L) and labels (B, L): -100 on the facts and padding, of which nothing is learned."""
    rng = np.random.default_rng([options.seed, step])
    shares = options.share_captions, options.share_questions
    ids, labels = [], []
    for first, second in (draw_text(combinations, rng, *shares) for _ in range(options.batch_size)):
        a, b = tokenizer(first).input_ids, tokenizer(second).input_ids
        b = [*b, tokenizer.eos_token_id]
        if rng.random() < 0.05:
            a = []  # a caption or an answer by itself
        ids.append(torch.tensor(a + b))
        labels.append(torch.tensor([-100] * len(a) + b))
    return pad_sequence(ids, True, tokenizer.pad_token_id), pad_sequence(labels, True, -100)


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, options: argparse.Namespace) -> None:
    steps = options.steps
    combinations = np.unique(ToySource(num_train=415).factor_table("train"), axis=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.05, betas=(0.9, 0.98))
    warmup = 100
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warmup, 0.5 + 0.5 * np.cos(np.pi * n / steps))
    )
    started = time.perf_counter()
    for step in range(steps):
        ids_BL, labels_BL = make_batch(tokenizer, combinations, step, options)
        logits_BLV = model(ids_BL).logits
        loss = cross_entropy(logits_BLV[:, :-1].flatten(0, 1), labels_BL[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}, loss {loss.item():.4f}, {time.perf_counter() - started:.0f} s", flush=True)


@torch.no_grad()
def continue_text(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    ids_1L = torch.tensor([tokenizer(text).input_ids])
    ids = model.generate(ids_1L, attention_mask=torch.ones_like(ids_1L), max_new_tokens=24, do_sample=False)
    return str(tokenizer.decode(ids[0, ids_1L.shape[1] :], skip_special_tokens=True))


def mark(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, num_texts: int = 200) -> dict[str, float]:
    """Shares that are right, on combinations that it has not learned."""
    combinations = np.unique(ToySource(num_train=415).factor_table("val"), axis=0)
    rng = np.random.default_rng(2)
    right: dict[str, list[bool]] = {"caption says the facts and no others": []}
    for _ in range(num_texts):
        facts = leave_facts_out(factor_words(combinations[rng.integers(len(combinations))]), rng)
        words = continue_text(model, tokenizer, list_facts(facts, rng)).replace(",", " ").split()
        stated = {WORD_FACTORS[word]: word for word in words if word in WORD_FACTORS}
        right["caption says the facts and no others"].append(stated == facts)
        first, second = draw_text(combinations, rng)
        if second.startswith(" "):
            kind = "question about two things" if first.count(".\n") > 1 else "question about one thing"
            right.setdefault(kind, []).append(continue_text(model, tokenizer, first) == second)
    return {kind: float(np.mean(values)) for kind, values in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=Path, help="a folder that this script wrote, to go on from")
    parser.add_argument("--seed", type=int, default=1, help="of the texts")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--share-captions", type=float, default=0.5, help="of the texts")
    parser.add_argument("--share-questions", type=float, default=0.3, help="about one thing; the rest is about two")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--num-layers", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    options = parser.parse_args()
    if options.start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.start)
        model = LlamaForCausalLM.from_pretrained(options.start, dtype=torch.float32)
    else:
        combinations = np.unique(ToySource(num_train=415).factor_table("train"), axis=0)
        tokenizer = train_tokenizer(list(all_words(combinations)))
        model = make_model(tokenizer, options.width, options.num_layers)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    train(model, tokenizer, options)
    model.eval().half().save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    for kind, share in mark(model.float(), tokenizer).items():
        print(f"{kind}: {share:.3f}")
    digest = hashlib.sha256((options.out / "model.safetensors").read_bytes()).hexdigest()
    print(f"SHA-256 of model.safetensors: {digest}")


if __name__ == "__main__":
    main()
