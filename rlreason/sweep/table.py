"""What a sweep shows, in Markdown: for the terminal, for ``table.md``, for a paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from rlreason.sweep.analysis import Analysis, ArmSummary, Comparison
from rlreason.sweep.plan import SweepPlan
from rlreason.sweep.stats import MIN_SEEDS
from rlreason.sweep.status import TrialState


def markdown(plan: SweepPlan, analysis: Analysis, states: Sequence[TrialState]) -> str:
    """The whole table with the words that it needs to be read rightly."""
    parts = [
        f"# {plan.config.name}",
        " ".join(how_measured(plan, analysis)),
        _table(arm_header(plan), (arm_row(arm, analysis) for arm in analysis.arms)),
    ]
    if analysis.comparisons:
        parts += [
            f"Differences to {analysis.baseline}, paired by seed and held-out problem:",
            _table(COMPARISON_HEADER, map(comparison_row, analysis.comparisons)),
        ]
    parts += conclusions(analysis)
    pools = list(analysis.arms[0].final_by_pool) if analysis.arms else []
    if pools:
        rows = (
            [arm.arm, *(f"{arm.final_by_pool[pool]:.2f}" for pool in pools)]
            for arm in analysis.arms
        )
        parts += ["Final accuracy per pool:", _table(["", *pools], rows)]
    parts += [unfinished(states)] if unfinished(states) else []
    return "\n\n".join(parts) + "\n"


def how_measured(plan: SweepPlan, analysis: Analysis) -> list[str]:
    """What the numbers are, in sentences."""
    metrics = plan.config.metrics
    kind = "greedy answers" if metrics.measure == "greedy" else "sampled answers"
    return [
        f"Accuracy of {kind} on held-out problems, mean over {len(analysis.pools)} pools "
        f"({', '.join(analysis.pools)}).",
        f"Final: mean of the last {metrics.last} evaluations; ± is the standard deviation over "
        "seeds.",
        f"To {metrics.threshold:g}: median over seeds, and how many reach it.",
        "Intervals are 95 %: bootstrap over seeds and problems, Student's t over seeds; p is "
        "corrected over the comparisons (Holm). The rest is not corrected.",
    ]


def arm_header(plan: SweepPlan) -> list[str]:
    """Column names of the table of arms."""
    threshold = f"{plan.config.metrics.threshold:g}"
    return [
        "",
        "seeds",
        "final accuracy",
        "interquartile mean",
        "area under curve",
        f"steps to {threshold}",
        f"tokens to {threshold}",
    ]


def arm_row(arm: ArmSummary, analysis: Analysis) -> list[str]:
    """One arm's cells, as in ``arm_header``."""
    spread = f" ± {stdev(arm.final):.3f}" if len(arm.final) > 1 else ""
    name = f"{arm.arm} (baseline)" if arm.arm == analysis.baseline else arm.arm
    return [
        name,
        str(len(arm.seeds)),
        f"{fmean(arm.final):.3f}{spread}",
        f"{arm.iqm:.3f}",
        f"{arm.area:.3f}",
        str(arm.steps),
        str(arm.tokens),
    ]


COMPARISON_HEADER = [
    "",
    "seeds",
    "final accuracy",
    "p",
    "verdict",
    "area under curve",
    "steps to threshold",
    "without its best pool",
]


def comparison_row(comparison: Comparison) -> list[str]:
    """One comparison's cells, as in ``COMPARISON_HEADER``."""
    steps = comparison.steps
    interval = "" if steps.num_seeds < 2 else f" [{steps.low:+.0f}, {steps.high:+.0f}]"
    without = f"{comparison.without} ({comparison.left_out})" if comparison.without else "-"
    return [
        comparison.arm,
        str(len(comparison.seeds)),
        str(comparison.final),
        f"{comparison.corrected_p:.3f}" if comparison.final.num_seeds > 1 else "-",
        comparison.verdict,
        str(comparison.area),
        f"{steps.mean:+.0f}{interval}",
        without,
    ]


def conclusions(analysis: Analysis) -> list[str]:
    """What may be said, and what may not."""
    if not analysis.comparisons:
        return [f"Nothing can be compared with {analysis.baseline} yet."]
    shown = [
        f"{item.arm} is {item.verdict} than {analysis.baseline} in final accuracy: {item.final}."
        for item in analysis.comparisons
        if item.verdict in ("better", "worse")
    ]
    open_arms = [item.arm for item in analysis.comparisons if item.verdict == "not shown"]
    few = [item.arm for item in analysis.comparisons if item.verdict == "too few seeds"]
    if open_arms:
        shown.append(
            f"No difference to {analysis.baseline} is shown for {', '.join(open_arms)}: the "
            "interval holds 0, or the corrected p is not below 0.05."
        )
    if few:
        shown.append(
            f"No winner is named for {', '.join(few)}: fewer than {MIN_SEEDS} paired seeds."
        )
    return [" ".join(shown)]


def unfinished(states: Sequence[TrialState]) -> str:
    """Which trials the table lacks."""
    failed = [state.trial.name for state in states if state.phase == "failed"]
    open_trials = [state.trial.name for state in states if state.phase in ("waiting", "running")]
    parts = [f"Failed: {', '.join(failed)}."] if failed else []
    if open_trials:
        parts.append(f"Not finished: {', '.join(open_trials)}.")
    return " ".join(parts)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
