"""The commit protocol of everything resumable: a folder is there whole, or it is not there.

A folder is filled under a temporary name, every file is flushed to the disk, a manifest with sizes
and SHA-256 is written last, and one rename puts it in place. Whoever reads such a folder calls
``verify_manifest`` first; a folder with problems counts as absent. There is no "latest" pointer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rlreason

SCHEMA = 1
"""Raised when files of an older layout can no longer be read."""

MANIFEST = "MANIFEST.json"

_LEFTOVER = re.compile(r".+\.tmp-[0-9a-f]{32}")
_NUMBERED = re.compile(r"[0-9]{6,}")
_MANIFEST_KEYS = {"schema", "rlreason", "extra", "files", "sha256"}

logger = logging.getLogger(__name__)


@contextmanager
def commit_folder(
    final: Path,
    *,
    extra: Mapping[str, Any] | None = None,
    before_rename: Callable[[], None] | None = None,
) -> Iterator[Path]:
    """Yield an empty temporary sibling of ``final`` that becomes ``final`` when the block succeeds.

    A folder that is already at ``final`` is replaced. When the block, or anything after it, fails,
    the temporary folder is removed and ``final`` is as it was.

    Args:
        final: Where the folder goes; its parent is made if need be.
        extra: JSON-ready facts for the manifest.
        before_rename: Called when all is on the disk but the name (for planned faults).
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(final)
    temporary.mkdir()
    try:
        yield temporary
        _write_manifest(temporary, extra or {})
        if before_rename is not None:
            before_rename()
        _put_in_place(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def verify_manifest(folder: Path) -> list[str]:
    """Everything wrong with a committed folder, in words; empty when it is exactly as committed."""
    try:
        files = _read_manifest(folder)["files"]
        present = _list_files(folder)
    except (OSError, ValueError) as error:
        return [str(error)]
    problems = [f"{name}: not in the manifest" for name in sorted(present - files.keys())]
    for name, expected in sorted(files.items()):
        problem = _compare(folder / name, expected) if name in present else "listed, but not there"
        if problem:
            problems.append(f"{name}: {problem}")
    return problems


def replace_file(path: Path, content: str | bytes) -> None:
    """Write ``path`` so that a reader or a crash finds the old content or the new, never a mix."""
    data = content.encode() if isinstance(content, str) else content
    temporary = _temporary_name(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(path.parent)


def remove_folder(folder: Path) -> None:
    """Remove a committed folder; killed half-way it is a left-over, not a damaged folder."""
    doomed = _temporary_name(folder)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def clean_leftovers(parent: Path) -> list[str]:
    """Remove what killed processes left half-written in ``parent``; returns the names.

    Only for whoever holds the run's lock: a live process's temporary folders look the same.
    """
    names = sorted(entry.name for entry in parent.iterdir() if _LEFTOVER.fullmatch(entry.name))
    for name in names:
        path = parent / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if names:
        logger.info("removed what an interrupted run left in %s: %s", parent, ", ".join(names))
    return names


def numbered_folder(parent: Path, number: int) -> Path:
    """``parent/000012``: the folder of a step or a version."""
    return parent / f"{number:06d}"


def folder_numbers(parent: Path) -> list[int]:
    """Numbers of the numbered folders in ``parent``, ascending, valid or not."""
    if not parent.is_dir():
        return []
    return sorted(int(entry.name) for entry in parent.iterdir() if _NUMBERED.fullmatch(entry.name))


def _temporary_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex}")


def _write_manifest(folder: Path, extra: Mapping[str, Any]) -> None:
    files = {name: _flush_and_hash(folder / name) for name in sorted(_list_files(folder))}
    fields = {
        "schema": SCHEMA,
        "rlreason": rlreason.__version__,
        "extra": dict(extra),
        "files": files,
    }
    with (folder / MANIFEST).open("xb") as file:
        file.write(_render({**fields, "sha256": _sha256_of(fields)}))
        file.flush()
        os.fsync(file.fileno())
    for inner, _, _ in os.walk(folder):
        _fsync_folder(Path(inner))


def _flush_and_hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}


def _put_in_place(temporary: Path, final: Path) -> None:
    replaced = None
    if final.exists():
        # A rename cannot replace a folder that holds files, so the old one steps aside first.
        replaced = _temporary_name(final)
        final.rename(replaced)
    try:
        temporary.rename(final)
    except BaseException:
        if replaced is not None:
            replaced.rename(final)
        raise
    _fsync_folder(final.parent)
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest's fields.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not, byte for byte, what ``_write_manifest`` writes.
    """
    if folder.is_symlink():
        raise ValueError(f"{folder.name} is a symbolic link")
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"no {MANIFEST}: it was never completed") from None
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{MANIFEST} does not parse: {error}") from None
    if not isinstance(manifest, dict) or manifest.keys() != _MANIFEST_KEYS:
        raise ValueError(f"{MANIFEST} does not hold the fields {sorted(_MANIFEST_KEYS)}")
    fields = {key: value for key, value in manifest.items() if key != "sha256"}
    # Comparing bytes too leaves no bit of the file without a check, white space included.
    if manifest["sha256"] != _sha256_of(fields) or text != _render(manifest):
        raise ValueError(f"{MANIFEST} is damaged: it does not have the SHA-256 that it states")
    if manifest["schema"] != SCHEMA:
        raise ValueError(
            f"{MANIFEST} has schema {manifest['schema']!r} (rlreason {manifest['rlreason']}), "
            f"this version reads schema {SCHEMA}"
        )
    return manifest


def _render(fields: Mapping[str, Any]) -> bytes:
    return (json.dumps(fields, indent=1) + "\n").encode()


def _sha256_of(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(_render(fields)).hexdigest()


def _list_files(folder: Path) -> set[str]:
    """Relative names of all files but the manifest, which alone lies at the top."""
    names: set[str] = set()
    for inner, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(inner, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path.relative_to(folder)}: neither a plain file nor a folder")
        names.update(Path(inner, name).relative_to(folder).as_posix() for name in files)
    return names - {MANIFEST}


def _compare(path: Path, expected: Mapping[str, Any]) -> str | None:
    size = path.stat().st_size
    if size != expected["size"]:
        return f"{size} bytes, the manifest says {expected['size']}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return None if digest == expected["sha256"] else "its SHA-256 is not the manifest's"


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
