"""Trains to the end, through losses of the learner."""

from __future__ import annotations

import logging

from rlreason.build import open_run
from rlreason.cluster.deaths import Deaths
from rlreason.config import GrpoConfig
from rlreason.errors import LearnerLostError
from rlreason.trainer import train

log = logging.getLogger(__name__)


def train_to_the_end(config: GrpoConfig, *, fresh: bool = False) -> None:
    """Open the run and train; after a lost learner, open it again as after any kill.

    All ranks then start from the newest checkpoint, and the journaled steps behind it are learned
    again, not sampled again: the run ends as if nothing had died.

    Raises:
        TrainingStopped: After more than three deaths of ranks and engines in ten minutes.
    """
    deaths = Deaths()
    while True:
        try:
            with open_run(config, fresh=fresh, deaths=deaths) as run:
                train(run)
        except LearnerLostError as error:
            deaths.add(str(error))
            log.warning("all ranks start again from the newest checkpoint and the journal")
            fresh = False
        else:
            return
