"""A generator that is a file: solutions written elsewhere, one a row.

Rows have ``problem_id`` (``pool/id``, or the id alone) and ``solution``; other columns are left
alone. The first solutions to a problem are taken, in the order of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlreason.errors import ConfigError, DataError
from rlreason.types import Problem, TextReply, TextRequest

COLUMNS = ("problem_id", "solution")


class SolutionFile:
    """Keeps ``protocols.Writer`` for candidates.

    Args:
        path: A ``.jsonl`` or ``.parquet`` file.
        where: Its dotted field in the recipe, for messages.

    Raises:
        ConfigError: If there is no such file, or it has another ending.
        DataError: If a row is not what the module says, naming the first one.
    """

    def __init__(self, path: Path, *, where: str) -> None:
        self._path, self._where = path, where
        if path.suffix not in (".jsonl", ".parquet"):
            raise ConfigError(f"{where} = {str(path)!r}: must end in .jsonl or .parquet")
        if not path.is_file():
            raise ConfigError(f"{where} = {str(path)!r}: no file {path.resolve()}")
        self._solutions: dict[str, list[str]] = {}
        for number, row in enumerate(self._rows(), start=1):
            name, solution = self._checked(row, number)
            self._solutions.setdefault(name, []).append(solution)

    def check_problems(self, problems: Iterable[Problem], samples: int) -> None:
        """Refuse a file with fewer than ``samples`` solutions to one of ``problems``.

        Raises:
            ConfigError: Naming the problem and what the file holds.
        """
        for problem in problems:
            held = len(self._of(problem))
            if held < samples:
                raise ConfigError(
                    f"{self._where} = {str(self._path)!r}: {held} solutions to problem "
                    f"{problem.key}, but {samples} are asked for; lower samples, or add rows "
                    "whose problem_id is the problem's"
                )

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        """Yield the solution of each request, or an error where the file has none left."""
        for request in requests:
            solutions = self._of(request.problem)
            if request.sample < len(solutions):
                yield TextReply(key=request.key, text=solutions[request.sample])
            else:
                reason = f"the file holds {len(solutions)} solutions to {request.problem.key}"
                yield TextReply(key=request.key, text="", finish_reason="error", error=reason)

    def _of(self, problem: Problem) -> list[str]:
        return [*self._solutions.get(problem.key, ()), *self._solutions.get(problem.id, ())]

    def _rows(self) -> Iterator[Any]:
        try:
            if self._path.suffix == ".parquet":
                yield from pq.read_table(self._path, columns=list(COLUMNS)).to_pylist()
                return
            for line in self._path.read_text(encoding="utf-8").split("\n"):
                if line.strip():
                    yield _parsed(line)
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            raise DataError(f"{self._where}: {self._path} cannot be read: {error}") from None

    def _checked(self, row: Any, number: int) -> tuple[str, str]:
        values = [row.get(name) for name in COLUMNS] if isinstance(row, dict) else []
        texts = [value for value in values if isinstance(value, str) and value.strip()]
        if len(texts) != len(COLUMNS):
            raise DataError(
                f"{self._where}: {self._path} row {number}: a row has problem_id and solution, "
                f"both text that is not empty, got {row!r:.100}"
            )
        return texts[0], texts[1]


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line  # refused as a row, with its number
