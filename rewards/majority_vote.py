r"""1 for the answer that most of the group's completions give: a reward without ground truth.

    reward: rewards.majority_vote:MajorityVote

The last box after the reasoning is the vote (arXiv 2504.16084 trains on this). Answers are compared
as text without white space. A tie elects nobody, so the group has no signal then. It sharpens what
the policy already believes, right or wrong: watch accuracy on held-out problems with
``scoring.evaluation_reward``, never this value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rewards.boxes import last_boxed
from rlreason.types import Problem, Score


class MajorityVote:
    """A group reward; parts ``agree`` (share of the group with the same answer)."""

    bounds = (0.0, 1.0)
    needs_answer = False

    def score_group(self, problem: Problem, completions: Sequence[str]) -> list[Score]:
        """Score each completion by whether its answer is the one given most often."""
        del problem
        answers = [_vote(completion) for completion in completions]
        counts = Counter(answer for answer in answers if answer is not None)
        elected = _elected(counts)
        return [
            Score(value=0.0, parts={"agree": 0.0}, outcome="unparseable")
            if answer is None
            else Score(
                value=float(answer == elected), parts={"agree": counts[answer] / len(completions)}
            )
            for answer in answers
        ]


def _vote(completion: str) -> str | None:
    boxed = last_boxed(completion.rpartition("</think>")[2])
    return "".join(boxed.split()) or None if boxed is not None else None


def _elected(counts: Counter[str]) -> str | None:
    """The one answer with the most votes, or None when two share the lead."""
    leaders = counts.most_common(2)
    tied = len(leaders) == 2 and leaders[0][1] == leaders[1][1]
    return leaders[0][0] if leaders and not tied else None
