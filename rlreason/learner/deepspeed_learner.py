"""The DeepSpeed learner: one optimizer update per TrainBatch, whatever the micro-batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import deepspeed
import deepspeed.ops
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlreason.algorithms.aggregation import Denominators
from rlreason.algorithms.batching import MicroBatch, Row, collate, plan_microbatches
from rlreason.algorithms.losses import LOSSES
from rlreason.algorithms.spreading import empty_microbatch, plan_for_ranks
from rlreason.config import AlgorithmSection, LearnerSection
from rlreason.learner.coupling import couple
from rlreason.learner.engine_options import deepspeed_config
from rlreason.learner.frozen import FrozenPolicy
from rlreason.learner.lora import Adapter, EarlierAdapter
from rlreason.learner.objective import OtherLogprobs, Sums, microbatch_loss
from rlreason.learner.policy import PolicyScorer, max_shared_row
from rlreason.learner.schedule import learning_rate
from rlreason.learner.sharded import OptimizerState, trained_parameters
from rlreason.learner.staleness import MISMATCH_LIMITS, refuse_stale
from rlreason.learner.stats import update_stats
from rlreason.learner.weights import Weights
from rlreason.types import Coefficients, TrainBatch, TrainSequence, UpdateStats

REFERENCE_FILE, RANDOM_FILE = "reference.safetensors", "random.safetensors"


class DeepSpeedLearner:
    """Keeps protocols.Learner on a DeepSpeed engine."""

    def __init__(  # noqa: PLR0913  one argument per model and section
        self,
        policy: Any,
        tokenizer: Any,
        *,
        learner: LearnerSection,
        algorithm: AlgorithmSection,
        temperature: float,
        total_steps: int,
        reference: Any = None,
        teacher: Any = None,
        on_policy: bool = True,
    ) -> None:
        """Wrap ``policy``: a model, or the adapter that alone trains in one.

        The process group must exist (cluster/inline.py). ``on_policy`` promises that each step is
        sampled from the weights at its start, so that every update can compare; otherwise
        ``check_sampler`` is to be asked.
        """
        # DeepSpeed would compile its shared-memory collective for one to two minutes at the first
        # start on a CPU, and a kill while it does leaves a lock that every later start waits for.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.rank = torch.distributed.get_rank()
        self._config, self._total_steps = learner, total_steps
        self._recipe = self._algorithm = algorithm  # the latter with the step's coefficients
        adapter = policy if isinstance(policy, Adapter) else None
        self._model = model = policy if adapter is None else adapter.model
        self._tokenizer = tokenizer
        scorer = PolicyScorer(model, temperature=temperature, logits_mib=learner.logits_mib)
        dtype = next(model.parameters()).dtype
        self._on_policy = on_policy
        self._mismatch_limit = learner.mismatch_limit or MISMATCH_LIMITS[dtype]
        self._engine, *_ = deepspeed.initialize(
            model=scorer,
            optimizer=torch.optim.AdamW(
                [parameter for _, parameter in trained_parameters(model)],
                lr=learner.learning_rate,
                betas=learner.betas,
                weight_decay=learner.weight_decay,
                fused=True,  # one kernel per tensor instead of six
            ),
            config=deepspeed_config(learner, dtype, parameters=model.num_parameters()),
        )
        self._device = self._engine.device
        self._engine.enable_backward_allreduce = self._engine.zero_optimization_stage() > 0
        self._optimizer_state = OptimizerState(self._engine, model)
        self._weights = Weights(model, adapter, self._engine.zero_optimization_stage())
        self._frozen: dict[str, FrozenPolicy | EarlierAdapter] = {
            name: FrozenPolicy(
                frozen,
                device=self._device,
                temperature=temperature,
                logits_mib=learner.logits_mib,
            )
            for name, frozen in (("reference", reference), ("teacher", teacher))
            if frozen is not None
        }
        if adapter is not None and algorithm.kl:
            self._frozen["reference"] = EarlierAdapter(scorer)

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
        later = zip(batches[1:], plans[1:], strict=True)
        old = [None, *(self._old_logprobs(batch, plan) for batch, plan in later)]
        total = Sums.zero(self._device)
        norms, skipped = [], False
        for index, (batch, plan) in enumerate(zip(batches, plans, strict=True)):
            sums = self._accumulate(batch, plan, old[index])
            if index == 0 and self._on_policy:
                refuse_stale(
                    float(sums.mismatch_abs / sums.tokens), step=step, limit=self._mismatch_limit
                )
            norm, applied = self._apply(sums)
            norms.append(norm)
            skipped = skipped or not applied
            total = total.plus(sums)
        return update_stats(
            total, plans, rate, norms, skipped=skipped, ranks=self._engine.world_size
        )

    def _plan(self, sequences: Sequence[TrainSequence]) -> list[list[Row]]:
        return plan_microbatches(
            sequences,
            budget=self._config.tokens_per_microbatch,
            max_shared_row=max_shared_row(self._model.config),
        )

    def _microbatches(self, batch: TrainBatch) -> list[MicroBatch]:
        """This rank's share; each rank has as many, so that their collectives meet."""
        plans = plan_for_ranks(
            batch.sequences,
            ranks=self._engine.world_size,
            budget=self._config.tokens_per_microbatch,
            max_shared_row=max_shared_row(self._model.config),
            width=self._model.config.hidden_size,
            whole_groups=LOSSES[self._algorithm.loss].couple is not None,
        )
        return [
            collate(rows, self._device) if rows else empty_microbatch(self._device)
            for rows in plans[self.rank]
        ]

    def _old_logprobs(self, batch: TrainBatch, plan: Sequence[MicroBatch]) -> list[Tensor] | None:
        """None where neither the loss nor the comparison with the sampler asks for them.

        The whole batch decides, not this rank's share: all ranks must go forward as often.
        """
        sampled = any(sequence.rollout_logprobs is not None for sequence in batch.sequences)
        if not (sampled or LOSSES[self._algorithm.loss].reads_old):
            return None
        with torch.no_grad():
            return [self._engine(microbatch)[0] for microbatch in plan]

    def _accumulate(
        self, batch: TrainBatch, plan: Sequence[MicroBatch], old: Sequence[Tensor] | None
    ) -> Sums:
        """Forward and backward of every micro-batch; gradients add up, nothing is updated."""
        total = Sums.zero(self._device)
        kl_in_loss = self._algorithm.kl_in == "loss"
        coupling = couple(plan, old, lambda part: self._engine(part)[0], self._algorithm)
        for index, microbatch in enumerate(plan):
            logprobs, entropies = self._engine(
                microbatch, entropy_gradient=self._algorithm.entropy_bonus > 0
            )
            if microbatch.num_tokens == 0:
                # ZeRO counts on a backward of every rank; this one adds exactly nothing.
                self._engine.backward(logprobs.sum() * 0.0, scale_wrt_gas=False)
                continue
            loss, sums = microbatch_loss(
                microbatch,
                logprobs,
                entropies,
                algorithm=self._algorithm,
                denominators=Denominators.of(batch),
                others=OtherLogprobs(
                    old=old[index] if old else None,
                    reference=self._logprobs_of("reference", microbatch) if kl_in_loss else None,
                    teacher=self._logprobs_of("teacher", microbatch),
                ),
                coupling=coupling[index],
            )
            # DeepSpeed averages gradients over ranks; the denominator already counts all of them.
            self._engine.backward(loss * self._engine.world_size, scale_wrt_gas=False)
            total = total.plus(sums)
        return self._over_ranks(total)

    def _over_ranks(self, sums: Sums) -> Sums:
        """Every rank's sums together, so that all ranks judge and report the same."""
        values = torch.stack(tuple(sums))
        if self._engine.world_size > 1:
            torch.distributed.all_reduce(values)
        return Sums(*values)

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

    def check_sampler(self, sequences: Sequence[TrainSequence], *, version: int) -> float:
        """Compare with the engine's logprobs; see protocols.Learner. Every rank takes all."""
        gaps = []
        with torch.no_grad():
            for rows in self._plan(sequences):
                microbatch = collate(rows, self._device)
                gaps.append(self._engine(microbatch)[0] - microbatch.rollout_logprobs)
        gap = float(torch.cat(gaps).abs().mean())
        refuse_stale(gap, step=version, limit=self._mismatch_limit)
        return gap

    def refresh_reference(self) -> None:
        """Make the current weights the reference."""
        self._frozen["reference"].replace(self._weights.trained())

    def _apply(self, sums: Sums) -> tuple[float, bool]:
        """Clip and step; (gradient norm before clipping, whether the update was applied)."""
        if self._engine.zero_optimization_stage() == 0:
            if self._engine.world_size > 1:
                self._engine.buffered_allreduce_fallback()
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

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What an engine is given; see protocols.Learner. Every rank iterates."""
        return self._weights.published()

    def export_policy(self, folder: Path) -> None:
        """Write safetensors, config and tokenizer that transformers and vLLM load."""
        self._weights.export_policy(folder, self._tokenizer, writes=self.rank == 0)

    def export_adapter(self, folder: Path) -> None:
        """Write the adapter as peft loads it; nothing where there is none."""
        self._weights.export_adapter(folder, writes=self.rank == 0)

    def save(self, folder: Path) -> None:
        """Write optimizer, master weights, random state and a refreshed reference."""
        self._optimizer_state.save(folder, writes=self.rank == 0)
        if self.rank == 0:
            save_file({"torch": torch.get_rng_state()}, folder / RANDOM_FILE)
        if self.rank == 0 and "reference" in self._frozen:
            self._frozen["reference"].save(folder / REFERENCE_FILE)

    def load(self, folder: Path) -> None:
        """Continue from ``save``'s folder, on the policy exported with it.

        The caller has verified the manifest. The number of ranks and the ZeRO stage may be others.
        """
        self._optimizer_state.load(folder)
        torch.set_rng_state(load_file(folder / RANDOM_FILE)["torch"])
        if "reference" in self._frozen:
            self._frozen["reference"].load(folder / REFERENCE_FILE)

    def release_memory(self) -> None:
        """Give back what an update needed and the allocator keeps, so that an engine may wake."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights, of ``optimizer`` and of each frozen model of the loss."""
        frozen = {name: policy.digest() for name, policy in self._frozen.items()}
        return self._weights.digests() | {"optimizer": self._optimizer_state.digest()} | frozen
