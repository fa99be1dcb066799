"""Checkpoints: whole, verified before use, pruned with care, and missed with grace."""

import errno
import hashlib
import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlreason import faults
from rlreason.atomic import clean_leftovers
from rlreason.checkpoint import Checkpoint, Checkpointer
from rlreason.errors import CheckpointError, TrainingStopped

STATE = {"curriculum": {"add": [0.1 + 0.2, -1.0]}, "cursor": 3}


class FakeLearner:
    """The saving half of a learner; with ``forgets`` it ends elsewhere than it was told to."""

    def __init__(self, parameters: bytes = b"zero", *, forgets: bool = False) -> None:
        self.parameters = parameters
        self.forgets = forgets
        self.loads = 0

    def export_policy(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(self.parameters * 10)

    def export_adapter(self, folder: Path) -> None: ...

    def save(self, folder: Path) -> None:
        (folder / "shard.pt").write_bytes(self.parameters)

    def load(self, folder: Path) -> None:
        self.loads += 1
        self.parameters = (folder / "shard.pt").read_bytes()

    def digests(self) -> dict[str, str]:
        parameters = b"other" if self.forgets and self.loads else self.parameters
        return {"parameters": hashlib.sha256(parameters).hexdigest(), "optimizer": "0" * 64}


class FullDisk(FakeLearner):
    """Fails in ``save`` as a given library does when the disk is full."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def save(self, folder: Path) -> None:
        super().save(folder)
        raise self.error


def save(checkpointer: Checkpointer, *versions: int) -> None:
    for version in versions:
        learner = FakeLearner(b"parameters of %d" % version)
        assert checkpointer.save(version, learner=learner, state={**STATE, "next": version})


def newest(checkpointer: Checkpointer) -> Checkpoint:
    checkpoint = checkpointer.newest()
    assert checkpoint is not None
    return checkpoint


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def no_space(number: int = errno.ENOSPC) -> OSError:
    return OSError(number, os.strerror(number))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(Checkpointer(tmp_path, keep=2), 20)
    checkpointer = Checkpointer(tmp_path, keep=2)
    checkpoint = newest(checkpointer)
    assert checkpoint.version == 20
    assert checkpoint.state == {**STATE, "next": 20}
    assert checkpoint.folder == tmp_path / "000020"
    assert (checkpoint.policy / "model.safetensors").is_file()
    learner = FakeLearner()
    checkpointer.load_into(checkpoint, learner)
    assert learner.parameters == b"parameters of 20"


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert Checkpointer(tmp_path / "checkpoints", keep=2).newest() is None


def test_a_newer_save_of_a_version_replaces_the_older(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 20)
    checkpointer.save(20, learner=FakeLearner(), state={"again": True})
    assert newest(checkpointer).state == {"again": True}
    assert names(tmp_path) == ["000020"]


def test_200_random_bit_flips_and_truncations_are_all_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 20, 40)
    damaged = newest(checkpointer)
    files = sorted(path for path in damaged.folder.rglob("*") if path.is_file())
    assert len(files) == 4  # policy, learner, state, manifest
    chance = random.Random(0)
    for case in range(200):
        path = files[case % len(files)]
        data = bytearray(path.read_bytes())
        place = chance.randrange(len(data))
        if case % 10 == 9:
            path.write_bytes(data[:place])
        else:
            flipped = data[place] ^ (1 << chance.randrange(8))
            path.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
        assert newest(checkpointer).version == 20, f"{path.name}, byte {place}"
        learner = FakeLearner()
        with pytest.raises(CheckpointError, match="000040"):
            checkpointer.load_into(damaged, learner)
        assert learner.loads == 0
        path.write_bytes(data)
    assert newest(checkpointer).version == 40
    assert caplog.text.count("000040 is passed over") == 200


@pytest.mark.parametrize(
    "name", ["policy/model.safetensors", "learner/shard.pt", "state.json", "MANIFEST.json"]
)
def test_a_missing_file_falls_back_and_says_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 20, 40)
    (tmp_path / "000040" / name).unlink()
    assert newest(checkpointer).version == 20
    assert "000040 is passed over" in caplog.text
    assert name in caplog.text


def test_a_checkpoint_under_another_number_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 20)
    (tmp_path / "000020").rename(tmp_path / "000060")
    assert checkpointer.newest() is None
    assert "says that it is version 20" in caplog.text


def test_a_checkpoint_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 20)
    checkpoint = newest(checkpointer)
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(CheckpointError, match=f"belongs to user id {me}, .* as {me + 1}"):
        checkpointer.newest()
    learner = FakeLearner()
    with pytest.raises(CheckpointError, match="pickles"):
        checkpointer.load_into(checkpoint, learner)
    assert learner.loads == 0


def test_a_learner_that_ends_elsewhere_is_an_error(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 20)
    with pytest.raises(CheckpointError, match="the learner's parameters differ"):
        checkpointer.load_into(newest(checkpointer), FakeLearner(forgets=True))


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    save(Checkpointer(tmp_path, keep=2), 5, 10, 15, 1_000_000)
    assert names(tmp_path) == ["000015", "1000000"]


def test_damaged_ones_do_not_count_as_kept(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path, keep=2)
    save(checkpointer, 5, 10)
    (tmp_path / "000010" / "learner" / "shard.pt").write_bytes(b"")
    later = Checkpointer(tmp_path, keep=2)  # a later process knows nothing yet
    save(later, 15)
    assert names(tmp_path) == ["000005", "000010", "000015"]
    save(later, 20)
    assert names(tmp_path) == ["000010", "000015", "000020"]


def test_a_kill_between_commit_and_pruning_is_made_up_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=1)
    save(checkpointer, 5)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rlreason.checkpoint.remove_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        save(checkpointer, 10)
    monkeypatch.undo()
    later = Checkpointer(tmp_path, keep=1)
    assert newest(later).version == 10
    save(later, 15)
    assert names(tmp_path) == ["000015"]


def test_a_fault_before_the_rename_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults._plan.cache_clear()
    monkeypatch.setenv(faults.VARIABLE, "checkpoint:10:raise")
    checkpointer = Checkpointer(tmp_path, keep=1)
    with pytest.raises(faults.InjectedError):
        save(checkpointer, 5, 10)
    faults._plan.cache_clear()
    assert names(tmp_path) == ["000005"]
    assert newest(checkpointer).version == 5


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        no_space(),
        no_space(errno.EDQUOT),
        # What safetensors and torch.save (to an open file) raise on a full disk.
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
        caused_by(RuntimeError("unexpected pos 704 vs 598"), no_space()),
    ],
)
def test_a_full_disk_misses_the_save_and_keeps_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=1)
    save(checkpointer, 5)
    assert not checkpointer.save(10, learner=FullDisk(error), state=STATE)
    assert names(tmp_path) == ["000005"]
    assert clean_leftovers(tmp_path) == []
    assert newest(checkpointer).version == 5
    [record] = caplog.records
    assert "is full" in record.message
    assert "1 of 3 misses" in record.message


def test_an_error_that_names_no_cause_is_a_full_disk_when_nothing_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learner = FullDisk(RuntimeError("unexpected pos 576 vs 534"))
    checkpointer = Checkpointer(tmp_path, keep=1)
    save(checkpointer, 5)
    with pytest.raises(RuntimeError, match="unexpected pos"):
        checkpointer.save(10, learner=learner, state=STATE)
    usage = SimpleNamespace(free=100)
    monkeypatch.setattr("rlreason.checkpoint.shutil.disk_usage", lambda _: usage)
    assert not Checkpointer(tmp_path, keep=1).save(10, learner=learner, state=STATE)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert f"it needs at least {size} bytes, 100 are free" in caplog.text


def test_a_disk_that_fills_up_in_the_flush_is_a_miss_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = Checkpointer(tmp_path, keep=1)
    save(checkpointer, 5)

    def full(_: int) -> None:
        raise no_space()

    monkeypatch.setattr(os, "fsync", full)
    assert not checkpointer.save(10, learner=FakeLearner(), state=STATE)
    assert names(tmp_path) == ["000005"]


def test_three_misses_in_a_row_stop_the_run(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path, keep=1)
    full = FullDisk(no_space())
    assert not any(checkpointer.save(version, learner=full, state=STATE) for version in (1, 2))
    save(checkpointer, 3)  # a success between them starts the count anew
    assert not any(checkpointer.save(version, learner=full, state=STATE) for version in (4, 5))
    with pytest.raises(TrainingStopped, match=r"3 of 3 misses.*free some space"):
        checkpointer.save(6, learner=full, state=STATE)
    assert newest(checkpointer).version == 3


def test_other_failures_of_a_save_are_not_hidden(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path, keep=1)
    with pytest.raises(PermissionError):
        checkpointer.save(1, learner=FullDisk(PermissionError()), state=STATE)
