"""Tests a reward against made-up attacks, and audits a run's scores with a second reward.

``rlreason reward test`` and ``rlreason reward audit``. Rewards run in the same killable workers as
in training, under the same limits.
"""
