"""What ``rlreason train`` does with a recipe of kind cft."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from rlreason.config import CftConfig
from rlreason.config_file import resolved_yaml
from rlreason.config_mistakes import nearest
from rlreason.errors import ConfigError


def train_cft(config: CftConfig, *, until: str | None, dry_run: bool, fresh: bool) -> None:
    """Check, or run the stages up to ``until``, and show what came out."""
    from rlreason.critique.stages import STAGES, StageName

    last = until or "report"
    if last not in get_args(StageName):
        raise ConfigError(f"--until {last}: no such stage{nearest(last, STAGES)}")
    if dry_run:
        _dry_run(config)
        return
    from rlreason.build_cft import open_cft
    from rlreason.critique.pipeline import run_pipeline

    with open_cft(config, fresh=fresh) as run:
        run_pipeline(run, until=last)  # type: ignore[arg-type]
    folder = Path(config.run.folder) / config.run.name
    if last == "report":
        show_result(folder)


def _dry_run(config: CftConfig) -> None:
    """Print the recipe, its pools and writers, and what memory each stage will hold."""
    from rlreason.preflight_cft import preflight_cft
    from rlreason.preflight_stages import memory_stages, require_stages_fit, stage_tables

    checked = preflight_cft(config)
    print(resolved_yaml(config))
    _show(checked.render(config))
    memory = memory_stages(config, checked)
    for table in stage_tables(memory):
        _show(table)
    require_stages_fit(config, memory)


def is_cft(folder: Path) -> bool:
    """Whether the run in ``folder`` is one of critique fine-tuning."""
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    return any(line.strip() == "kind: cft" for line in text.splitlines())


def show_result(folder: Path) -> None:
    """Funnel and accuracies on the terminal as far as they are there, and where the page is."""
    from rlreason.report.cft_data import read_cft, verdict_sentences
    from rlreason.report.cft_page import write_cft_report
    from rlreason.report.cft_tables import funnel_table, result_table

    data = read_cft(folder)
    if data.funnel:
        _show(funnel_table(data))
    if data.results:
        _show(result_table(data))
        print("\n".join(verdict_sentences(data.results)))
    print(f"report: {write_cft_report(folder)}")


def _show(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)
