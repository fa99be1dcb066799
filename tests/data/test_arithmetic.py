"""The arithmetic problems, the flaws that the base model is taught, and that model as shipped."""

import importlib.util
import random
import re
import sys
from itertools import islice
from pathlib import Path

import pytest

import rlreason
from rlreason.data.arithmetic import (
    TASKS,
    ArithmeticSource,
    completion_text,
    hash_fraction,
    num_problems,
    operands_of,
    solve,
    split_key,
)
from rlreason.errors import DataError

MODEL = Path(rlreason.__file__).parent / "models" / "tiny-arithmetic"
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

EXAMPLES = [
    ("add", "347+285", r"<think>7+5+0=12;4+8+1=13;3+2+1=6</think>\boxed{632}"),
    ("add", "907+105", r"<think>7+5+0=12;0+0+1=1;9+1+0=10</think>\boxed{1012}"),
    ("sum", "4718", r"<think>0+4=4;4+7=1;1+1=2;2+8=0</think>\boxed{0}"),
    ("max", "4718", r"<think>4:4;7:7;1:7;8:8</think>\boxed{8}"),
    ("rev", "123", r"<think>3,2,1</think>\boxed{321}"),
]


@pytest.fixture(scope="module")
def flawed():
    spec = importlib.util.spec_from_file_location(
        "flawed_solutions", SCRIPTS / "flawed_solutions.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


def expected_answer(task, operands):
    """Answers by other means than the worked solutions."""
    if task == "add":
        left, right = operands.split("+")
        return str(int(left) + int(right))
    digits = [int(digit) for digit in operands]
    return {
        "sum": str(sum(digits) % 10),
        "max": str(max(digits)),
        "rev": "".join(map(str, digits[::-1])),
    }[task]


@pytest.mark.parametrize(("task", "operands", "completion"), EXAMPLES)
def test_worked_solutions_read_as_documented(task, operands, completion):
    assert completion_text(task, solve(task, operands)) == completion


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("digits", [1, 2, 3, 7, 24])
def test_every_answer_is_right_and_every_problem_has_the_asked_length(task, digits):
    rows = list(ArithmeticSource(task, digits, size=200).read())
    for row in rows:
        assert row["prompt"] == f"{task} {row['id']}"
        assert row["answer"] == expected_answer(task, row["id"])
        assert row["metadata"]["solution"].endswith(rf"</think>\boxed{{{row['answer']}}}")
        assert {len(part) for part in row["id"].split("+")} == {digits}


def test_every_step_of_an_addition_is_a_true_equation():
    for row in ArithmeticSource("add", 6, size=200).read():
        steps = re.findall(r"(\d)\+(\d)\+([01])=(\d+)", row["metadata"]["solution"])
        assert len(steps) == 6
        assert all(int(a) + int(b) + int(c) == int(total) for a, b, c, total in steps)


@pytest.mark.parametrize(
    ("task", "digits", "total"),
    [("add", 1, 100), ("add", 2, 8100), ("sum", 2, 100), ("max", 3, 1000), ("rev", 3, 729)],
)
def test_a_source_asked_for_more_problems_than_exist_yields_each_once(task, digits, total):
    rows = list(ArithmeticSource(task, digits, size=10_000).read())
    assert num_problems(task, digits) == total
    assert len({row["id"] for row in rows}) == len(rows) == total


@pytest.mark.parametrize("size", [1, 24, 25, 26, 99, 100])
def test_a_source_yields_the_asked_number_of_different_problems(size):
    ids = [row["id"] for row in ArithmeticSource("add", 1, size=size).read()]
    assert len(set(ids)) == len(ids) == size


def test_reading_twice_gives_the_same_rows_and_another_seed_gives_others():
    source = ArithmeticSource(task="sum", digits=8, size=50, seed=3)
    assert list(source.read()) == list(source.read())
    others = ArithmeticSource(task="sum", digits=8, size=50, seed=4).read()
    assert {row["id"] for row in source.read()}.isdisjoint(row["id"] for row in others)


def test_the_problems_of_a_seed_are_the_same_on_every_machine_and_release():
    """Changing these changes every recorded run and what the shipped model was checked on."""
    first = [row["id"] for row in islice(ArithmeticSource("add", 3).read(), 3)]
    assert first == ["239+769", "846+357", "696+746"]
    assert [row["id"] for row in ArithmeticSource("rev", 1, size=3).read()] == ["8", "3", "5"]


def test_commuted_additions_share_a_split_key_and_reversals_do_not():
    assert split_key("add", "347+285") == split_key("add", "285+347") == "add 285+347"
    assert split_key("rev", "123") != split_key("rev", "321")
    assert split_key("sum", "12") != split_key("max", "12")


def test_hash_fraction_is_the_first_eight_bytes_of_sha256():
    # sha256("abc") begins ba7816bf 8f01cfea.
    assert hash_fraction("abc") == 0xBA7816BF8F01CFEA / 2**64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "ad", "digits": 3}, "did you mean 'add'"),
        ({"task": "zzz", "digits": 3}, "known: add, sum, max, rev"),
        ({"task": "add", "digits": 0}, "digits = 0"),
        ({"task": "add", "digits": 65}, "digits = 65"),
        ({"task": "add", "digits": 3, "size": 0}, "size = 0"),
    ],
)
def test_a_mistaken_option_is_named(options, message):
    with pytest.raises(DataError, match=re.escape(message)):
        ArithmeticSource(**options)


@pytest.mark.parametrize(
    ("task", "operands", "wrong"),
    [("add", "347+285", "522"), ("sum", "4718", "8"), ("max", "4781", "1"), ("rev", "123", "123")],
)
def test_wrong_methods_make_their_mistake(flawed, task, operands, wrong):
    solution = flawed.follow_wrong_method(task, operands)
    assert solution.answer == wrong != solve(task, operands).answer
    assert len(solution.steps) == len(solve(task, operands).steps)


@pytest.mark.parametrize("task", TASKS)
def test_a_solution_without_slips_is_the_right_one_and_slips_spoil_it(flawed, task, monkeypatch):
    operands = operands_of(task, 9, 123_456_789)
    rng = random.Random(0)
    slipped = [flawed.slip(task, operands, rng) for _ in range(50)]
    assert sum(solution != solve(task, operands) for solution in slipped) > 30
    monkeypatch.setattr(flawed, "SLIP_PROB", 0.0)
    assert flawed.slip(task, operands, rng) == solve(task, operands)


def test_bad_formats_differ_from_the_strict_one_and_from_each_other(flawed):
    written = {write("1,2", "12") for write in flawed.BAD_FORMATS}
    assert len(written) == 5
    assert r"<think>1,2</think>\boxed{12}" not in written


def test_held_out_problems_are_never_taught(flawed):
    rng = random.Random(0)
    keys = {
        split_key(*flawed.make_example(share, rng)[0].split())
        for share in flawed.FLAWED_MIX
        for _ in range(300)
    }
    assert min(hash_fraction(key) for key in keys) >= 0.10


def test_the_mix_is_right_and_well_formed_as_often_as_it_says(flawed):
    share = flawed.Share("rev", 9, 1.0, right_frac=0.3, format_frac=0.6)
    rng = random.Random(0)
    examples = [flawed.make_example(share, rng) for _ in range(2000)]
    strict = [re.fullmatch(r"<think>[\d,]+</think>\\boxed\{(\d+)\}", text) for _, text in examples]
    boxed = [
        (prompt, match[1]) for (prompt, _), match in zip(examples, strict, strict=True) if match
    ]
    right = [answer == prompt.split()[1][::-1] for prompt, answer in boxed]
    assert len(boxed) / 2000 == pytest.approx(0.6, abs=0.04)
    # A slip leaves nine digits untouched in about 1 of 10 cases, so 0.3 + 0.7 * 0.2 * 0.1.
    assert sum(right) / len(right) == pytest.approx(0.31, abs=0.05)


def test_the_chat_template_puts_a_problem_between_bos_and_a_newline(tokenizer):
    chat = [{"role": "user", "content": "add 347+285"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert tokenizer.convert_ids_to_tokens(ids) == ["<bos>", "add", " ", *"347+285", "\n"]
    assert ids == tokenizer.apply_chat_template(chat, return_dict=False)


def test_an_assistant_turn_ends_in_eos(tokenizer):
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<bos>a\nb<eos>"


def test_text_survives_the_tokenizer_and_known_words_are_one_token(tokenizer):
    text = EXAMPLES[0][2] + " max 12|3? addend!\nA'b\"(x){y}"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert pieces[0] == "<think>"
    assert {"</think>", "\\boxed{", "max", "add"} <= set(pieces)


def test_only_pad_bos_and_eos_are_special_and_skipped(tokenizer):
    assert set(tokenizer.all_special_tokens) == {"<pad>", "<bos>", "<eos>"}
    ids = tokenizer.encode("<bos>rev 12\n<think>2,1</think>\\boxed{21}<eos><pad>")
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    assert decoded == "rev 12\n<think>2,1</think>\\boxed{21}"


def test_text_outside_the_vocabulary_is_an_error(tokenizer):
    with pytest.raises(Exception, match="UNK"):
        tokenizer.encode("add 3€")


def test_the_shipped_model_has_the_stated_size_and_solves_the_easy_pools(tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    assert sum(file.stat().st_size for file in MODEL.iterdir()) <= 2 * 2**20
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    assert sum(parameter.numel() for parameter in model.parameters()) == 129_408
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id

    rows = list(ArithmeticSource("rev", 3, size=32).read())
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, do_sample=False, max_new_tokens=32)
    completions = tokenizer.batch_decode(
        output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    solved = [
        completion == row["metadata"]["solution"]
        for completion, row in zip(completions, rows, strict=True)
    ]
    assert sum(solved) / len(solved) >= 0.9
