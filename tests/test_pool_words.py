"""Why a step drew what it drew, in the log."""

import logging
from pathlib import Path

import pytest
from step_records import step_metrics
from test_recorder import open_recorder

from rlreason.pool_words import plain, why_drawn


def test_the_largest_weights_come_first_with_their_terms() -> None:
    # ln 2 = .69; .75 ln(4/3) + .25 ln 4 = .56
    assert why_drawn(step_metrics(7)) == (
        "step 7 weighs easy 0.750, 1 drawn (bonus 0.5); hard 0.250, 1 drawn; "
        "entropy of the draw 0.56 of 0.69 nats"
    )


def test_many_pools_are_counted_and_not_listed() -> None:
    easy = step_metrics().pools["easy"]
    line = why_drawn(step_metrics(pools={f"pool{i}": easy for i in range(9)}), count=2)
    assert line.count("drawn") == 2
    assert "; and 7 more;" in line


def test_every_step_says_why_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="rlreason")
    recorder = open_recorder(tmp_path)
    recorder.step(step_metrics(0))
    assert [r.getMessage() for r in caplog.records] == [why_drawn(step_metrics(0))]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.03237, "0.0324"), (-12.54, "-12.5"), (999.6, "1,000"), (1416.0, "1,416"),
     (3.79e-14, "3.8e-14"), (0.00012, "0.00012")],
)  # fmt: skip
def test_a_number_is_written_as_a_person_reads_it(value: float, text: str) -> None:
    assert plain(value) == text
