"""The commit protocol: whole or absent, whatever happens and whenever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlreason.atomic import (
    MANIFEST,
    clean_leftovers,
    commit_folder,
    folder_numbers,
    numbered_folder,
    remove_folder,
    replace_file,
    verify_manifest,
)

KILLED_COMMIT = """
import os, signal, sys
from pathlib import Path
from rlreason.atomic import commit_folder, replace_file

root, kill_at, job = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
done = 0

def operation(*_):
    global done
    if done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1

def watch(event, arguments):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        operation()

real_fsync = os.fsync
os.fsync = lambda descriptor: (operation(), real_fsync(descriptor), operation())
sys.addaudithook(watch)

if job == "file":
    replace_file(root / "state", "new " * 1000)
else:
    with commit_folder(root / "000001") as folder:
        (folder / "inner").mkdir()
        for name in ("a", "inner/b"):
            with (folder / name).open("wb", buffering=0) as file:
                for _ in range(3):
                    file.write(b"new" * 100)
                    operation()
"""


def write_folder(final: Path, content: str = "content") -> None:
    with commit_folder(final, extra={"step": 1}) as folder:
        (folder / "a").write_text(content)
        (folder / "inner").mkdir()
        (folder / "inner" / "b").write_text(content * 2)


def killed_at(root: Path, operation: int, job: str) -> bool:
    """Run the job in a process killed at that operation; False when it got to its end first."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_COMMIT, str(root), str(operation), job],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def kill_at_every_operation(tmp_path: Path, *, replacing: bool) -> list[str]:
    """What is found under the final name after a kill at each operation, in order."""
    found = []
    for operation in range(200):
        root = tmp_path / str(operation)
        root.mkdir()
        final = root / "000001"
        if replacing:
            write_folder(final, "old")
        killed = killed_at(root, operation, "folder")
        found.append((final / "a").read_text()[:3] if final.exists() else "absent")
        assert not final.exists() or verify_manifest(final) == [], f"operation {operation}"
        clean_leftovers(root)
        assert {entry.name for entry in root.iterdir()} <= {"000001"}
        write_folder(final, "next")
        assert verify_manifest(final) == []
        if not killed:
            return found
    raise AssertionError("the job did not end within 200 operations")


def test_a_commit_killed_at_any_operation_is_whole_or_absent(tmp_path: Path) -> None:
    found = kill_at_every_operation(tmp_path, replacing=False)
    assert found == sorted(found)  # absent up to the rename, new from there
    assert {"absent", "new"} == set(found)


def test_a_replacement_killed_at_any_operation_is_old_absent_or_new(tmp_path: Path) -> None:
    found = kill_at_every_operation(tmp_path, replacing=True)
    order = ["old", "absent", "new"]
    assert [order.index(one) for one in found] == sorted(order.index(one) for one in found)
    assert found.count("absent") == 1  # between the two renames alone


def test_a_file_replacement_killed_at_any_operation_is_old_or_new(tmp_path: Path) -> None:
    for operation in range(50):
        (tmp_path / "state").write_text("old")
        killed = killed_at(tmp_path, operation, "file")
        assert (tmp_path / "state").read_text() in ("old", "new " * 1000)
        clean_leftovers(tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
        if not killed:
            break
    assert (tmp_path / "state").read_text() == "new " * 1000


def test_everything_is_flushed_before_the_rename_and_the_parent_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def seen_fsync(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.partition(".tmp")[0])
        fsync(descriptor)

    def seen_rename(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "rename", seen_rename)
    write_folder(tmp_path / "000001")
    *before, renamed, after = events
    assert set(before) == {"a", "b", MANIFEST, "inner", "000001"}
    assert before.index(MANIFEST) > max(before.index("a"), before.index("b"))
    assert (renamed, after) == ("rename", tmp_path.name)


def test_a_failing_block_leaves_nothing_behind(tmp_path: Path) -> None:
    write_folder(tmp_path / "000001", "old")

    def fail_half_way() -> None:
        with commit_folder(tmp_path / "000001") as folder:
            (folder / "a").write_text("half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    assert [entry.name for entry in tmp_path.iterdir()] == ["000001"]
    assert (tmp_path / "000001" / "a").read_text() == "old"


def test_the_old_folder_comes_back_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "000001", "old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if (path / "a").read_text() == "new":
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no"):
        write_folder(tmp_path / "000001", "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["000001"]
    assert (tmp_path / "000001" / "a").read_text() == "old"


def test_the_manifest_names_sizes_hashes_schema_and_extra_fields(tmp_path: Path) -> None:
    write_folder(tmp_path / "000001")
    manifest = json.loads((tmp_path / "000001" / MANIFEST).read_text())
    # echo -n content | sha256sum
    sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert manifest["files"]["a"] == {"size": 7, "sha256": sha256}
    assert (manifest["schema"], manifest["extra"]) == (1, {"step": 1})


def damage_missing(folder: Path) -> None:
    (folder / "inner" / "b").unlink()


def damage_extra(folder: Path) -> None:
    (folder / "inner" / "c").write_text("")


def damage_content(folder: Path) -> None:
    (folder / "a").write_text("c0ntent")


def damage_size(folder: Path) -> None:
    (folder / "a").write_text("content ")


def damage_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def damage_manifest_white_space(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(": ", ":\t", 1))


def damage_manifest_field(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"step": 1', '"step": 2'))


def damage_link(folder: Path) -> None:
    (folder / "a").rename(folder.parent / "elsewhere")
    (folder / "a").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_missing, "inner/b: listed, but not there"),
        (damage_extra, "inner/c: not in the manifest"),
        (damage_content, "a: its SHA-256 is not the manifest's"),
        (damage_size, "a: 8 bytes, the manifest says 7"),
        (damage_manifest, "no MANIFEST.json"),
        (damage_manifest_white_space, "MANIFEST.json is damaged"),
        (damage_manifest_field, "MANIFEST.json is damaged"),
        (damage_link, "a: neither a plain file nor a folder"),
    ],
)
def test_each_damage_is_named(tmp_path: Path, damage, words: str) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "000001"
    write_folder(folder)
    assert verify_manifest(folder) == []
    damage(folder)
    [problem] = verify_manifest(folder)
    assert words in problem


def test_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlreason.atomic.SCHEMA", 0)
    write_folder(tmp_path / "000001")
    monkeypatch.undo()
    [problem] = verify_manifest(tmp_path / "000001")
    assert "has schema 0" in problem
    assert "reads schema 1" in problem


def test_only_temporary_names_of_the_protocol_are_cleaned(tmp_path: Path) -> None:
    ours, theirs = tmp_path / f"000001.tmp-{'0' * 32}", tmp_path / "notes.tmp-1"
    for folder in (ours, theirs):
        (folder / "inner").mkdir(parents=True)
    assert clean_leftovers(tmp_path) == [ours.name]
    assert list(tmp_path.iterdir()) == [theirs]


def test_numbered_folders_are_listed_in_numerical_order(tmp_path: Path) -> None:
    for number in (1_000_000, 999_999, 7):
        numbered_folder(tmp_path, number).mkdir()
    (tmp_path / "000008.tmp-1").mkdir()
    assert folder_numbers(tmp_path) == [7, 999_999, 1_000_000]
    assert folder_numbers(tmp_path / "missing") == []


def test_a_removal_interrupted_midway_leaves_no_damaged_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "000001")

    def interrupted(path: Path) -> None:
        (path / "a").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("rlreason.atomic.shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "000001")
    monkeypatch.undo()
    assert folder_numbers(tmp_path) == []
    assert len(clean_leftovers(tmp_path)) == 1


def test_a_failing_file_replacement_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file(tmp_path / "state", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "state", "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").read_text() == "old"
