"""What a test of a reward found, as records, as JSON and as a table for the terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlreason.redact import visible

_SHOWN = 100
_KEPT = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A completion that earned what it should not, or failed to earn what it should."""

    problem: str
    answer: str | None
    completion: str
    """Shortened in its middle."""
    earned: str
    """Its score, or what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyResult:
    """One family of probes."""

    family: str
    wanted: str
    """``high``, ``low``, or ``any`` where the reward does not look at answers."""
    probes: int
    failed: int
    slowest_s: float
    findings: tuple[Finding, ...]
    """The first of the failed ones."""

    @property
    def passed(self) -> bool:
        """Whether every probe earned what it should."""
        return self.failed == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One property that every reward must have."""

    check: str
    passed: bool
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardReport:
    """Everything that a test found."""

    reward: str
    bounds: tuple[float, float]
    problems: int
    form: str
    """Where the form of a right completion came from."""
    notes: tuple[str, ...]
    families: tuple[FamilyResult, ...]
    checks: tuple[CheckResult, ...]
    latency_s: dict[str, float]
    """``p50``, ``p99`` and ``max`` over all calls."""
    peak_mib: float

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """Names of the families and checks that failed."""
        families = [result.family for result in self.families if not result.passed]
        return families + [result.check for result in self.checks if not result.passed]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, ``passed`` among them."""
        families = [asdict(family) | {"passed": family.passed} for family in self.families]
        return asdict(self) | {"passed": self.passed, "families": families}

    def render(self) -> Group:
        """The tables and a line that says how it ended."""
        low, high = self.bounds
        head = f"{self.reward}: {self.problems} problems, bounds {low:g} to {high:g}"
        failed = self.failed
        end = f"failed: {'; '.join(failed)}" if failed else "passed"
        lines = [head, f"a right completion is {self.form}", *self.notes]
        return Group(
            *(Text(visible(line)) for line in lines),
            _family_table(self.families),
            *(Text(_line(family), style="red") for family in self.families if not family.passed),
            _check_table(self.checks),
            Text(end, style="bold red" if failed else "bold green"),
        )


def shortened(text: str, length: int = _KEPT) -> str:
    """``text`` with its middle left out where it is longer than ``length``."""
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]} ... {text[-half:]}"


def _family_table(families: tuple[FamilyResult, ...]) -> Table:
    table = Table()
    table.add_column("probes", no_wrap=True)
    table.add_column("wanted")
    for title in ("number", "failed", "slowest"):
        table.add_column(title, justify="right", no_wrap=True)
    for result in families:
        table.add_row(
            result.family,
            result.wanted,
            str(result.probes),
            Text(str(result.failed), style="" if result.passed else "red"),
            _seconds(result.slowest_s),
        )
    return table


def _check_table(checks: tuple[CheckResult, ...]) -> Table:
    table = Table()
    table.add_column("check")
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for result in checks:
        state = Text("passed") if result.passed else Text("failed", style="red")
        table.add_row(result.check, state, Text(visible(result.found)))
    return table


def _line(result: FamilyResult) -> str:
    """The first of the failed probes. Model text is harmless, but may fill a line or two."""
    finding = result.findings[0]
    text = shortened(finding.completion, _SHOWN)
    where = f"answer {finding.answer}" if finding.answer is not None else finding.problem
    return visible(f"{result.family} ({where}) earned {finding.earned}: {text}", keep="")


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
