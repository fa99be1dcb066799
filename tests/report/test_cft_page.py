"""The page about critique fine-tuning: right numbers, plain words, and no text that can run."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlreason.config import CftConfig
from rlreason.config_file import load_run_config, write_config
from rlreason.critique.artifacts import Provenance, write_rows
from rlreason.critique.records import CritiqueExample
from rlreason.critique.tables import RESULTS, write_table
from rlreason.errors import DataError
from rlreason.report.cft_data import differences, method_results, read_cft, verdict_sentences
from rlreason.report.cft_page import write_cft_report
from rlreason.report.cft_tables import funnel_lines, result_lines
from rlreason.types import Problem

EVIL = "</script><script>alert('x')</script>"


def evaluation(mean: float) -> dict[str, Any]:
    greedy = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}
    pool = {"num_problems": 10, "greedy": greedy, "avg_at_k": {"mean": mean}}
    return {"overall": pool, "pools": {"add4": pool}}


def result(method: str, seed: int, update: int, test: float, *, selected: bool) -> dict[str, Any]:
    examined = {"validation": None, "test": evaluation(test), "leak_frac": 0.25}
    detail = {"sampled": evaluation(test / 2), "verdicts": None}
    return {
        "number": update,
        "method": method,
        "group": "all",
        "seed": seed,
        "update": update,
        "digest": "d",
        "loss": 0.1,
        "validation": test,
        "test": test,
        "test_low": test - 0.1,
        "test_high": test + 0.1,
        "leak_frac": 0.25,
        "verdict_accuracy": 0.5 if selected else None,
        "selected": selected,
        "examined": json.dumps(examined),
        "detail": json.dumps(detail) if selected else None,
    }


ROWS = [
    result("base", 0, 0, 0.2, selected=True),
    result("cft", 0, 10, 0.6, selected=True),
    result("cft", 0, 20, 0.3, selected=False),
    result("cft", 1, 10, 0.4, selected=False),
    result("cft", 1, 20, 0.5, selected=True),
    result("sft_one", 0, 10, 0.5, selected=True),
    result("sft_one", 1, 10, 0.7, selected=True),
]


def example(**changes: Any) -> CritiqueExample:
    values = {
        "problem": Problem(id="1", pool="add4", prompt=f"add 1+1 {EVIL}", answer="2"),
        "solution": f"solution {EVIL}",
        "critique": f"critique {EVIL}\nConclusion: wrong",
        "verdict": False,
        "corrected": True,
        "candidate_correct": False,
        "generator": "g",
        "teacher": "t",
        "candidate_id": "c",
        "response_id": "r",
    }
    return CritiqueExample(**(values | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = load_run_config("cft.yaml")
    assert isinstance(config, CftConfig)
    write_config(config, tmp_path / "config.yaml")
    return tmp_path


def fill(folder: Path) -> None:
    funnel = [
        {"generator": "g", "teacher": teacher, "responses": 4, "kept": kept, "verdicts": 4,
         "true_verdicts": kept, "dropped": {"wrong_verdict": 4 - kept}}
        for teacher, kept in (("t", 3), ("u", 1))
    ]  # fmt: skip
    dropped = example(dropped="wrong_verdict", verdict=True, critique="false", response_id="s")
    write_rows(
        folder / "stages" / "filter.parquet",
        [example(), dropped],
        CritiqueExample,
        Provenance(stage="filter", input_hash="x", counts={"funnel": funnel}),
    )
    provenance = Provenance(stage="evaluate", input_hash="x")
    write_table(folder / "stages" / "evaluate.parquet", ROWS, RESULTS, provenance)


def test_methods_are_summed_over_their_trainings() -> None:
    critiques, one = method_results(ROWS)
    assert critiques.selected.values == (0.6, 0.5)
    assert critiques.last.values == (0.3, 0.5)
    assert critiques.updates == (10, 20)
    assert one.selected.mean == pytest.approx(0.6)
    assert differences(ROWS, "sft_one") == pytest.approx([0.1, -0.2])
    assert verdict_sentences(ROWS) == [
        "Critiques against one verified solution: -0.050 [-1.956, +1.856] over 2 trainings: "
        "too few trainings to tell."
    ]
    selected, updates, last, sampled = result_lines(ROWS)[1][2:6]
    assert (selected, updates) == ("0.550 ± 0.071", "10, 20")
    assert (last, sampled) == ("0.400 ± 0.141", "0.275 ± 0.035")


def test_the_page_shows_pairs_examples_and_results_and_runs_no_foreign_text(folder: Path) -> None:
    fill(folder)
    page = write_cft_report(folder).read_text(encoding="utf-8")
    assert EVIL not in page
    # Escaped: problem, solution and critique of the kept one, the first two of the dropped one.
    assert page.count("alert(") == 5
    assert "3 of 4" in page
    assert "dropped: wrong_verdict" in page
    assert "one verified solution" in page
    careless = funnel_lines(read_cft(folder).funnel)[1]
    assert careless == ["g", "u", "4", "1 of 4", "1", "wrong_verdict 3"]


def test_a_run_that_has_only_begun_has_a_page_too(folder: Path) -> None:
    page = write_cft_report(folder).read_text(encoding="utf-8")
    assert "stages done: none" in page
    assert "Not evaluated yet" in page


def test_a_run_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_config(load_run_config("grpo.yaml"), tmp_path / "config.yaml")
    with pytest.raises(DataError, match="not of cft"):
        read_cft(tmp_path)
