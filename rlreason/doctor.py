"""``rlreason doctor``: what this machine has, what is wrong with it, and what to do about it.

Reads versions without importing anything heavy; what must be imported to be judged is tried in a
process of its own (``doctor_trial``).
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from rich.table import Table

State = Literal["fine", "note", "broken"]

GIB = 2**30
WANTED_MEMORY_GIB = 4
WANTED_DISK_GIB = 2
TRIAL_LIMIT_S = 180
"""A first vLLM start inspects its models for some 20 s; what takes minutes hangs."""
STALE_AFTER_S = 600
"""A lock older than the longest extension build belongs to a build that was killed."""

TORCH_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
UNINSTALL_COMPANIONS = f"pip uninstall -y {' '.join(TORCH_COMPANIONS)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    """``fine``; ``note``: works, or works with less; ``broken``: a run would fail."""
    found: str
    fix: str = ""
    """What to do; never empty unless fine."""

    def __post_init__(self) -> None:
        assert self.fix or self.state == "fine", f"{self.name}: a finding without a remedy"


def examine() -> list[Finding]:
    """Look at everything, the quick things first."""
    return [
        *packages(),
        *hardware(),
        disk(Path()),
        writable(Path("runs")),
        *stale_locks(extension_cache()),
        *trials(),
    ]


def packages() -> Iterator[Finding]:
    """Versions of this environment against those that rlreason declares."""
    yield Finding(name="python", state="fine", found=platform.python_version())
    if _installed("rlreason") is None:
        found = "runs from a source tree, so the versions it wants are not known"
        fix = "pip install --no-deps -e . in the source tree"
        yield Finding(name="rlreason", state="note", found=found, fix=fix)
        return
    yield Finding(name="rlreason", state="fine", found=metadata.version("rlreason"))
    for requirement in _requirements():
        yield check_version(requirement, _installed(requirement.name))


def _requirements() -> list[Requirement]:
    """The core packages, and those of the stack (cpu or cuda) that is installed."""
    from packaging.requirements import Requirement

    stack = "cuda" if _installed("vllm") else "cpu"
    declared = [Requirement(text) for text in metadata.requires("rlreason") or ()]
    return [
        requirement
        for requirement in declared
        if requirement.marker is None or requirement.marker.evaluate({"extra": stack})
    ]


def check_version(requirement: Requirement, installed: str | None) -> Finding:
    """Missing is broken; another version than the tested one is worth a note."""
    name, wanted = requirement.name, str(requirement.specifier)
    install = f'pip install "{name}{wanted}", or run scripts/quickstart'
    if installed is None:
        return Finding(name=name, state="broken", found="not installed", fix=install)
    if not requirement.specifier.contains(installed, prereleases=True):
        found = f"{installed}; tested with {wanted}"
        return Finding(name=name, state="note", found=found, fix=install)
    return Finding(name=name, state="fine", found=installed)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def hardware() -> Iterator[Finding]:
    """Cores, vector instructions, threads and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(name="cores", state="fine", found=str(cores))
    yield vector_instructions(_read("/proc/cpuinfo"))
    yield threads(os.environ.get("OMP_NUM_THREADS"), cores or 1)
    yield memory(_read("/proc/meminfo"))


def vector_instructions(cpuinfo: str) -> Finding:
    """vLLM's CPU kernels are written for AVX2 and AVX-512."""
    flags = set(cpuinfo.split())
    seen = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if name in flags]
    if "avx2" in seen or platform.machine() != "x86_64":
        found = ", ".join(seen) or platform.machine()
        return Finding(name="instructions", state="fine", found=found)
    return Finding(
        name="instructions",
        state="broken",
        found="no AVX2",
        fix="vLLM's CPU kernels need AVX2: use another machine, or one with a GPU",
    )


def threads(omp_num_threads: str | None, cores: int) -> Finding:
    """More threads than cores spin and wait for each other."""
    if omp_num_threads and omp_num_threads.isdecimal() and int(omp_num_threads) > cores:
        return Finding(
            name="threads",
            state="note",
            found=f"OMP_NUM_THREADS={omp_num_threads} on {cores} cores",
            fix=f"unset OMP_NUM_THREADS, or set it to at most {cores}",
        )
    return Finding(name="threads", state="fine", found=omp_num_threads or "one per core")


def memory(meminfo: str) -> Finding:
    """Memory that can be had now."""
    rows = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    if "MemAvailable" not in rows:
        return Finding(name="memory", state="fine", found="not told by this system")
    available = int(rows["MemAvailable"].split()[0]) * 1024 / GIB
    found = f"{available:.1f} GiB available"
    if available >= WANTED_MEMORY_GIB:
        return Finding(name="memory", state="fine", found=found)
    fix = f"close other programs: the default run wants {WANTED_MEMORY_GIB} GiB"
    return Finding(name="memory", state="note", found=found, fix=fix)


def disk(folder: Path) -> Finding:
    """Room for checkpoints and journals."""
    free = shutil.disk_usage(folder).free / GIB
    found = f"{free:.1f} GiB free in {folder.resolve()}"
    if free >= WANTED_DISK_GIB:
        return Finding(name="disk", state="fine", found=found)
    fix = "free some, or put runs elsewhere with run.folder=PATH"
    return Finding(name="disk", state="note", found=found, fix=fix)


def writable(folder: Path) -> Finding:
    """A file can be written, made durable and renamed where runs go."""
    place = folder if folder.is_dir() else folder.parent
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".doctor-") as trial:
            before, after = Path(trial) / "before", Path(trial) / "after"
            with before.open("w") as file:
                file.write("doctor")
                file.flush()
                os.fsync(file.fileno())
            before.rename(after)
    except OSError as error:
        fix = "make it writable, or put runs elsewhere with run.folder=PATH"
        found = f"{place.resolve()}: {error.strerror}"
        return Finding(name="run folder", state="broken", found=found, fix=fix)
    return Finding(name="run folder", state="fine", found=f"{place.resolve()} can be written")


def extension_cache() -> Path:
    """Where torch builds extensions."""
    default = Path.home() / ".cache" / "torch_extensions"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR", default))


def stale_locks(cache: Path) -> list[Finding]:
    """A killed build leaves a lock behind, and every later build waits for it without a word."""
    locks = sorted({*cache.glob("*/lock"), *cache.glob("*/*/lock")})
    if not locks:
        return [Finding(name="extension locks", state="fine", found="none")]
    return [_lock_finding(lock) for lock in locks]


def _lock_finding(lock: Path) -> Finding:
    age = time.time() - lock.stat().st_mtime
    stale = age > STALE_AFTER_S
    return Finding(
        name="extension locks",
        state="broken" if stale else "note",
        found=f"{lock}, {age / 60:.0f} minutes old",
        fix=f"rm {lock}" if stale else f"wait for the build; if there is none, rm {lock}",
    )


def trials() -> Iterator[Finding]:
    """What has to be run to be known."""
    yield trial("torch")
    if _installed("torchvision"):
        yield trial("torchvision")
    yield trial("deepspeed")
    yield trial("vllm")


def trial(name: str, limit_s: float = TRIAL_LIMIT_S) -> Finding:
    """Run one of ``doctor_trial``'s trials in a process of its own."""
    command = [sys.executable, "-m", "rlreason.doctor_trial", name]
    again = f"to see all of it: {Path(sys.executable).name} -m rlreason.doctor_trial {name}"
    title = f"{name} trial"
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        found = f"not done after {limit_s:.0f} s"
        return Finding(name=title, state="broken", found=found, fix=again)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode != 0:
        found = lines[-1].strip() if lines else f"ended with {done.returncode} and no message"
        return Finding(name=title, state="broken", found=found, fix=remedy(name, lines) or again)
    seen = json.loads(done.stdout.splitlines()[-1])
    facts = ", ".join(f"{key} {_fact(value)}" for key, value in seen.items())
    return Finding(name=title, state="fine", found=f"{time.monotonic() - start:.0f} s; {facts}")


def remedy(name: str, lines: list[str]) -> str | None:
    """What to do about a failed trial whose message is known."""
    text = "\n".join(lines)
    if name == "torchvision" or "torchvision" in text:
        return f"{UNINSTALL_COMPANIONS} (a build for another torch; nothing here needs them)"
    if "No module named" in text:
        return "run scripts/quickstart, or install the extra cpu or cuda of rlreason"
    return None


def _fact(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def to_json(findings: list[Finding]) -> str:
    """Findings for a machine."""
    return json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1)


def as_table(findings: list[Finding]) -> Table:
    """Findings for a person."""
    from rich.table import Table
    from rich.text import Text

    styles = {"fine": "green", "note": "yellow", "broken": "bold red"}
    table = Table(title="rlreason doctor", title_justify="left")
    for column in ("", "state", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        # Text, not str: messages of other programs may hold what rich takes for markup.
        state = Text(finding.state, style=styles[finding.state])
        table.add_row(finding.name, state, Text(finding.found), Text(finding.fix))
    return table
