"""Settings of every test: no deadline (torch's first call is slow), the same examples each time."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("rlreason", deadline=None, derandomize=True)
settings.load_profile("rlreason")
