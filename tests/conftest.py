"""What every test shares.

Hypothesis has no deadline (torch's first call is slow) and takes the same examples each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from warm_start import WarmProcess

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray reads these once, when vLLM or rlreason imports it, whichever test comes first.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
settings.register_profile("rlreason", deadline=None, derandomize=True)
settings.load_profile("rlreason")


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProcess]:
    """Starts programs that need torch, vLLM or DeepSpeed without importing them anew."""
    from warm_start import WarmProcess

    process = WarmProcess(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()
