"""How prompts and their completions lie in one packed sequence: [prompt 1 | c11 .. c1G | prompt 2 | c21 ..].

Nothing is padded and no prompt is there twice. Token t of any completion of a prompt of P tokens has
position P + t. A completion's last token predicts nothing that is wanted, so it is not in the
sequence: a completion of C tokens takes C - 1 places.

Shapes: T tokens of the sequence, G completions of a prompt, R runs of tokens, S the longest of them, K kept
tokens (those whose hidden states predict a completion token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from sari_data.errors import InputError

# Prompts up to so many tokens attend to themselves in one padded call; longer ones in a call each.
TOGETHER = 1024


@dataclass(frozen=True)
class Group:
    """A prompt's tokens, and behind them its completions': the sizes of all of them.

    A prompt with one completion is one row: ``prompt`` then counts both, and its last ``tail`` tokens predict the
    completion's.
    """

    prompt: int
    suffixes: tuple[int, ...]
    tail: int = 1

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.prompt + sum(self.suffixes)


@dataclass(frozen=True)
class Grid:
    """Runs of tokens as a padded batch: where a run's queries and keys are [R, S], and which places are real [R, S]."""

    queries_RS: Tensor
    keys_RS: Tensor
    real_RS: Tensor

    @classmethod
    def of(cls, queries: Sequence[int], keys: Sequence[int], sizes: Sequence[int], device: torch.device) -> Grid:
        """Lay out runs that begin at these queries and keys."""
        columns = torch.arange(max(sizes))
        real = columns[None, :] < torch.tensor(sizes)[:, None]
        at_queries, at_keys = ((torch.tensor(s)[:, None] + columns).where(real, 0).to(device) for s in (queries, keys))
        return cls(at_queries, at_keys, real.to(device))

    @cached_property
    def query_rows(self) -> Tensor:
        """The queries that are real, run after run."""
        return self.queries_RS[self.real_RS]

    @cached_property
    def key_rows(self) -> Tensor:
        """Their keys."""
        return self.keys_RS[self.real_RS]


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

    @property
    def queries(self) -> int:
        """Number of queries."""
        return self.query_spans[-1][2]

    @cached_property
    def spans(self) -> list[tuple[int, int, int]]:
        """For each group: where its prompt begins, where its completions begin, where it ends."""
        ends = list(accumulate(g.size for g in self.groups))
        return [(end - g.size, end - g.size + g.prompt, end) for end, g in zip(ends, self.groups, strict=True)]

    @cached_property
    def query_spans(self) -> list[tuple[int, int, int]]:
        """The same for the queries: of the prompt all tokens, or under ``last_only`` the last one."""
        if not self.last_only:
            return self.spans
        sizes = [sum(g.suffixes) for g in self.groups]
        ends = list(accumulate(1 + size for size in sizes))
        return [(end - 1 - size, end - size, end) for end, size in zip(ends, sizes, strict=True)]

    @cached_property
    def for_last_layer(self) -> Packing | None:
        """The layout under ``last_only``; ``None`` where a prompt is a row of which more than one token is wanted."""
        if any(group.tail > 1 for group in self.groups):
            return None
        return Packing(self.groups, self.device, last_only=True)

    @cached_property
    def positions(self) -> Tensor:
        """Position of each token in its own row [T]."""
        parts = []
        for group in self.groups:
            parts.append(torch.arange(group.prompt))
            parts += [torch.arange(group.prompt, group.prompt + size) for size in group.suffixes]
        return torch.cat(parts).to(self.device)

    @cached_property
    def kept(self) -> Tensor:
        """Indices [K] of each prompt's last token (or tail) and all completion tokens, in order."""
        spans = zip(self.spans, self.groups, strict=True)
        return torch.cat([torch.arange(middle - g.tail, end) for (_, middle, end), g in spans]).to(self.device)

    def predicting(self) -> list[list[Tensor]]:
        """For each group and completion: which kept tokens (their rank in ``kept``) predict its tokens, in order."""
        found, start = [], 0
        for group in self.groups:
            rows, at = [], start + 1
            for size in group.suffixes:
                rows.append(torch.tensor([start, *range(at, at + size)]))
                at += size
            if not group.suffixes:
                at = start + group.tail
                rows = [torch.arange(start, at)]
            found.append(rows)
            start = at
        return found

    @cached_property
    def suffix_grid(self) -> Grid | None:
        """Where the completions' tokens are, row by row; ``None`` where there are none."""
        queries, keys, sizes = [], [], []
        for (_, q, _), (_, k, _), group in zip(self.query_spans, self.spans, self.groups, strict=True):
            for size in group.suffixes:
                queries.append(q)
                keys.append(k)
                sizes.append(size)
                q, k = q + size, k + size
        return Grid.of(queries, keys, sizes, self.device) if any(sizes) else None

    @cached_property
    def prompt_grid(self) -> Grid | None:
        """Where the prompts' tokens are, where they run in one call; ``None`` where each has its own."""
        sizes = [group.prompt for group in self.groups]
        if self.last_only or len(sizes) == 1 or max(sizes) > TOGETHER:
            return None
        starts = [start for start, _, _ in self.spans]
        return Grid.of(starts, starts, sizes, self.device)

    def mask(self) -> Tensor:
        """Which key each query sees, [queries, T]: the plain form of the same attention, for the fallback and tests."""
        allowed = torch.zeros(self.queries, self.tokens, dtype=torch.bool)
        for (q0, q1, _), (k0, k1, _), group in zip(self.query_spans, self.spans, self.groups, strict=True):
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
    groups = (
        Group(p + cs[0] - 1, (), tail=cs[0]) if len(cs) == 1 else Group(p, tuple(c - 1 for c in cs))
        for p, cs in zip(prompts, completions, strict=True)
    )
    return Packing(tuple(groups), device)
