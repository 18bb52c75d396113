"""How prompts and their completions lie in one packed sequence: [prompt 1 | c11 .. c1G | prompt 2 | c21 ..].

Nothing is padded and no prompt is there twice. Token t of any completion of a prompt of P tokens has
position P + t. A completion's last token predicts nothing that is wanted, so it is not in the
sequence: a completion of C tokens takes C - 1 places.

Shapes: T tokens of the sequence, G completions of a prompt, R completions of all prompts, S the longest
of them, K kept tokens (those whose hidden states predict a completion token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

from sari_data.errors import InputError


@dataclass(frozen=True)
class Group:
    """A prompt's tokens, and behind them its completions': the sizes of all of them."""

    prompt: int
    suffixes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.prompt + sum(self.suffixes)


@dataclass(frozen=True)
class Packing:
    """The layout of one packed sequence.

    With ``last_only`` the queries are those of the last layer: of each prompt only its last token, which
    predicts every completion's first. Keys and values are always there for all tokens.
    """

    groups: tuple[Group, ...]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    last_only: bool = False

    @property
    def tokens(self) -> int:
        """Number of tokens T."""
        return sum(g.size for g in self.groups)

    def spans(self) -> list[tuple[int, int, int]]:
        """For each group: where its prompt begins, where its completions begin, where it ends."""
        ends = list(accumulate(g.size for g in self.groups))
        return [(end - g.size, end - g.size + g.prompt, end) for end, g in zip(ends, self.groups, strict=True)]

    def query_spans(self) -> list[tuple[int, int, int]]:
        """The same for the queries: of the prompt all tokens, or under ``last_only`` the last one."""
        if not self.last_only:
            return self.spans()
        ends = list(accumulate(1 + sum(g.suffixes) for g in self.groups))
        return [
            (end - 1 - sum(g.suffixes), end - sum(g.suffixes), end) for end, g in zip(ends, self.groups, strict=True)
        ]

    def positions(self) -> Tensor:
        """Position of each token in its own row [T]."""
        parts = []
        for group in self.groups:
            parts.append(torch.arange(group.prompt))
            parts += [torch.arange(group.prompt, group.prompt + size) for size in group.suffixes]
        return torch.cat(parts).to(self.device)

    def kept(self) -> Tensor:
        """Indices [K] of each prompt's last token and all completion tokens, in order."""
        parts = [torch.arange(middle - 1, end) for _, middle, end in self.spans()]
        return torch.cat(parts).to(self.device)

    def predicting(self) -> list[list[Tensor]]:
        """For each group and completion: which kept tokens (their rank in ``kept``) predict its tokens, in order."""
        found, start = [], 0
        for group in self.groups:
            rows, at = [], start + 1
            for size in group.suffixes:
                rows.append(torch.tensor([start, *range(at, at + size)]))
                at += size
            found.append(rows)
            start = at
        return found

    def suffix_grid(self, *, queries: bool) -> tuple[Tensor, Tensor]:
        """Where the completions' tokens are, padded: (index [R, S], true where there is a token [R, S]).

        Args:
            queries: Index the queries' sequence rather than the keys'; they differ under ``last_only``.
        """
        spans = self.query_spans() if queries else self.spans()
        starts, sizes = [], []
        for (_, middle, _), group in zip(spans, self.groups, strict=True):
            at = middle
            for size in group.suffixes:
                starts.append(at)
                sizes.append(size)
                at += size
        columns = torch.arange(max(sizes, default=0))
        real = columns[None, :] < torch.tensor(sizes, dtype=torch.long)[:, None]
        index = (torch.tensor(starts, dtype=torch.long)[:, None] + columns).where(real, 0)
        return index.to(self.device), real.to(self.device)

    def mask(self) -> Tensor:
        """Which key each query sees, [queries, T]: the plain form of the same attention, for the fallback and tests."""
        allowed = torch.zeros(self.query_spans()[-1][2], self.tokens, dtype=torch.bool)
        for (q0, q1, _), (k0, k1, _), group in zip(self.query_spans(), self.spans(), self.groups, strict=True):
            rows = q1 - q0
            allowed[q0:q1, k0:k1] = torch.ones(rows, k1 - k0, dtype=torch.bool).tril(k1 - k0 - rows)
            q, k = q1, k1
            for size in group.suffixes:
                allowed[q : q + size, k0:k1] = True
                allowed[q : q + size, k : k + size] = torch.ones(size, size, dtype=torch.bool).tril()
                q, k = q + size, k + size
        return allowed.to(self.device)


def pack(prompts: Sequence[int], completions: Sequence[Sequence[int]], device: torch.device) -> Packing:
    """Lay out prompts of ``prompts`` tokens, each with completions of so many tokens.

    Raises:
        InputError: An empty prompt or completion.
    """
    if len(prompts) != len(completions) or not prompts:
        raise InputError(
            f"expected completions for each of one or more prompts; found {len(completions)} for {len(prompts)}"
        )
    for size, sizes in zip(prompts, completions, strict=True):
        if size < 1 or any(s < 1 for s in sizes):
            raise InputError(f"expected prompts and completions of one or more tokens; found {size} and {list(sizes)}")
    return Packing(
        tuple(Group(p, tuple(c - 1 for c in cs)) for p, cs in zip(prompts, completions, strict=True)), device
    )
