"""Everything that writers wrote, on the disk before anybody looks at it.

One JSON line per reply, appended and synced (``jsonl.py``), so that a killed stage asks only for
what is missing: no paid call is made again. A line's key is the hash of all that its text depends
on, so that another template, model or temperature asks anew. Failed requests have lines too, and
are asked again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rlreason import jsonl
from rlreason.errors import CheckpointError, TrainingStopped
from rlreason.faults import fault_point
from rlreason.protocols import Writer
from rlreason.types import TextReply, TextRequest

Progress = Callable[[int, int, str], None]
"""Called with done, total and what is being made, whenever one more is done."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWriter:
    """A writer that is started only when it has something to write."""

    name: str
    """In the recipe."""
    identity: str
    """Hash of all its settings that its texts depend on."""
    samples: int | None
    """Texts per problem or solution; None: as the stage says."""
    start: Callable[[], AbstractContextManager[Writer]]
    """Starts it; leaving the context gives its memory back."""
    reach: Callable[[], None] | None = None
    """Refuses, before anything heavy starts, what could not be written to; None: nothing to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a stage has its texts written."""

    folder: Path
    """Where its replies are kept, a file per writer."""
    seed: int
    """Of the run."""
    progress: Progress
    """Told of every text."""
    max_failed_frac: float = 0.1
    """Share of a writer's texts that may fail; more stop the stage."""


class ReplyStore:
    """The replies of one writer in one stage, in ``path``."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run stored; a line that it was killed in is dropped."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = jsonl.read_lines(path)
        if path.exists():
            jsonl.rewrite(path, lines)  # appending behind a torn line would spoil both
        self._replies: dict[str, TextReply] = {}
        for number, line in enumerate(lines, start=1):
            reply = _read(line, path, number)
            if reply.error is None:
                self._replies[reply.key] = _valid(reply)

    def get(self, key: str) -> TextReply | None:
        """The reply to ``key``, if there is one with a text."""
        return self._replies.get(key)

    def add(self, reply: TextReply) -> None:
        """Put ``reply`` on the disk; when this returns, no crash can lose it."""
        jsonl.append(self._path, json.dumps(asdict(reply), ensure_ascii=True))


def write_texts(
    requests: Sequence[TextRequest], writer: NamedWriter, writing: Writing, *, stage: str
) -> list[TextReply]:
    """A reply for every request, in their order; only those that are not stored are asked for.

    Raises:
        TrainingStopped: If too many of the requests have no text.
    """
    store = ReplyStore(writing.folder / f"{writer.name}.jsonl")
    replies = {request.key: store.get(request.key) for request in requests}
    missing = [request for request in requests if replies[request.key] is None]
    done = len(requests) - len(missing)
    if done:
        log.info("%s: %s: %d of %d are there already", stage, writer.name, done, len(requests))
    writing.progress(done, len(requests), writer.name)
    for count, reply in enumerate(_ask(missing, writer, store), start=1):
        replies[reply.key] = reply
        writing.progress(done + count, len(requests), writer.name)
        fault_point(stage, count)
    settled = [replies[request.key] or _silence(request) for request in requests]
    _judge_failures(settled, f"{stage}: {writer.name}", writing.max_failed_frac)
    return settled


def _ask(
    missing: Sequence[TextRequest], writer: NamedWriter, store: ReplyStore
) -> Iterator[TextReply]:
    """New replies, each stored before it is passed on."""
    if not missing:
        return
    open_keys = {request.key for request in missing}
    with writer.start() as started:
        for reply in started.write(missing):
            if reply.key not in open_keys:
                raise TrainingStopped(
                    f"writer {writer.name}: it replied to {reply.key!r:.60}, which is not among "
                    "the requests that are open"
                )
            open_keys.remove(reply.key)
            store.add(reply)
            yield _valid(reply)


def _valid(reply: TextReply) -> TextReply:
    """``reply`` with a text that UTF-8 can hold: JSON may carry half of a surrogate pair."""
    return replace(reply, text=reply.text.encode("utf-8", "replace").decode())


def _silence(request: TextRequest) -> TextReply:
    return TextReply(key=request.key, text="", finish_reason="error", error="no reply came")


def _judge_failures(replies: Sequence[TextReply], what: str, max_failed_frac: float) -> None:
    failed = [reply for reply in replies if reply.error is not None]
    if len(failed) > max_failed_frac * len(replies):
        raise TrainingStopped(
            f"{what}: {len(failed)} of {len(replies)} texts could not be had, more than the share "
            f"of {max_failed_frac} that is tolerated; the first: {failed[0].error}. The others are "
            "kept; the same command asks for these again"
        )
    if failed:
        log.warning(
            "%s: %d of %d texts could not be had and are counted as errors; the first: %s",
            what,
            len(failed),
            len(replies),
            failed[0].error,
        )


def _read(line: str, path: Path, number: int) -> TextReply:
    try:
        return TextReply(**json.loads(line))
    except TypeError as error:
        raise CheckpointError(
            f"{path.name} line {number}: not a reply ({error}); move the file away, and its "
            "requests are asked again"
        ) from None
