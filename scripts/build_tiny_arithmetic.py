r"""Builds ``rlreason/models/tiny-arithmetic``, the base model of the default run, or checks it.

    python scripts/build_tiny_arithmetic.py             # supervised training, then the check
    python scripts/build_tiny_arithmetic.py --check     # accuracies of the model as shipped

The model is a 129,408-parameter Llama that reads problems of ``rlreason.data.arithmetic`` and was
taught flawed solutions (``flawed_solutions.py``). One thread and one seed: the same machine and
torch build make the same weights.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import solutions_by_length
import torch
import typer
from check_tiny_arithmetic import GROUPS, MAX_NEW_TOKENS, NUM_SAMPLES, check_all, table
from flawed_solutions import FLAWED_MIX, MOSTLY_RIGHT_MIX, Share, make_example
from tiny_tokenizer import MAX_POSITIONS, make_tokenizer
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CARD = Path(__file__).with_name("tiny_arithmetic_card.md")
FOLDER = Path(__file__).resolve().parent.parent / "rlreason" / "models" / "tiny-arithmetic"
BATCH_SIZE = 32
WARMUP_STEPS = 50
DECAY_FRAC = 0.4
"""The learning rate falls linearly to 0 over this last part of a stage."""
IGNORED = -100
"""Label of tokens that carry no loss."""


class Stage(NamedTuple):
    """One supervised training run over a mix."""

    name: str
    mix: Sequence[Share]
    steps: int
    learning_rate: float
    make: Callable[[Share, random.Random], tuple[str, str]] = make_example
    """Writes one example of a share."""


STAGES = (
    Stage("mostly right solutions", MOSTLY_RIGHT_MIX, 2500, 4e-3),
    Stage("the flawed mix", FLAWED_MIX, 800, 2e-3),
)

LENGTHS_STAGE = Stage(
    "right, short and long solutions",
    solutions_by_length.MIX,
    350,
    2e-3,
    make=solutions_by_length.make_example,
)
"""On top of the shipped model; its product is the base of label_free.py and is not shipped."""


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained policy."""
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=MAX_POSITIONS,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            **tokens,
        )
    )
    model.generation_config = GenerationConfig(**tokens)
    return model


def encode(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[tuple[str, str]]
) -> tuple[Tensor, Tensor]:
    """Token ids and labels [batch, seq], padded on the right; loss on completions and ``<eos>``."""
    rows, labels = [], []
    for prompt, completion in examples:
        prompt_ids = tokenizer.encode(f"<bos>{prompt}\n")
        completion_ids = tokenizer.encode(f"{completion}<eos>")
        rows.append(prompt_ids + completion_ids)
        labels.append([IGNORED] * len(prompt_ids) + completion_ids)
    width = max(map(len, rows))
    return (
        torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows]),
        torch.tensor([row + [IGNORED] * (width - len(row)) for row in labels]),
    )


def draw_batches(stage: Stage, rng: random.Random) -> Iterator[list[tuple[str, str]]]:
    """Endless batches of fresh examples."""
    weights = [share.weight for share in stage.mix]
    while True:
        shares = rng.choices(stage.mix, weights, k=BATCH_SIZE)
        yield [stage.make(share, rng) for share in shares]


def learning_rate_at(step: int, stage: Stage) -> float:
    """Warm-up, plateau, linear decay to 0."""
    rising = min(1.0, (step + 1) / WARMUP_STEPS)
    falling = min(1.0, (stage.steps - step) / (DECAY_FRAC * stage.steps))
    return stage.learning_rate * min(rising, falling)


def train_stage(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage, rng: random.Random
) -> None:
    """Train ``model`` in place on ``stage.mix``."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    begin = time.monotonic()
    for step, examples in zip(range(stage.steps), draw_batches(stage, rng), strict=False):
        token_ids, labels = encode(tokenizer, examples)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, stage)
        loss = model(input_ids=token_ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            elapsed = time.monotonic() - begin
            left = elapsed / (step + 1) * (stage.steps - step - 1)
            print(
                f"{stage.name} {step + 1:>4}/{stage.steps}  loss {loss.item():.3f}  "
                f"{elapsed:.0f} s, {left:.0f} s left",
                flush=True,
            )


def write_card(folder: Path, seed: int, checks: str) -> None:
    """Fill the model card in; replaced by hand, as it is full of braces."""
    values = {
        "seed": str(seed),
        "stages": " and ".join(
            f"{stage.steps} steps at a peak learning rate of {stage.learning_rate} on {stage.name}"
            for stage in STAGES
        ),
        "max_new_tokens": str(MAX_NEW_TOKENS),
        "samples": str(NUM_SAMPLES),
        "table": checks,
        **{
            name.replace(" ", "_"): ", ".join(f"{task}-{digits}" for task, digits in pools)
            for name, pools in GROUPS.items()
        },
    }
    card = CARD.read_text(encoding="utf-8")
    for name, value in values.items():
        card = card.replace(f"{{{name}}}", value)
    (folder / "README.md").write_text(card, encoding="utf-8")


def build(folder: Path, seed: int, scale: float) -> None:
    """Train through all stages and save model and tokenizer in ``folder``."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    for stage in STAGES:
        train_stage(model, tokenizer, stage._replace(steps=int(stage.steps * scale)), rng)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters in {folder}")


def build_lengths(folder: Path, seed: int) -> None:
    """Teach the shipped model solutions whose length tells right from wrong; save in ``folder``."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM.from_pretrained(FOLDER)
    train_stage(model, tokenizer, LENGTHS_STAGE, random.Random(seed))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(
    folder: Annotated[Path, typer.Option(help="Where the model lies or goes.")] = FOLDER,
    check: Annotated[bool, typer.Option("--check", help="Check only; build nothing.")] = False,
    seed: Annotated[int, typer.Option(help="Seeds weights, problems and flaws.")] = 1,
    scale: Annotated[float, typer.Option(help="Factor on all steps, for a trial.")] = 1.0,
) -> None:
    """Build the model and check it, or check what is there."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if not check:
        build(folder, seed, scale)
    checks = table(check_all(folder))
    print(checks)
    if not check:
        write_card(folder, seed, checks)


if __name__ == "__main__":
    typer.run(main)
