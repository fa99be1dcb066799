"""One self-contained HTML page about a run, and its completions on the terminal.

Reads the run folder only, so it works on a run that is going on, stopped or moved elsewhere.
"""

from rlreason.report.completions import best_and_worst
from rlreason.report.page import write_report

__all__ = ["best_and_worst", "write_report"]
