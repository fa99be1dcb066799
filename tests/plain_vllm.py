"""Greedy completions by plain vLLM, without any of rlreason, in a process of its own.

The program's argument is JSON: the model's folder, prompts as token ids, max_tokens, and perhaps
the folder of an adapter.
"""

import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__)


def answers(code: int, output: str) -> list[dict[str, Any]]:
    """Of what the program ended with: ids, text and logprobs of each prompt's completion."""
    assert code == 0, output
    [line] = [line for line in output.splitlines() if line.startswith("ANSWERS")]
    return json.loads(line.removeprefix("ANSWERS"))


def main() -> None:
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    order = json.loads(sys.argv[1])
    adapter = order.get("adapter")
    options: dict[str, Any] = {"enable_lora": True, "max_lora_rank": 8} if adapter else {}
    llm = LLM(
        order["model"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=128,
        max_num_seqs=32,
        kv_cache_memory_bytes=1 << 26,
        **options,
    )
    greedy = SamplingParams(temperature=0.0, max_tokens=order["max_tokens"], logprobs=0)
    prompts = [{"prompt_token_ids": ids} for ids in order["prompts"]]
    request = LoRARequest("exported", 1, adapter) if adapter else None
    done = []
    for output in llm.generate(prompts, greedy, use_tqdm=False, lora_request=request):
        chosen = output.outputs[0]
        logprobs = [at[i].logprob for i, at in zip(chosen.token_ids, chosen.logprobs, strict=True)]
        done.append({"ids": list(chosen.token_ids), "text": chosen.text, "logprobs": logprobs})
    print("ANSWERS", json.dumps(done))


if __name__ == "__main__":
    main()
