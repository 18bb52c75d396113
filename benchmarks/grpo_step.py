"""One GRPO step on one audio prompt: the fast path beside the way public audio trainers do it.

    python -m benchmarks.grpo_step                     # 30 s clip, G = 8
    python -m benchmarks.grpo_step --sweep             # G in 4, 8, 16 and clips of 5 and 30 s
    python -m benchmarks.grpo_step --device cuda --dtype bfloat16 --published --lora 16    # Qwen2-Audio-7B's shape

Three phases: rollout (sampling), reference (log-probabilities without gradients) and policy (forward and backward).
Each side runs in a fresh process on the same model, prompt, completions and advantages; the baseline is
``benchmarks/baseline.py``. Lengths of the completions are drawn once and are the same for both, nothing else
stops a row, and the gradients of both sides are compared weight by weight. The floor of a phase is the
time its multiplications would take at the machine's measured matrix rate (for decoding, the time to read
the weights once a token at its measured bandwidth, where that is longer).

With ``--lora`` both sides train the same adapters in every linear layer of the text model, the rest is frozen, and the
reference is the model with its adapters off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine

PHASES = ("rollout", "reference", "policy", "step")
BETA = 0.04


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Measure one side's phases in this process."""
    import torch

    from benchmarks import audio_model, floors
    from benchmarks.measure import measured

    size = audio_model.PUBLISHED if config["published"] else audio_model.SMALL
    dtype, device = getattr(torch, config["dtype"]), config["device"]
    lm = audio_model.build(size, device=device, dtype=dtype)
    lm.checkpointing = config["checkpointing"]
    if config["lora"]:
        adapt(lm, config["lora"])
    sizes = audio_model.lengths(config["group"], config["tokens"])
    prompt = audio_model.prompt(lm, config["clip"])
    completions = audio_model.completions(lm, sizes)
    advantages = torch.randn(len(sizes), generator=torch.Generator().manual_seed(3)).to(device)
    # Nothing but the length ends a row, on either side.
    lm.banned_ids = tuple(sorted({*lm.tokenizer.all_special_ids, *lm.banned_ids}))
    phases = (shared if config["side"] == "shared" else baseline)(lm, prompt, sizes, completions, advantages)
    if config["warm"]:
        for phase in phases:
            phase()
        lm.model.zero_grad()
        lm.forget_states()
    found: dict[str, Any] = {}
    for name, phase in zip(PHASES, phases, strict=False):
        lm.forget_states()
        found[name] = measured(phase, device)
    found["step"] = {
        "seconds": round(sum(found[name]["seconds"] for name in PHASES[:3]), 3),
        "mib": max(found[name]["mib"] for name in PHASES[:3]),
    }
    if config["grads"]:
        from safetensors.torch import save_file

        grads = {n: p.grad.float().cpu().contiguous() for n, p in lm.model.named_parameters() if p.grad is not None}
        save_file(grads, config["grads"])
    found["prompt"], found["completions"] = len(prompt.prompt), sum(sizes)
    found["tokens_per_second"] = {
        "rollout": round(sum(sizes) / found["rollout"]["seconds"], 1),
        "step": round(sum(sizes) / found["step"]["seconds"], 1),
    }
    found["weights_mib"] = round(sum(p.numel() * p.element_size() for p in lm.model.parameters()) / 2**20)
    if config["side"] == "shared":
        found["floor"] = floors.of(lm, prompt, sizes, device, dtype)
    return found


def adapt(lm: Any, rank: int) -> None:
    """Put adapters into the text model; they do something, so that their gradients can be compared."""
    import torch

    from sari_train.config import Lora
    from sari_train.lora import add_lora

    add_lora(lm, Lora(rank=rank, alpha=2 * rank), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))


def bare(lm: Any) -> Any:
    """The model that the reference's log-probabilities come from: without its adapters, where it has some."""
    from contextlib import nullcontext

    return lm.adapter.disable_adapter() if lm.adapter is not None else nullcontext()


def baseline(lm: Any, prompt: Any, sizes: Any, completions: Any, advantages: Any) -> list[Any]:
    """The three phases as public trainers run them."""
    import torch

    from benchmarks import baseline as plain

    kept: dict[str, Any] = {}

    def rollout() -> None:
        with torch.no_grad():
            found = plain.rollout(lm, prompt, sizes)
        assert [len(row) for row in found] == list(sizes)

    def reference() -> None:
        with torch.no_grad(), bare(lm):
            kept["ref"], _ = plain.logprobs(lm, prompt, completions)

    def policy() -> None:
        logps, mask = plain.logprobs(lm, prompt, completions)
        plain.loss(logps, kept["ref"], advantages, mask, BETA).backward()

    return [rollout, reference, policy]


def shared(lm: Any, prompt: Any, sizes: Any, completions: Any, advantages: Any) -> list[Any]:
    """The three phases by this package, with the functions that ``sari-train grpo`` calls."""
    import torch

    from sari_data.responder import Sampling
    from sari_train.batch import Encoded, collate
    from sari_train.kernels.linear_loss import linear_loss
    from sari_train.logprobs import completion_hidden, completion_logprobs
    from sari_train.losses import LOSSES
    from sari_train.losses.base import policy_terms, token_weights
    from sari_train.rollout import Rollout, RolloutPrompt

    class Fixed(Rollout):
        def budget(self, prompt: RolloutPrompt, sample: int) -> int:
            return int(sizes[sample])

    kept: dict[str, Any] = {}
    batch = collate(lm, [Encoded(prompt.clip, prompt.prompt, c) for c in completions])
    rows, columns = batch.completion_mask_BC.nonzero(as_tuple=True)

    def rollout() -> None:
        engine = Fixed(lm, Sampling(temperature=1.0, max_new_tokens=max(sizes), stop=()))
        found = engine.generate([RolloutPrompt("q", prompt, range(len(sizes)))])
        assert [len(c.ids) for c in found] == list(sizes)

    def reference() -> None:
        with torch.no_grad(), bare(lm):
            kept["ref"] = completion_logprobs(lm, batch, with_entropy=False)[0][rows, columns]

    def policy() -> None:
        mask, longest = batch.completion_mask_BC, max(sizes)
        weights = token_weights(mask, weighting="sequence", total=len(mask), max_new_tokens=longest)[rows, columns]
        weight, bias = lm.head_weights
        linear_loss(
            completion_hidden(lm, batch),
            weight,
            batch.ids_BT[rows, batch.prompt_lengths_B[rows] + columns],
            lambda logps, some: policy_terms(
                LOSSES["grpo"],
                logps,
                logps.detach(),
                advantages[rows][some],
                weights[some],
                clip_low=0.2,
                clip_high=0.2,
                beta=BETA,
                ref_N=kept["ref"][some],
            )[0],
            bias_V=bias,
        ).loss.backward()

    return [rollout, reference, policy]


def compare(config: dict[str, Any], threads: int) -> dict[str, Any]:
    """Run both sides and put their figures beside each other."""
    from benchmarks.measure import child

    with tempfile.TemporaryDirectory() as folder:
        sides, files = {}, {}
        for side in ("baseline", "shared"):
            files[side] = str(Path(folder) / f"{side}.safetensors") if config["compare_grads"] else ""
            print(f"  {side}: clip {config['clip']:g} s, G = {config['group']}", file=sys.stderr, flush=True)
            sides[side] = child("benchmarks.grpo_step", config | {"side": side, "grads": files[side]}, threads=threads)
        error = worst_gradient(files["baseline"], files["shared"]) if config["compare_grads"] else None
    plain, ours = sides["baseline"], sides["shared"]
    g, p, n = config["group"], ours["prompt"], ours["completions"]
    longest = max_length(config)
    return {
        "config": {**config, "threads": threads, "prompt_tokens": p, "completion_tokens": n},
        "baseline": {name: plain[name] for name in PHASES},
        "shared": {name: ours[name] for name in PHASES},
        "speedup": {name: round(plain[name]["seconds"] / ours[name]["seconds"], 2) for name in PHASES},
        "memory_ratio": {name: round(plain[name]["mib"] / max(ours[name]["mib"], 0.1), 2) for name in PHASES},
        "max_grad_rel_error": error,
        "tokens_per_second": {"baseline": plain["tokens_per_second"], "shared": ours["tokens_per_second"]},
        "weights_mib": ours["weights_mib"],
        "token_ratio": round(g * (p + longest) / (p + n - g), 2),
        "floor": ours["floor"],
    }


def max_length(config: dict[str, Any]) -> int:
    """Longest completion: the baseline pads all to it."""
    from benchmarks.audio_model import lengths

    return max(lengths(config["group"], config["tokens"]))


def worst_gradient(one: str, other: str) -> float:
    """Largest relative error of any weight's gradient: the norm of the difference over the norm."""
    from safetensors.torch import load_file

    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())
    total = sum(float(x.double().norm() ** 2) for x in a.values()) ** 0.5
    # A key's bias has no gradient but for rounding (softmax does not see it), so it is held against the whole.
    return max(float((a[k].double() - b[k].double()).norm() / max(a[k].double().norm(), 1e-4 * total)) for k in a)


def configs(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The settings to be measured."""
    groups, clips = ((4, 8, 16), (5.0, 30.0)) if arguments.sweep else ((arguments.group,), (arguments.clip,))
    return [
        {
            "group": group,
            "clip": clip,
            # About 70 tokens a completion; 562 in all for eight of them.
            "tokens": arguments.tokens or round(562 * group / 8),
            "device": arguments.device,
            "dtype": arguments.dtype,
            "published": arguments.published,
            "checkpointing": arguments.checkpointing,
            "lora": arguments.lora,
            "compare_grads": not arguments.published,
            "warm": arguments.device != "cpu",
        }
        for clip in clips
        for group in groups
    ]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", type=int, default=8, help="completions of the prompt (G)")
    parser.add_argument("--clip", type=float, default=30.0, help="seconds of audio")
    parser.add_argument(
        "--tokens", type=int, help="completion tokens in all (default: 562 for G = 8, and in proportion)"
    )
    parser.add_argument("--sweep", action="store_true", help="G in 4, 8, 16 and clips of 5 and 30 s")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--published", action="store_true", help="Qwen2-Audio-7B's shape")
    parser.add_argument("--checkpointing", action="store_true", help="our side recomputes layers in its backward pass")
    parser.add_argument(
        "--lora", type=int, default=0, metavar="RANK", help="train adapters of this rank; 0: all weights"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(work(json.loads(arguments.child))))
        return
    if arguments.group < 2:
        parser.error(f"--group must be 2 or more; found {arguments.group}: a group of one has no one to compare with")
    rows = [compare(config, arguments.threads) for config in configs(arguments)]
    if arguments.json:
        print(json.dumps(rows[0] if len(rows) == 1 else {"machine": machine.describe(), "sweep": rows}, indent=2))
        return
    print(machine.line(machine.command()))
    for row in rows:
        table(row)


def table(row: dict[str, Any]) -> None:
    """Print one setting as Markdown."""
    c = row["config"]
    print(
        f"\nClip {c['clip']:g} s, prompt {c['prompt_tokens']} tokens, G = {c['group']}, {c['completion_tokens']} "
        f"completion tokens, {c['dtype']} on {c['device']}, {c['threads']} thread(s):\n"
    )
    print("| phase | baseline s | baseline MiB | shared s | shared MiB | faster | leaner | floor s | of the floor |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in PHASES:
        a, b, floor = row["baseline"][name], row["shared"][name], row["floor"]["seconds"][name]
        faster, leaner = row["speedup"][name], row["memory_ratio"][name]
        print(
            f"| {name} | {a['seconds']:.2f} | {a['mib']:.0f} | {b['seconds']:.2f} | {b['mib']:.0f} | "
            f"{faster:.1f}x | {leaner:.1f}x | {floor:.2f} | {b['seconds'] / floor:.2f}x |"
        )
    error = row["max_grad_rel_error"]
    rates = row["tokens_per_second"]
    print(
        f"\nWeights {row['weights_mib']:,} MiB, held beside the figures above on both sides. Sampled tokens a second: "
        f"{rates['baseline']['rollout']:,} and {rates['shared']['rollout']:,} in the rollout, "
        f"{rates['baseline']['step']:,} and {rates['shared']['step']:,} over the step."
    )
    told = "" if error is None else f"Largest relative error of a weight's gradient: {error:.1e}. "
    print(f"\n{told}Positions through the text model: {row['token_ratio']}x fewer.")


if __name__ == "__main__":
    main()
