"""The page about clusters: its programs parse, and what it names exists."""

import re
import subprocess
from pathlib import Path

import pytest

from rlreason.config_file import load_config, shipped_recipes
from rlreason.strict_yaml import read

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "rlreason" / "cluster" / "README.md").read_text(encoding="utf-8")
SBATCH, SKY = re.findall(r"```(?:bash|yaml)\n(.*?)```", PAGE, re.DOTALL)


def bash_accepts(program: str) -> bool:
    return subprocess.run(["bash", "-n"], input=program, text=True, check=False).returncode == 0


def test_the_programs_of_the_page_parse() -> None:
    assert bash_accepts(SBATCH)
    assert not bash_accepts(SBATCH + "\nif true; then")
    task = read(SKY).data
    assert task["num_nodes"] == 2
    assert bash_accepts(task["run"])


def test_recipes_files_and_fields_of_the_page_exist() -> None:
    named = set(re.findall(r"\b(grpo\w*\.yaml)", PAGE))
    assert len(named) > 3
    assert named <= set(shipped_recipes())
    for name in re.findall(r"`((?:scripts|tests)/[\w./]+)`", PAGE):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("command", re.findall(r"^    rlreason train (.*)$", PAGE, re.MULTILINE))
def test_the_commands_of_the_page_name_fields_that_there_are(command: str) -> None:
    recipe, _, *overrides = command.split()
    assert load_config(recipe, overrides).cluster.backend == "ray"
