"""Learning rates by hand."""

import pytest

from rlreason.config import LearnerSection
from rlreason.learner.schedule import learning_rate


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    # peak 1, two warm-up steps, ten steps in all: eight steps of schedule
    [
        ("constant", 0, 0.5),
        ("constant", 1, 1.0),
        ("constant", 9, 1.0),
        ("linear", 2, 1.0),
        ("linear", 6, 0.5),
        ("linear", 9, 0.125),
        ("cosine", 2, 1.0),
        ("cosine", 6, 0.5),
        ("cosine", 8, 0.1464466),  # (1 + cos(3/4 pi)) / 2
    ],
)
def test_rates(schedule: str, step: int, expected: float) -> None:
    config = LearnerSection(learning_rate=1.0, warmup_steps=2, schedule=schedule)
    assert learning_rate(config, step, 10) == pytest.approx(expected)
