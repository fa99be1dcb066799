"""Options of the algorithm that would have no effect, or not the one meant, are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from rlreason.config import AlgorithmSection, RolloutSection

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"loss": "gspo", "dual_clip": 3.0}, "dual_clip = 3.0 is an option of loss clipped"),
    ({"clip_high": 0.5, "dual_clip": 1.4}, "above 1 \\+ clip_high = 1.5"),
    ({"loss": "p3o"}, "aggregation = sequence_mean"),
    ({"loss": "p3o_joint", "aggregation": "constant", "tokens_per_sequence": 9}, "sequence_mean"),
    (
        {"loss": "p3o", "aggregation": "sequence_mean", "clip_high": 0.3},
        "clip_low = clip_high",
    ),
    ({"pair_ratio": "token_mean"}, "has no pairs"),
    ({"loss": "reinforce", "clip_high": 0.3}, "no ratio to clip"),
    ({"loss": "likelihood", "clip_low": 0.1}, "no ratio to clip"),
    (
        {"loss": "likelihood", "correction": "token_masked", "importance_cap": 2.0},
        "imitates completions",
    ),
    ({"aggregation": "constant"}, "tokens_per_sequence"),
    ({"tokens_per_sequence": 100}, "aggregation = constant"),
    ({"correction": "token_truncated"}, "importance_cap"),
    ({"importance_cap": 2.0}, "correction"),
    ({"advantage": "gdpo"}, "part_weights"),
    ({"part_weights": {"a": 1.0}}, "advantage = gdpo"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_what_has_no_effect_is_refused_with_the_reason(options: dict, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        AlgorithmSection(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"dual_clip": 3.0, "clip_high": 0.28},
        {"loss": "p3o", "aggregation": "sequence_mean", "pair_ratio": "token_mean"},
        {"loss": "distillation", "correction": "sequence_masked", "importance_cap": 2.0},
        {"advantage": "gdpo", "part_weights": {"a": 1.0}},
        {"loss": "cispo", "clip_low": 1.0, "clip_high": 4.0},
    ],
)
def test_what_has_one_is_taken_and_survives_the_resolved_file(options: dict) -> None:
    section = AlgorithmSection(**options)
    assert AlgorithmSection.model_validate(section.model_dump(mode="json")) == section


@pytest.mark.parametrize("mode", ["raw_logprobs", "raw_logits", "processed_logits"])
def test_logprobs_that_are_not_those_sampled_with_are_refused(mode: str) -> None:
    with pytest.raises(ValidationError, match=f"logprobs_mode = {mode}: .*leave it out"):
        RolloutSection(vllm={"logprobs_mode": mode})
    RolloutSection(vllm={"logprobs_mode": "processed_logprobs", "max_num_seqs": 8})


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 20}])
def test_cut_off_sampling_has_no_way_in(cut: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="whole distribution"):
        RolloutSection(vllm={"override_generation_config": cut})
    with pytest.raises(ValidationError, match="Extra inputs"):
        RolloutSection(**cut)
