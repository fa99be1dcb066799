"""The DeepSpeed learner: one optimizer update per TrainBatch, whatever the micro-batches."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.ops
import torch
from torch import Tensor

from rlreason.algorithms.batching import MicroBatch, Row, collate, plan_microbatches
from rlreason.config import AlgorithmSection, LearnerSection
from rlreason.errors import CheckpointError, StalePolicyError
from rlreason.learner.frozen import FrozenPolicy
from rlreason.learner.hashing import hash_value
from rlreason.learner.objective import Sums, microbatch_loss
from rlreason.learner.policy import PolicyScorer, max_shared_row
from rlreason.learner.schedule import learning_rate
from rlreason.types import Coefficients, TrainBatch, TrainSequence, UpdateStats

REFERENCE_FILE = "reference.safetensors"
MISMATCH_LIMITS = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Mean |learner - rollout logprob| above which the sample is not of these weights. On equal
weights vLLM and transformers differ by 2e-7 to 6e-6 in float32 and 7e-4 to 0.04 in bfloat16."""


class DeepSpeedLearner:
    """Keeps protocols.Learner on a DeepSpeed engine."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        learner: LearnerSection,
        algorithm: AlgorithmSection,
        temperature: float,
        total_steps: int,
        reference: Any = None,
        teacher: Any = None,
    ) -> None:
        """Wrap ``model``; the process group must exist (cluster/inline.py)."""
        if torch.distributed.get_world_size() == 1:
            # DeepSpeed would compile its shared-memory collective for one to two minutes at the
            # first start on a CPU; one rank has nobody to share memory with.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self._config, self._total_steps = learner, total_steps
        self._recipe = self._algorithm = algorithm  # the latter with the step's coefficients
        self._model, self._tokenizer = model, tokenizer
        scorer = PolicyScorer(model, temperature=temperature, logits_mib=learner.logits_mib)
        self._dtype = next(model.parameters()).dtype
        self._engine, *_ = deepspeed.initialize(
            model=scorer,
            optimizer=torch.optim.AdamW(
                model.parameters(),
                lr=learner.learning_rate,
                betas=learner.betas,
                weight_decay=learner.weight_decay,
                fused=True,  # one kernel per tensor instead of six
            ),
            config=deepspeed_config(learner, self._dtype),
        )
        self._device = self._engine.device
        self._frozen = {
            name: FrozenPolicy(
                frozen,
                device=self._device,
                temperature=temperature,
                logits_mib=learner.logits_mib,
            )
            for name, frozen in (("reference", reference), ("teacher", teacher))
            if frozen is not None
        }

    def update(
        self,
        batches: Sequence[TrainBatch],
        *,
        step: int,
        coefficients: Coefficients | None = None,
    ) -> UpdateStats:
        """One optimizer update per batch; see protocols.Learner."""
        self._algorithm = self._recipe
        if coefficients is not None:
            self._algorithm = self._recipe.model_copy(
                update={"kl": coefficients.kl, "entropy_bonus": coefficients.entropy}
            )
        rate = learning_rate(self._config, step, self._total_steps)
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate
        plans = [self._microbatches(batch) for batch in batches]
        # Later updates of a step compare with the weights at its start; the first one is at them.
        old = [None, *(self._old_logprobs(plan) for plan in plans[1:])]
        total = Sums.zero(self._device)
        norms, skipped = [], False
        for index, (batch, plan) in enumerate(zip(batches, plans, strict=True)):
            sums = self._accumulate(batch, plan, old[index])
            if index == 0:
                self._refuse_stale(sums, step)
            norm, applied = self._apply(sums)
            norms.append(norm)
            skipped = skipped or not applied
            total = total.plus(sums)
        return self._stats(total, plans, rate, norms, skipped)

    def _plan(self, sequences: Sequence[TrainSequence]) -> list[list[Row]]:
        return plan_microbatches(
            sequences,
            budget=self._config.tokens_per_microbatch,
            max_shared_row=max_shared_row(self._model.config),
        )

    def _microbatches(self, batch: TrainBatch) -> list[MicroBatch]:
        return [collate(rows, self._device) for rows in self._plan(batch.sequences)]

    def _old_logprobs(self, plan: Sequence[MicroBatch]) -> list[Tensor]:
        with torch.no_grad():
            return [self._engine(microbatch)[0] for microbatch in plan]

    def _accumulate(
        self, batch: TrainBatch, plan: Sequence[MicroBatch], old: Sequence[Tensor] | None
    ) -> Sums:
        """Forward and backward of every micro-batch; gradients add up, nothing is updated."""
        total = Sums.zero(self._device)
        for index, microbatch in enumerate(plan):
            logprobs, entropies = self._engine(
                microbatch, entropy_gradient=self._algorithm.entropy_bonus > 0
            )
            loss, sums = microbatch_loss(
                microbatch,
                logprobs,
                entropies,
                algorithm=self._algorithm,
                num_loss_tokens=batch.num_loss_tokens,
                old_logprobs=old[index] if old else None,
                reference_logprobs=(
                    self._logprobs_of("reference", microbatch)
                    if self._algorithm.kl_in == "loss"
                    else None
                ),
            )
            # DeepSpeed averages gradients over ranks; the denominator already counts all of them.
            self._engine.backward(loss * self._engine.world_size, scale_wrt_gas=False)
            total = total.plus(sums)
        return total

    def _logprobs_of(self, name: str, microbatch: MicroBatch) -> Tensor | None:
        frozen = self._frozen.get(name)
        return None if frozen is None else frozen.logprobs(microbatch)

    def reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[tuple[float, ...]]:
        """Per sequence the reference's logprobs of its loss tokens, nats, in its order."""
        reference = self._frozen["reference"]
        values: dict[int, tuple[float, ...]] = {}  # by identity: micro-batches reorder them
        for rows in self._plan(sequences):
            remaining = iter(reference.logprobs(collate(rows, self._device)).tolist())
            for sequence in (sequence for row in rows for sequence in row):
                values[id(sequence)] = tuple(islice(remaining, sequence.num_loss_tokens))
        return [values[id(sequence)] for sequence in sequences]

    def refresh_reference(self) -> None:
        """Make the current weights the reference."""
        self._frozen["reference"].replace(self.named_tensors())

    def _refuse_stale(self, sums: Sums, step: int) -> None:
        """Stop before the optimizer moves if these weights did not make the sample."""
        gap = float(sums.mismatch_abs / sums.tokens)
        limit = self._config.mismatch_limit or MISMATCH_LIMITS[self._dtype]
        if gap > limit:  # a NaN gap is not stale: the update is skipped as non-finite instead
            raise StalePolicyError(
                f"step {step}: rollout logprobs differ from the learner's by {gap:.2e} nats on "
                f"average (limit {limit:.1e}): the engine did not sample from the learner's "
                f"weights of version {step}. Nothing was learned from this step. Check the weight "
                "publication (tied embeddings, a changed vLLM version), or raise "
                "learner.mismatch_limit if the two forwards are known to differ that much"
            )

    def _apply(self, sums: Sums) -> tuple[float, bool]:
        """Clip and step; (gradient norm before clipping, whether the update was applied)."""
        if self._engine.zero_optimization_stage() == 0:
            gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
            if not (math.isfinite(norm) and bool(torch.isfinite(sums.loss))):
                self._engine.zero_grad()
                return norm, False
            self._engine.step()
            return norm, True
        # ZeRO keeps gradients in partitions of its own and skips a non-finite update itself.
        self._engine.step()
        return float(self._engine.get_global_grad_norm() or 0.0), self._engine.was_step_applied()

    def _stats(
        self,
        total: Sums,
        plans: Sequence[Sequence[MicroBatch]],
        rate: float,
        norms: Sequence[float],
        skipped: bool,
    ) -> UpdateStats:
        computed = sum(microbatch.input_ids.numel() for plan in plans for microbatch in plan)
        real = sum(microbatch.num_tokens for plan in plans for microbatch in plan)
        tokens = float(total.tokens)
        return UpdateStats(
            loss=float(total.loss) / len(plans),
            grad_norm=sum(norms) / len(norms),
            learning_rate=rate,
            entropy=float(total.entropy) / tokens,
            clip_frac=float(total.clip) / tokens,
            mismatch_kl=float(total.mismatch_kl) / tokens,
            mismatch_abs=float(total.mismatch_abs) / tokens,
            kl=float(total.kl) / tokens,
            num_tokens=real,
            padding_frac=1 - real / computed,
            skipped=skipped,
        )

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Current weights under their Hugging Face names, tied tensors once."""
        for name, parameter in self._model.named_parameters():
            with self._gathered([parameter]):
                yield name, parameter.detach()

    def export_policy(self, folder: Path) -> None:
        """Write safetensors, config and tokenizer that transformers and vLLM load."""
        with self._gathered(list(self._model.parameters())):
            self._model.save_pretrained(folder, safe_serialization=True)
        self._tokenizer.save_pretrained(folder)

    def save(self, folder: Path) -> None:
        """Write optimizer, master weights, random state and a refreshed reference."""
        self._engine.save_checkpoint(
            str(folder),
            tag="engine",
            client_state={"torch_rng": torch.get_rng_state()},
            save_latest=False,
        )
        if "reference" in self._frozen:
            self._frozen["reference"].save(folder / REFERENCE_FILE)

    def load(self, folder: Path) -> None:
        """Continue from ``save``'s folder; the caller has verified its manifest."""
        path, client_state = self._engine.load_checkpoint(str(folder), tag="engine")
        if path is None:
            raise CheckpointError(f"{folder}: DeepSpeed finds no learner state in it")
        torch.set_rng_state(client_state["torch_rng"])
        if "reference" in self._frozen:
            self._frozen["reference"].load(folder / REFERENCE_FILE)

    def digests(self) -> dict[str, str]:
        """SHA-256 of ``parameters``, ``optimizer`` and of each frozen model of the loss."""
        parameters = hashlib.sha256()
        for name, tensor in sorted(self.named_tensors(), key=lambda item: item[0]):
            hash_value(parameters, name, tensor)
        optimizer = hashlib.sha256()
        hash_value(optimizer, "", self._engine.optimizer.state_dict())
        frozen = {name: policy.digest() for name, policy in self._frozen.items()}
        return {
            "parameters": parameters.hexdigest(),
            "optimizer": optimizer.hexdigest(),
        } | frozen

    def _gathered(self, parameters: list[Any]) -> AbstractContextManager[Any]:
        if self._engine.zero_optimization_stage() < 3:
            return nullcontext()
        return deepspeed.zero.GatheredParameters(parameters)


def deepspeed_config(learner: LearnerSection, dtype: torch.dtype) -> dict[str, Any]:
    """What DeepSpeed is told. ``learner.deepspeed`` wins over what is derived here.

    The caller owns the accumulation boundary: the number of micro-batches differs per step. In
    bfloat16 stage 0 becomes 1, which keeps float32 master weights and is the same on one rank.
    """
    low_precision = dtype == torch.bfloat16
    derived: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": learner.max_grad_norm,
        "zero_optimization": {
            "stage": max(learner.zero_stage, 1 if low_precision else 0),
            "overlap_comm": False,
        },
        "bf16": {"enabled": low_precision},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }
    return derived | learner.deepspeed
