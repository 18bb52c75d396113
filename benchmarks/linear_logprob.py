"""The head: log-probabilities and cross entropy without logits [N, V], beside logits in full.

    python -m benchmarks.linear_logprob                       # D = 2048, V = 156,032, N = 1,024 and 4,096
    python -m benchmarks.linear_logprob --rows 256 --vocabulary 32000 --width 512
    python -m benchmarks.linear_logprob --device cuda --dtype bfloat16 --width 4096

Forward and backward, each in a fresh process. ``naive`` is ``log_softmax`` (or ``cross_entropy``) of
``hidden @ weight.T`` in float32, with autograd. ``one pass`` is ``linear_loss`` (GRPO) or
``linear_cross_entropy`` (fine-tuning), which the trainer uses; ``any loss`` is ``linear_logprob``, whose
gradients wait for the loss. Memory is what is used beyond inputs and weights; beyond the weight's gradient
too, where the head trains. On a GPU Liger-Kernel's and TRL's are measured beside them where they are installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import machine

FORMS = ("naive", "one pass", "any loss")


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Measure one form in this process."""
    import torch

    from benchmarks.measure import measured

    device, dtype = config["device"], getattr(torch, config["dtype"])
    n, d, v = config["rows"], config["width"], config["vocabulary"]
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype)

    hidden = draw(n, d).requires_grad_()
    weight = (draw(v, d) / d**0.5).requires_grad_(config["head"] == "trainable")
    targets = torch.randint(v, (n,), generator=generator, device=device)
    scale = torch.linspace(-1, 1, n, device=device) / n
    loss = forms(config["kind"])[config["form"]]

    def step() -> None:
        loss(hidden, weight, targets, scale).backward()

    if device != "cpu":
        step()
        hidden.grad = weight.grad = None
    figures = measured(step, device)
    grad_mib = weight.numel() * weight.element_size() / 2**20 if config["head"] == "trainable" else 0.0
    assert hidden.grad is not None
    return {
        "seconds": figures["seconds"],
        "mib_beyond_dw": round(figures["mib"] - grad_mib, 1),
        "check": [float(hidden.grad.double().norm()), float(hidden.grad[n // 2].double().sum())],
    }


def forms(kind: str) -> dict[str, Callable[..., Any]]:
    """The loss of each form: GRPO's on its own samples, or the mean cross entropy."""
    from torch.nn.functional import cross_entropy

    from sari_train.kernels.linear_logprob import linear_logprob
    from sari_train.kernels.linear_loss import linear_cross_entropy, linear_loss

    def surrogate(logps: Any, scale: Any) -> Any:
        return -((logps - logps.detach()).exp() * scale).sum()

    def naive(hidden: Any, weight: Any, targets: Any, scale: Any) -> Any:
        logps = (hidden @ weight.T).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
        return surrogate(logps, scale)

    def one_pass(hidden: Any, weight: Any, targets: Any, scale: Any) -> Any:
        return linear_loss(
            hidden, weight, targets, lambda logps, at: surrogate(logps, scale[at]), with_entropy=False
        ).loss

    def any_loss(hidden: Any, weight: Any, targets: Any, scale: Any) -> Any:
        return surrogate(linear_logprob(hidden, weight, targets, with_entropy=False)[0], scale)

    if kind == "logprob":
        return {"naive": naive, "one pass": one_pass, "any loss": any_loss}
    return {
        "naive": lambda h, w, t, _: cross_entropy((h @ w.T).float(), t),
        "one pass": lambda h, w, t, _: linear_cross_entropy(h, w, t),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=156_032)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(work(json.loads(arguments.child))))
        return
    from benchmarks.measure import child

    found = []
    for rows in arguments.rows:
        for kind, head in ((k, h) for k in ("logprob", "cross entropy") for h in ("trainable", "frozen")):
            shape = {"rows": rows, "width": arguments.width, "vocabulary": arguments.vocabulary}
            setting = shape | {"kind": kind, "head": head, "device": arguments.device, "dtype": arguments.dtype}
            entry: dict[str, Any] = {"config": setting | {"threads": arguments.threads}}
            for form in FORMS:
                # With a frozen head both of ours are the same two products.
                if form == "any loss" and (kind != "logprob" or head == "frozen"):
                    continue
                print(f"  N = {rows}, {kind}, {head} head, {form}", file=sys.stderr, flush=True)
                entry[form] = child("benchmarks.linear_logprob", setting | {"form": form}, threads=arguments.threads)
            plain, ours = entry["naive"], entry["one pass"]
            entry["time_ratio"] = round(ours["seconds"] / plain["seconds"], 3)
            entry["memory_share"] = round(ours["mib_beyond_dw"] / plain["mib_beyond_dw"], 3)
            entry["gradient_difference"] = abs(ours["check"][0] - plain["check"][0]) / plain["check"][0]
            found.append(entry)
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), "rows": found}, indent=2))
        return
    print(machine.line(machine.command()))
    print(f"\nD = {arguments.width}, V = {arguments.vocabulary:,}, {arguments.dtype} on {arguments.device}:\n")
    print("| N | kind | head | form | seconds | of naive's | MiB beyond dW | of naive's |")
    print("|---|---|---|---|---|---|---|---|")
    for entry in found:
        c, plain = entry["config"], entry["naive"]
        for form in FORMS:
            if form in entry:
                s, m = entry[form]["seconds"], entry[form]["mib_beyond_dw"]
                print(
                    f"| {c['rows']} | {c['kind']} | {c['head']} | {form} | {s:.2f} | {s / plain['seconds']:.2f} | "
                    f"{m:.0f} | {m / plain['mib_beyond_dw']:.2f} |"
                )


if __name__ == "__main__":
    main()
