"""The recipe tables of ``sari-train``: ``[sft]`` and ``[grpo]``."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, field_validator

from sari_data.config import Table


class Lora(Table):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), without dropout.

    Args:
        rank: Rank of the update.
        alpha: The update is scaled by alpha / rank.
        target_modules: Names of the text model's linear layers that get an adapter.
    """

    rank: int = Field(8, ge=1)
    alpha: int = Field(16, ge=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Training(Table):
    """What both training loops have in common.

    Args:
        model: Where it starts: ``tiny``, a folder or a hub id.
        out: Where the checkpoint goes.
        corpus: Corpus folder.
        mode: Response mode.
        steps: Optimizer steps of the run.
        micro_batch: Rows in one forward and backward pass; memory, not results, depends on it.
        optimizer: ``adamw``, or ``muon``: Muon for the matrices inside the layers and AdamW for the rest.
        learning_rate: Peak learning rate.
        warmup_steps: Steps over which the learning rate rises from 0.
        schedule: What it does then: ``constant``, or ``cosine`` down to a tenth.
        grad_clip: Bound on the gradient's norm.
        save_every: Steps between checkpoints; the last step is always saved.
        eval_every: Steps between evaluations on the dev split; 0: none.
        eval_questions: How many of its questions they take.
        dtype: Type of the weights.
        freeze_audio: Leave the audio tower as it is.
        checkpointing: Keep only each text layer's input for the backward pass and run the layer again there:
            less memory, about a third more time in the policy's pass.
        lora: Train adapters instead of all weights.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    model: str
    out: str = Field(min_length=1)
    corpus: str = "corpus"
    mode: str = "structured"
    steps: int = Field(ge=1)
    micro_batch: int = Field(16, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(10, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    seed: int = Field(0, ge=0, lt=2**63)
    save_every: int = Field(100, ge=1)
    eval_every: int = Field(0, ge=0)
    eval_questions: int = Field(200, ge=1)
    max_new_tokens: int = Field(160, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    freeze_audio: bool = False
    checkpointing: bool = False
    lora: Lora | None = None

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, mode: str) -> str:
        from sari_data.prompting import load_mode

        load_mode(mode)
        return mode

    @field_validator("out")
    @classmethod
    def _possible_path(cls, out: str) -> str:
        if "\0" in out:
            raise ValueError("a path cannot hold a null character")
        return out


class Sft(Training):
    """``[sft]``: supervised fine-tuning on chains.

    Args:
        split: The corpus split with the chains.
        chains: Use only so many of them; absent: all.
        batch_size: Chains in a step.
    """

    model: str = "tiny"
    out: str = Field("checkpoints/sft", min_length=1)
    split: str = "sft"
    chains: int | None = Field(None, ge=1)
    steps: int = Field(400, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)


class Grpo(Training):
    """``[grpo]``: group relative policy optimisation.

    Args:
        split: The corpus split with the prompts.
        prompts_per_step: Prompts in a step.
        group_size: Samples for each prompt.
        temperature: Of the rollout, and of the log-probabilities.
        updates_per_rollout: Optimizer steps on one rollout (mu in the paper).
        clip_epsilon: Half width of the interval around 1 in which the ratio has a gradient.
        beta: Weight of the KL divergence to the model it started from; 0: no reference is held.
        normalise: ``sequence`` (as in the paper) or ``token``.
        scale_std: Divide a group's advantages by its standard deviation.
        curriculum: ``easy_to_hard`` by pass rate, or ``random``.
        rewards: Weight of each reward (SARI: accuracy 2, format 1).
        cache_mib: Bound on the keys and values kept at once while sampling, in MiB; results do not depend on it.
    """

    model: str = "checkpoints/sft"
    out: str = Field("checkpoints/grpo", min_length=1)
    split: str = "rl"
    steps: int = Field(80, ge=1)
    prompts_per_step: int = Field(24, ge=1)
    group_size: int = Field(8, ge=2)
    learning_rate: float = Field(3e-4, gt=0)
    temperature: float = Field(1.0, ge=0.01)
    updates_per_rollout: int = Field(1, ge=1)
    clip_epsilon: float = Field(0.2, gt=0, lt=1)
    beta: float = Field(0.0, ge=0)
    normalise: Literal["sequence", "token"] = "sequence"
    scale_std: bool = True
    curriculum: Literal["easy_to_hard", "random"] = "easy_to_hard"
    cache_mib: int = Field(4096, ge=1)
    rewards: dict[str, float] = Field(default_factory=lambda: {"accuracy": 2.0, "format": 1.0})

    @field_validator("rewards")
    @classmethod
    def _known_rewards(cls, weights: dict[str, float]) -> dict[str, float]:
        from sari_train.rewards import REWARDS

        unknown = sorted(set(weights) - set(REWARDS))
        if unknown or not weights or any(w < 0 for w in weights.values()) or not any(weights.values()):
            raise ValueError(f"expected weights of 0 or more for some of {sorted(REWARDS)}, one of them above 0")
        return weights
