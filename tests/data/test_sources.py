"""Every form of source gives rows, and every mistake in naming one is told with its remedy."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlreason.config import PoolSection
from rlreason.data.problems import read_problems
from rlreason.data.sources import open_source
from rlreason.errors import ConfigError, DataError, PluginError
from rlreason.types import Problem

PLUGIN = """
class Mine:
    def __init__(self, count):
        self.count = count

    def read(self):
        return [{"prompt": f"number {i}"} for i in range(self.count)]

class NotASource:
    pass
"""


def rows_of(source: str, **options: Any) -> list[Any]:
    pool = PoolSection(name="words", source=source, options=options)
    return list(open_source(pool, where="pools.words").read())


def problems_of(source: str, **options: Any) -> list[Problem]:
    pool = PoolSection(name="words", source=source, options=options)
    opened = open_source(pool, where="pools.words")
    return read_problems(opened, "words", needs_answer=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


COLUMNS = {
    "question": ["2+2", "2+3", "2+4"],
    "solution": ["4", "5", "6"],
    "level": [1, 2, 3],
}


def save(folder: Path, kind: str) -> str:
    """COLUMNS in one of the formats; returns the source that reads them."""
    rows = [
        dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)
    ]
    if kind == "jsonl":
        text = "\n\n".join(json.dumps(row) for row in rows)  # blank lines are no rows
        (folder / "t.jsonl").write_text("\ufeff" + text, encoding="utf-8")
        return "t.jsonl"
    if kind == "parquet":
        pq.write_table(pa.table(COLUMNS), folder / "t.parquet")
        return "t.parquet"
    datasets.Dataset.from_dict(COLUMNS).save_to_disk(folder / "saved")
    return "datasets:saved"


KINDS = ["jsonl", "parquet", "datasets"]
ORIGINS = {
    "jsonl": ["t.jsonl line 1", "t.jsonl line 3", "t.jsonl line 5"],
    "parquet": ["t.parquet row 1", "t.parquet row 2", "t.parquet row 3"],
    "datasets": ["saved row 1", "saved row 2", "saved row 3"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_with_columns_give_the_same_rows_with_their_origin(kind: str, folder: Path) -> None:
    rows = rows_of(save(folder, kind), answer="solution", metadata=["level"])
    assert [row.pop("origin") for row in rows] == ORIGINS[kind]
    assert rows == [
        {"prompt": f"2+{i + 2}", "answer": str(i + 4), "metadata": {"level": i + 1}}
        for i in range(3)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_can_be_read_twice_and_limited(kind: str, folder: Path) -> None:
    pool = PoolSection(name="words", source=save(folder, kind), options={"limit": 2})
    source = open_source(pool, where="pools.words")
    assert list(source.read()) == list(source.read())
    assert [row["prompt"] for row in source.read()] == ["2+2", "2+3"]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_can_be_chosen_and_turned_off(kind: str, folder: Path) -> None:
    options = {"prompt": "solution", "id": "level", "answer": None, "metadata": None}
    (first, *_) = problems_of(save(folder, kind), **options)
    assert (first.prompt, first.id, first.answer, first.metadata) == ("4", "1", None, {})


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
def test_a_column_that_a_table_lacks_is_a_mistake_of_the_recipe(kind: str, folder: Path) -> None:
    source = save(folder, kind)
    with pytest.raises(ConfigError, match=r"options.answer = 'soluton'.* did you mean 'solution'"):
        rows_of(source, answer="soluton")
    with pytest.raises(ConfigError, match=r"options.metadata = 'levl'.* did you mean 'level'"):
        rows_of(source, metadata=["level", "levl"])


def test_a_table_without_any_prompt_column_says_what_it_has(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), folder / "t.parquet")
    with pytest.raises(ConfigError, match=r"no column prompt or question or problem \(it has text"):
        rows_of("t.parquet")


def test_a_jsonl_row_without_a_named_key_is_a_bad_row_with_the_keys_it_has(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: missing key: no 'gold'; the row has 'question'"):
        problems_of(save(folder, "jsonl"), answer="gold")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_and_wrong_options_are_named(kind: str, folder: Path) -> None:
    source = save(folder, kind)
    with pytest.raises(ConfigError, match=r"pools.words.options.limt: unknown option; .*'limit'"):
        rows_of(source, limt=3)
    with pytest.raises(ConfigError, match=r"pools.words.options.limit = 0: "):
        rows_of(source, limit=0)


def test_bad_utf8_in_a_parquet_file_costs_one_row(folder: Path) -> None:
    texts = [b"fine", b"caf\xe9", b"also fine"]
    column = pa.array(texts, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": column}), folder / "t.parquet")
    first, second, third = rows_of("t.parquet")
    assert (first["prompt"], third["prompt"]) == ("fine", "also fine")
    assert second["origin"] == "t.parquet row 2"
    assert second["fault"] == ("bad UTF-8", "byte 0xe9 at position 4")


@pytest.mark.parametrize("kind", ["parquet", "datasets"])
def test_columns_that_nobody_asked_for_are_not_read(kind: str, folder: Path) -> None:
    broken = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    table = pa.table({"prompt": ["2+2"], "notes": broken})
    if kind == "parquet":
        pq.write_table(table, folder / "t.parquet")
    else:
        datasets.Dataset(table).save_to_disk(folder / "saved")
    source = "t.parquet" if kind == "parquet" else "datasets:saved"
    assert [row["prompt"] for row in rows_of(source)] == ["2+2"]


def test_a_file_that_is_no_parquet_file_is_refused(folder: Path) -> None:
    (folder / "t.parquet").write_text("prompt\n2+2\n")
    with pytest.raises(DataError, match=r"pools.words.source: t.parquet is not a parquet file"):
        rows_of("t.parquet")


def test_message_prompts_survive_parquet(folder: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2"}]
    pq.write_table(pa.table({"prompt": [turns]}), folder / "t.parquet")
    (problem,) = problems_of("t.parquet")
    assert list(problem.prompt) == turns


def test_a_saved_dataset_with_splits_gives_the_one_asked_for(folder: Path) -> None:
    splits = {name: datasets.Dataset.from_dict({"prompt": [name]}) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(folder / "saved")
    assert [row["prompt"] for row in rows_of("datasets:saved")] == ["train"]
    assert [row["prompt"] for row in rows_of("datasets:saved", split="test")] == ["test"]
    with pytest.raises(ConfigError, match=r"options.split = 'tset'.* did you mean 'test'"):
        rows_of("datasets:saved", split="tset")
    with pytest.raises(ConfigError, match=r"options.revision: saved is a saved folder"):
        rows_of("datasets:saved", revision="main")


def test_a_dataset_that_does_not_load_says_what_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: Any, **kwargs: Any) -> Any:
        assert "trust_remote_code" not in kwargs
        raise datasets.exceptions.DatasetNotFoundError(f"asked for {args} {kwargs}")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(ConfigError, match=r"'datasets:who/what' .*'main'.*'v1'\) does not load"):
        rows_of("datasets:who/what", subset="main", revision="v1")


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("reasoning_gym:chain_sun", {}, "no such task; did you mean 'chain_sum'"),
        ("reasoning_gym:chain_sum", {"min_term": 2}, "options.min_term: unknown option; did you"),
        ("reasoning_gym:chain_sum", {"exlude": []}, "options.exlude: .*did you mean 'exclude'"),
        ("reasoning_gym:chain_sum", {"min_terms": 9, "max_terms": 2}, "chain_sum refuses them"),
        ("reasoning_gym:", {}, "name what to take"),
        ("arithmetic:ad", {"digits": 2}, "pools.words: .*did you mean 'add'"),
        ("arithmetic:add", {}, "pools.words.options.digits: required, and missing"),
        ("arithmetic:add", {"digit": 2}, "options.digit: unknown option; did you mean 'digits'"),
        ("arithmetic:add", {"digits": 0}, "digits = 0"),
        ("arithmetic:add", {"digits": "two"}, "'two'"),
        ("reasoning_gim:chain_sum", {}, "did you mean 'reasoning_gym:...'"),
        ("dataset:gsm8k", {}, "did you mean 'datasets:...'"),
        ("problems.json", {}, "not a source; a source is .*FILE.jsonl"),
        ("arithmetics", {}, "did you mean 'arithmetic:...'"),
        ("missing.jsonl", {}, "no file .*missing.jsonl"),
    ],
)
def test_a_source_that_cannot_be_is_refused_with_the_remedy(
    source: str, options: dict[str, Any], words: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        rows_of(source, **options)


def test_a_missing_file_names_the_closest_one_beside_it(folder: Path) -> None:
    (folder / "problems.jsonl").write_text("")
    with pytest.raises(ConfigError, match=r"did you mean 'problems\.jsonl'"):
        rows_of("problem.jsonl")


def test_arithmetic_problems_are_read_by_task() -> None:
    rows = rows_of("arithmetic:add", digits=2, size=10, seed=1)
    assert len(rows) == 10
    for row in rows:
        left, right = row["prompt"].removeprefix("add ").split("+")
        assert int(row["answer"]) == int(left) + int(right)


def test_a_plugin_path_is_a_source_too(folder: Path) -> None:
    (folder / "mine.py").write_text(PLUGIN)
    problems = problems_of("mine.py:Mine", count=3)
    assert [problem.prompt for problem in problems] == ["number 0", "number 1", "number 2"]
    with pytest.raises(PluginError, match=r"pools.words.source \(mine.py:Mine\) refused options"):
        rows_of("mine.py:Mine", cuont=3)
    with pytest.raises(PluginError, match="has no read method"):
        rows_of("mine.py:NotASource")
    with pytest.raises(PluginError, match="did you mean 'Mine'"):
        rows_of("mine.py:Mime")
