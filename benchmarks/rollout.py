"""Sampling G answers to audio prompts: the rollout engine beside transformers' ``generate``.

    python -m benchmarks.rollout
    python -m benchmarks.rollout --prompts 4 --group 16 --clip 5

Each side runs in a fresh process on the same model, prompts and lengths of the answers. ``generate`` takes
one prompt at a time with ``num_return_sequences=G``, as GRPO trainers call it; the engine takes all prompts at
once.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks import machine


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Measure one side in this process."""
    import torch

    from benchmarks import audio_model, baseline
    from benchmarks.measure import measured
    from sari_data.responder import Sampling
    from sari_train.rollout import Rollout, RolloutPrompt

    size = audio_model.PUBLISHED if config["published"] else audio_model.SMALL
    lm = audio_model.build(size, device=config["device"], dtype=getattr(torch, config["dtype"]))
    lm.banned_ids = tuple(sorted({*lm.tokenizer.all_special_ids, *lm.banned_ids}))
    count, group = config["prompts"], config["group"]
    prompts = [audio_model.prompt(lm, config["clip"], seed=i) for i in range(count)]
    sizes = [audio_model.lengths(group, config["tokens"], seed=i) for i in range(count)]

    class Fixed(Rollout):
        def budget(self, prompt: RolloutPrompt, sample: int) -> int:
            return sizes[int(prompt.id)][sample]

    def generate() -> None:
        with torch.no_grad():
            for prompt, some in zip(prompts, sizes, strict=True):
                baseline.rollout(lm, prompt, some)

    def engine() -> None:
        asked = [RolloutPrompt(str(i), p, range(group)) for i, p in enumerate(prompts)]
        found = Fixed(lm, Sampling(temperature=1.0, max_new_tokens=max(map(max, sizes)), stop=())).generate(asked)
        assert [len(c.ids) for c in found] == [s for some in sizes for s in some]

    if config["device"] != "cpu":
        (engine if config["side"] == "engine" else generate)()
    figures = measured(engine if config["side"] == "engine" else generate, config["device"])
    return figures | {"tokens": sum(map(sum, sizes)), "prompt": len(prompts[0].prompt)}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--clip", type=float, nargs="+", default=[5.0, 30.0])
    parser.add_argument("--tokens", type=int, default=562, help="tokens of one prompt's answers in all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--published", action="store_true", help="Qwen2-Audio-7B's shape")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(work(json.loads(arguments.child))))
        return
    from benchmarks.measure import child

    rows = []
    for clip in arguments.clip:
        for prompts in arguments.prompts:
            config = {"clip": clip, "prompts": prompts, "group": arguments.group, "tokens": arguments.tokens}
            config |= {"device": arguments.device, "dtype": arguments.dtype, "published": arguments.published}
            row: dict[str, Any] = {"config": config | {"threads": arguments.threads}}
            for side in ("generate", "engine"):
                print(f"  clip {clip:g} s, {prompts} prompt(s), {side}", file=sys.stderr, flush=True)
                row[side] = child("benchmarks.rollout", config | {"side": side}, threads=arguments.threads)
            row["speedup"] = round(row["generate"]["seconds"] / row["engine"]["seconds"], 2)
            row["memory_ratio"] = round(row["generate"]["mib"] / row["engine"]["mib"], 2)
            rows.append(row)
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows}, indent=2))
        return
    print(machine.line(machine.command()))
    print("\n| clip s | prompts | generate s | MiB | engine s | MiB | tokens/s | faster | leaner |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        c, a, b = row["config"], row["generate"], row["engine"]
        print(
            f"| {c['clip']:g} | {c['prompts']} | {a['seconds']:.1f} | {a['mib']:.0f} | {b['seconds']:.1f} | "
            f"{b['mib']:.0f} | {b['tokens'] / b['seconds']:.0f} | {row['speedup']}x | {row['memory_ratio']}x |"
        )


if __name__ == "__main__":
    main()
