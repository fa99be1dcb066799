"""The seed problems as the recipe asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rlreason.atomic import folder_numbers
from rlreason.config.cft import SeedsSection
from rlreason.critique import seeds
from rlreason.critique.records import Candidate, stable_hash
from rlreason.errors import ConfigError
from rlreason.journal import Journal, JournalEntry
from rlreason.types import Problem


def choose_seeds(
    section: SeedsSection,
    pools: Mapping[str, Sequence[Problem]],
    *,
    seed: int,
    rate: Callable[[Sequence[Problem]], list[Candidate]],
    bounds: Mapping[str, tuple[float, float]],
) -> tuple[list[Problem], dict[str, float]]:
    """The seed problems, and the pass rates by which they were chosen.

    Args:
        section: What the recipe says.
        pools: Pool -> problems that may be seeds.
        seed: Of the run.
        rate: The untrained model's graded answers to some problems.
        bounds: Pool -> bounds of its reward.

    Raises:
        ConfigError: If there are no such problems.
    """
    chosen_pools = {name: pools[name] for name in section.pools or pools}
    if section.choose == "given":
        return seeds.given(chosen_pools, section.problems, where="seeds.problems"), {}
    if section.choose == "one_per_pool":
        return seeds.one_per_pool(chosen_pools, seed=seed), {}
    if section.choose == "variance":
        entries = _entries(Path(str(section.journal)))
        histories = seeds.histories(entries, bounds)
        return (
            seeds.by_variance(
                chosen_pools, histories, count=section.count, per_pool=section.per_pool
            ),
            {},
        )
    rates = _rates(rate(tried_problems(section, pools)))
    problems = seeds.by_pass_rate(
        chosen_pools,
        rates,
        target=section.target,
        count=section.count,
        per_pool=section.per_pool,
    )
    return problems, rates


def tried_problems(section: SeedsSection, pools: Mapping[str, Sequence[Problem]]) -> list[Problem]:
    """The problems among which a pass rate chooses."""
    return [
        problem
        for name in section.pools or pools
        for problem in sorted(pools[name], key=lambda one: stable_hash(one.key))[: section.among]
    ]


def _rates(answers: Sequence[Candidate]) -> dict[str, float]:
    by_problem: dict[str, list[bool]] = {}
    for answer in answers:
        by_problem.setdefault(answer.problem.key, []).append(answer.correct)
    return {key: sum(right) / len(right) for key, right in by_problem.items()}


def _entries(folder: Path) -> list[JournalEntry]:
    """What the run in ``folder`` journaled.

    Raises:
        ConfigError: If there is nothing.
    """
    journal = Journal(folder / "steps")
    found = (journal.read(step) for step in folder_numbers(folder / "steps"))
    entries = [entry for entry in found if entry is not None]
    if not entries:
        raise ConfigError(f"seeds.journal = {str(folder)!r}: no journaled step of a run in it")
    return entries
