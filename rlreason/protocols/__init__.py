"""Every seam of the system. A part that keeps one of these contracts fits; nothing is inherited.

Curricula and rewards are the two that users write: see ``curricula/README.md`` and
``rewards/README.md``. The others are kept by the adapters that ``build.py`` puts together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rlreason.protocols.trials import TrialBackend as TrialBackend
from rlreason.protocols.writers import Writer as Writer
from rlreason.types import (
    Coefficients,
    Problem,
    RolloutGroup,
    Score,
    ScoredGroup,
    TrainBatch,
    TrainSequence,
    UpdateStats,
)

if TYPE_CHECKING:
    from torch import Tensor


class Reward(Protocol):
    """Scores one completion. Runs in a worker process; must be deterministic and pure.

    The completion is untrusted text: whatever it holds, return a score. Raise ``DataError`` when
    *our* data is wrong (no answer where one is needed): the run then stops and names the problem.
    A class may declare ``Config``, a pydantic model of its options; it is then built as
    ``cls(Config(**options))``, else as ``cls(**options)``. It may declare ``needs_answer = True``:
    a row without an answer is then a bad row of its pool; ``needs_answer = False`` says that the
    reward does not look at answers at all. It may have a method ``check_problem(problem)`` that
    raises ``DataError``: every problem is then checked before the run starts. It may declare
    ``needs_tokens = True``: it is then called with the sampled token ids too,
    ``reward(problem, completion, completion_ids=ids)``, the end-of-turn token included. It may have
    a method ``example(problem) -> str``, a completion that scores ``bounds[1]``: ``rlreason reward
    test`` starts from it, and calls it with wrong answers too, to get them in the same form.
    """

    bounds: tuple[float, float]
    """Lowest and highest value. The lowest is what a timeout or a crash scores."""

    def __call__(self, problem: Problem, completion: str) -> float | Score:
        """Score ``completion`` as an answer to ``problem``; a Score adds parts and an outcome."""
        ...


@runtime_checkable
class GroupReward(Protocol):
    """Scores all completions of a problem at once, where one's value depends on the others.

    All that is said of ``Reward`` holds for it, with two differences: a time limit, a crash or an
    exception is the whole group's, and it cannot score held-out completions, which come alone. A
    class with ``score_group`` is taken for one. ``needs_tokens`` adds ``completion_ids=``, one
    tuple for each completion.
    """

    bounds: tuple[float, float]
    """As for ``Reward``."""

    def score_group(self, problem: Problem, completions: Sequence[str]) -> Sequence[float | Score]:
        """One score for each completion, in their order."""
        ...


class Curriculum(Protocol):
    """Decides how often each pool is drawn. Deterministic: chance lives in the pools alone.

    Built as ``cls(pools, config)`` where ``pools`` maps each pool, in the order of the recipe, to
    its ``PoolFacts``, and ``config`` is ``cls.Config`` filled from the recipe's ``curriculum``
    section.
    """

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe, summing to 1."""
        ...

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Take in every scored group of a step: before any filter, never evaluation data."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that ``weights`` depends on, as JSON-ready values.

        What belongs to one pool stands in ``pools`` under the pool's name. With that a run can
        continue after ``run.on_pool_change = adapt``: a kept pool keeps its entry, and a new one
        gets the entry that it has in a curriculum that has seen nothing.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``; pools that differ from this run's are an error naming them."""
        ...

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> the terms behind its weight, for the log ("why this pool")."""
        ...


class ProblemSource(Protocol):
    """Reads or generates the problems of one pool."""

    def read(self) -> Iterable[Mapping[str, Any]]:
        """Raw rows in a stable order: ``prompt``, and optionally ``id``, ``answer``, ``metadata``.

        ``origin`` may say where a row stands ("problems.jsonl line 17"), for messages; a row that
        cannot be read has ``fault``, a pair (kind, detail), in place of the others.
        Rows are checked by ``data/problems.py``; a source only maps its format onto these keys.
        """
        ...


class ProblemPools(Protocol):
    """Seeded, resumable draws of training problems."""

    def draw(
        self, step: int, count: int, weights: Mapping[str, float], *, refill: int = 0
    ) -> list[Problem]:
        """``count`` training problems; the ``refill``-th draw of a step has its own randomness."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Cursors, as JSON-ready values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        ...


class PromptCodec(Protocol):
    """Between problems and token ids: the only place that knows chat template and tokenizer."""

    def encode(self, problem: Problem) -> tuple[int, ...]:
        """Prompt token ids, chat template applied once."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Completion text without special tokens."""
        ...


class RolloutEngine(Protocol):
    """Samples completions from the policy version that it was last given."""

    policy_version: int

    def generate(
        self,
        problems: Sequence[Problem],
        *,
        step: int,
        first_slot: int = 0,
        with_greedy: bool = False,
    ) -> Iterator[RolloutGroup]:
        """Yield one group per problem as it finishes, in any order, sampled for training.

        Slots count up from ``first_slot``, so that the draws of one step share none of them.
        ``with_greedy`` adds a group of one greedy completion per problem, under the same slot.
        """
        ...

    def evaluate(
        self, problems: Sequence[Problem], *, samples: int, greedy: bool
    ) -> Iterator[RolloutGroup]:
        """Yield groups of ``samples`` completions (one if greedy) for evaluation."""
        ...

    def probe(
        self, problems: Sequence[Problem], *, version: int, tokens: int
    ) -> Iterator[RolloutGroup]:
        """Yield one completion per problem, cut at ``tokens``, sampled as for training.

        ``version`` seeds it, so that no two versions are asked for the same random numbers.
        """
        ...

    def load_weights(self, tensors: Iterator[tuple[str, Tensor]], *, version: int) -> None:
        """Replace weights or adapter by ``tensors`` and drop every cache of the old ones."""
        ...


class Scorer(Protocol):
    """Scores groups in worker processes while the engine still samples."""

    def score(self, groups: Iterable[RolloutGroup]) -> list[tuple[RolloutGroup, tuple[Score, ...]]]:
        """Every group with its scores, sorted by slot; none lost, whatever a completion does."""
        ...


class Learner(Protocol):
    """Holds the policy and its optimizer."""

    def update(
        self,
        batches: Sequence[TrainBatch],
        *,
        step: int,
        coefficients: Coefficients | None = None,
    ) -> UpdateStats:
        """One optimizer update per batch, at the learning rate of ``step``.

        ``coefficients`` replace those of the recipe where a controller moves them. An update with
        a non-finite loss or gradient is skipped: nothing changes.

        Raises:
            StalePolicyError: Before any weight changes, if the rollout logprobs were not made
                by the weights at the start of this call. With ``rollout.lag = 1`` they may be of
                the version before: ``check_sampler`` is asked instead, before anything is sampled.
        """
        ...

    def check_sampler(self, sequences: Sequence[TrainSequence], *, version: int) -> float:
        """Mean absolute gap (nats) between the current weights' logprobs and the sampled ones.

        Raises:
            StalePolicyError: If it is larger than on equal weights: the engine does not sample
                from ``version``, the current weights.
        """
        ...

    def reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[tuple[float, ...]]:
        """Per sequence the reference's logprobs of its loss tokens, nats, in its order."""
        ...

    def refresh_reference(self) -> None:
        """Make the current weights the reference."""
        ...

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What engines are given: weights under their Hugging Face names, tied tensors once.

        Or an adapter under the names of peft's files, where the recipe publishes adapters.
        """
        ...

    def export_policy(self, folder: Path) -> None:
        """Write safetensors, config and tokenizer that transformers and vLLM load."""
        ...

    def export_adapter(self, folder: Path) -> None:
        """Write the adapter into a new folder as peft loads it; nothing where none is trained."""
        ...

    def save(self, folder: Path) -> None:
        """Write optimizer, random state and a refreshed reference for an exact continuation."""
        ...

    def load(self, folder: Path) -> None:
        """Continue from ``save``'s folder."""
        ...

    def digests(self) -> dict[str, str]:
        """SHA-256 of ``parameters``, ``optimizer``, and of a ``reference`` or ``teacher``.

        Where an adapter trains, the parameters are its own and ``base`` is what it lies over.
        """
        ...


class WeightPublisher(Protocol):
    """Hands a new policy version to every engine."""

    def publish(self, version: int) -> None:
        """Deliver the learner's weights as ``version``; returns when every engine holds it."""
        ...


class Sink(Protocol):
    """Somewhere metrics go besides the run folder. May never stop or slow a run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers of one step."""
        ...

    def close(self) -> None:
        """Flush and leave."""
        ...
