"""The vLLM rollout engine, in the learner's process.

The same class serves a CPU and one GPU. Completions come back as token ids with the logprobs they
were sampled with (temperature included) and the version of the weights that made them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlreason.config import LoraSection, ModelSection
from rlreason.errors import ConfigError, TrainingStopped
from rlreason.protocols import PromptCodec
from rlreason.rollout.adapters import Adapters, adapter_options
from rlreason.rollout.environment import prepare_environment
from rlreason.rollout.memory import BLOCK_TOKENS, GpuShare, concurrent_sequences, plan_cache
from rlreason.rollout.parallel import reload_workers
from rlreason.rollout.reload import reload_worker, repack_worker
from rlreason.rollout.requests import EngineConfig, Request, RequestMaker
from rlreason.types import Problem, Rollout, RolloutGroup

log = logging.getLogger(__name__)

MIN_BATCHED_TOKENS = 4096
"""Prompt tokens of one forward on CPU at least; vLLM's own default."""


class EngineStart(NamedTuple):
    """What the engine starts from."""

    path: Path | str
    """Folder or hub name that vLLM loads."""
    version: int
    """Policy version of the weights at ``path``."""
    max_len: int
    """Longest prompt plus completion, in tokens."""
    eos_ids: tuple[int, ...]
    """Tokens that end a turn."""
    threads: int
    """CPU threads."""
    seeded: bool = True
    """Seed each request, so that a replay samples the same tokens."""
    engines: int = 1
    """Engines that share the work of a step."""
    lora: LoraSection | None = None
    """The shape of the adapters that will come, its targets listed; None: whole weights come."""
    adapter: Path | None = None
    """With ``lora``: folder of the adapter of ``version`` over ``path``; None: it has none."""
    gpu: GpuShare | None = None
    """What the memory plan leaves the engine; None on a CPU, and where it has a GPU alone."""
    transfer: str | None = None
    """Back end of vLLM's weight-transfer API by which weights will come; None: it is not used."""


class VllmEngine:
    """Keeps protocols.RolloutEngine on vLLM."""

    def __init__(self, config: EngineConfig, codec: PromptCodec, start: EngineStart) -> None:
        """Start the engine on ``start.path``; ``codec`` turns problems into token ids and back."""
        prepare_environment(start.threads)
        from vllm import LLM  # after the environment, which vLLM reads at import

        # At every reload it warns of modules that have no weights of their own to load.
        logging.getLogger("vllm.model_executor.model_loader.reload").setLevel(logging.ERROR)
        self.policy_version = start.version
        self._codec, self._rollout = codec, config.rollout
        self._seed, self._start = config.run.seed, start
        self._requests = RequestMaker(config)
        self._num_requests = 0
        self._known: dict[str, tuple[int, Request]] = {}
        self._asleep = False
        self._llm = LLM(str(start.path), **self._options(config.model))
        self._engine = self._llm.llm_engine
        self._adapters = Adapters(self._engine, start.lora) if start.lora else None
        if self._adapters is not None and start.adapter is not None:
            self._adapters.load_folder(start.adapter, version=start.version)

    def _options(self, model: ModelSection) -> dict[str, Any]:
        from transformers import AutoConfig

        concurrent = concurrent_sequences(self._rollout, engines=self._start.engines)
        plan = plan_cache(
            AutoConfig.from_pretrained(self._start.path),
            dtype_bytes=getattr(torch, model.dtype).itemsize,
            concurrent=concurrent,
            max_len=self._start.max_len,
        )
        log.info("engine: %s, at most %d tokens each", plan, self._start.max_len)
        derived: dict[str, Any] = {
            "skip_tokenizer_init": True,  # token ids in, token ids out
            "dtype": model.dtype,
            "max_model_len": self._start.max_len,
            "max_num_seqs": concurrent,
            "kv_cache_memory_bytes": plan.cache_bytes,
            "enforce_eager": not torch.cuda.is_available(),
            "enable_prefix_caching": True,
            "logprobs_mode": "processed_logprobs",
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "trust_remote_code": False,
            "seed": self._seed,
        }
        if not torch.cuda.is_available():
            derived |= {
                "block_size": BLOCK_TOKENS,
                # A seeded request whose prompt is split over two batches ends vLLM on a CPU
                # ("CPU Generator does not use offset"), so prompts are never split.
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": max(MIN_BATCHED_TOKENS, self._start.max_len),
            }
        elif self._start.gpu is not None:
            share = self._start.gpu
            derived |= {
                "kv_cache_memory_bytes": share.cache_bytes,
                # vLLM refuses to start where less is free, and its default is nearly all.
                "gpu_memory_utilization": max(0.01, share.utilization),
                "max_num_batched_tokens": share.batch_tokens,
                "enable_sleep_mode": share.sleeps,
            }
        if self._start.lora is not None:
            derived |= adapter_options(self._start.lora)
        if self._start.transfer is not None:
            derived["weight_transfer_config"] = {"backend": self._start.transfer}
        return derived | self._rollout.vllm

    def generate(
        self,
        problems: Sequence[Problem],
        *,
        step: int,
        first_slot: int = 0,
        with_greedy: bool = False,
    ) -> Iterator[RolloutGroup]:
        """Yield one training group per problem as it finishes; see protocols.RolloutEngine."""
        return self._run(
            self._requests.training(
                problems, step=step, first_slot=first_slot, with_greedy=with_greedy
            )
        )

    def evaluate(
        self, problems: Sequence[Problem], *, samples: int, greedy: bool
    ) -> Iterator[RolloutGroup]:
        """Yield groups of ``samples`` completions (one if greedy); equal seeds at every version."""
        return self._run(self._requests.evaluation(problems, samples=samples, greedy=greedy))

    def probe(
        self, problems: Sequence[Problem], *, version: int, tokens: int
    ) -> Iterator[RolloutGroup]:
        """Yield one short completion per problem; see protocols.RolloutEngine."""
        return self._run(self._requests.probe(problems, version=version, tokens=tokens))

    def _params(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=request.samples,
            temperature=request.temperature,
            max_tokens=request.max_tokens or self._rollout.max_completion_tokens,
            stop_token_ids=list(self._start.eos_ids),
            logprobs=0,  # the sampled token's alone
            flat_logprobs=True,
            detokenize=False,
            seed=request.seed if self._start.seeded else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _run(self, requests: Sequence[Request]) -> Iterator[RolloutGroup]:
        self.begin()
        self.add(list(enumerate(requests)))
        while self._known:
            yield from (group for _, group in self.advance())

    def begin(self) -> None:
        """Make ready for the requests of a phase; what an abandoned one left is dropped."""
        self._wake()
        if self._known:
            self._engine.abort_request(list(self._known))
            self._known.clear()
        # A resumed run skips the evaluation that had filled the cache. Both start from none, so
        # that the bits of a step cannot hang on whether vLLM computed a prompt or found it.
        self._engine.reset_prefix_cache()

    def add(self, tickets: Sequence[tuple[int, Request]]) -> None:
        """Take requests on; ``advance`` returns each one's group under its ticket."""
        for ticket, request in tickets:
            prompt = {"prompt_token_ids": list(self._codec.encode(request.problem))}
            self._num_requests += 1
            name = str(self._num_requests)
            self._known[name] = (ticket, request)
            adapter = self._adapters.request if self._adapters else None
            self._engine.add_request(name, prompt, self._params(request), lora_request=adapter)

    def advance(self) -> list[tuple[int, RolloutGroup]]:
        """One forward of everything under way; the groups that finished with it."""
        finished = []
        for output in self._engine.step():
            ticket, request = self._known.pop(output.request_id)
            finished.append((ticket, self._group(request, output)))
        return finished

    @property
    def is_busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._known)

    def _group(self, request: Request, output: Any) -> RolloutGroup:
        if self._adapters is not None:
            self._adapters.check(output)
        prompt_ids = tuple(output.prompt_token_ids)
        rollouts = []
        for completion in output.outputs:
            if completion.finish_reason not in ("stop", "length"):
                raise TrainingStopped(
                    f"problem {request.problem.key}: vLLM ended a completion with "
                    f"{completion.finish_reason!r}; see its messages above"
                )
            completion_ids = tuple(completion.token_ids)
            rollouts.append(
                Rollout(
                    prompt_ids=prompt_ids,
                    completion_ids=completion_ids,
                    completion=self._codec.decode(completion_ids),
                    rollout_logprobs=tuple(completion.logprobs.logprobs),
                    finish_reason=completion.finish_reason,
                    policy_version=self.policy_version,
                )
            )
        return RolloutGroup(
            problem=request.problem,
            slot=request.slot,
            rollouts=tuple(rollouts),
            greedy=request.greedy,
        )

    def sleep(self) -> None:
        """Give the GPU back, weights to the host and cache to nobody, until the next call.

        Raises:
            ConfigError: If the engine was not started to be able to.
        """
        if self._start.gpu is None or not self._start.gpu.sleeps:
            raise ConfigError(
                "the engine cannot sleep: vLLM's sleep mode needs a GPU, and is on only where the "
                "memory plan says that engine and learner do not fit together"
            )
        if not self._asleep:
            self._engine.sleep(level=1)
            self._asleep = True

    def _wake(self) -> None:
        if self._asleep:
            self._engine.wake_up()
            self._asleep = False

    def load_weights(self, tensors: Iterator[tuple[str, Tensor]], *, version: int) -> None:
        """Replace weights or adapter by ``tensors`` and drop the prefix cache of the old ones."""
        self._wake()
        if self._adapters is not None:
            self._adapters.load(dict(tensors), version=version)
        elif self._rollout.tensor_parallel > 1:
            reload_workers(self._engine, tensors, reload_worker)
        else:
            self._engine.collective_rpc(functools.partial(reload_worker, tensors=tensors))
        self._now_holds(version)

    def join_transfer(self, info: dict[str, Any]) -> None:
        """Meet the sender of weights, as vLLM's weight-transfer API has it."""
        self._llm.init_weight_transfer_engine({"init_info": info})

    def start_transfer(self) -> None:
        """Make ready for weights in parts."""
        self._wake()
        self._llm.start_weight_update()

    def receive(self, info: dict[str, Any]) -> None:
        """Take the part that ``info`` describes; it comes by the back end's own way."""
        self._llm.update_weights({"update_info": info})

    def finish_transfer(self, version: int) -> None:
        """All parts of ``version`` are there: use them, and drop what the old weights left."""
        self._llm.finish_weight_update()
        self._engine.collective_rpc(repack_worker)
        self._now_holds(version)

    def _now_holds(self, version: int) -> None:
        if not self._engine.reset_prefix_cache():
            raise TrainingStopped("vLLM kept prefix-cache blocks of the previous policy version")
        self.policy_version = version
