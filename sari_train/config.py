"""The recipe tables of ``sari-train``: ``[sft]`` and ``[grpo]``."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from sari_data.config import Table
from sari_data.errors import SariError


class Lora(Table):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), without dropout.

    Args:
        rank: Rank of the update.
        alpha: The update is scaled by alpha / rank.
        target_modules: Names of the text model's linear layers that get an adapter.
        quantize: Hold the frozen text model in 4 bits (``nf4``: QLoRA, Dettmers et al. 2023, arXiv 2305.14314) or in
            8 (``int8``); needs bitsandbytes.
    """

    rank: int = Field(8, ge=1)
    alpha: int = Field(16, ge=1)
    quantize: Literal["nf4", "int8"] | None = None
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Training(Table):
    """What both training loops have in common.

    Args:
        model: Where it starts: ``tiny``, a folder or a hub id.
        out: Where the checkpoint goes.
        corpus: Corpus folder.
        mode: Response mode.
        steps: Optimizer steps of the run.
        micro_batch: Rows in one forward and backward pass; memory, not results, depends on it (but for GRPO's loss
            ``bnpo``, which is a mean over micro-batches).
        optimizer: ``adamw``; ``adamw_8bit`` (states in 8 bits; needs bitsandbytes and a GPU); or ``muon``: Muon for
            the matrices inside the layers and AdamW for the rest.
        learning_rate: Peak learning rate.
        warmup_steps: Steps over which the learning rate rises from 0.
        schedule: What it does then: ``constant``, or ``cosine`` down to a tenth.
        grad_clip: Bound on the gradient's norm.
        save_every: Steps between checkpoints; the last step is always saved.
        keep: Latest checkpoints that are kept; the best by dev accuracy is kept beside them.
        eval_every: Steps between evaluations on the dev split; 0: none.
        eval_questions: How many of its questions they take.
        dtype: Type of the weights.
        mixed_precision: ``bf16``: compute in bfloat16 where the weights are float32 (autocast).
        freeze_audio: Leave the audio tower as it is.
        long_audio: What is done with audio that lasts longer than one window of the model's encoder: ``split`` into
            several spans of the prompt, ``error``, or ``truncate``.
        checkpointing: Keep only each text layer's input for the backward pass and run the layer again there:
            less memory, about a third more time in the policy's pass.
        lora: Train adapters instead of all weights.
        preflight: Check model, corpus and rewards before the first step.
        on_trouble: What a run does after it has told of trouble (a loss that is not finite, a gradient spike,
            rewards that are all one number, every response cut) and saved: ``stop`` or ``go_on``.
        report_to: Trackers that get the metrics beside metrics.jsonl, where installed: ``tensorboard``, ``wandb``,
            ``trackio``.
        log_completions: Steps between samples of completions that are kept with their audio; 0: none. For GRPO.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    model: str = Field(min_length=1)
    out: str = Field(min_length=1)
    corpus: str = Field("corpus", min_length=1)
    mode: str = "structured"
    steps: int = Field(ge=1)
    micro_batch: int = Field(16, ge=1)
    optimizer: Literal["adamw", "adamw_8bit", "muon"] = "adamw"
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(10, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    seed: int = Field(0, ge=0, lt=2**63)
    save_every: int = Field(100, ge=1)
    keep: int = Field(1, ge=1)
    eval_every: int = Field(0, ge=0)
    eval_questions: int = Field(200, ge=1)
    max_new_tokens: int = Field(160, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    mixed_precision: Literal["no", "bf16"] = "no"
    device: str = "auto"
    freeze_audio: bool = False
    long_audio: Literal["split", "error", "truncate"] = "error"
    checkpointing: bool = False
    lora: Lora | None = None
    preflight: bool = True
    on_trouble: Literal["stop", "go_on"] = "stop"
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    log_completions: int = Field(0, ge=0)

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

    @model_validator(mode="after")
    def _one_precision(self) -> Training:
        if self.mixed_precision != "no" and self.dtype != "float32":
            raise ValueError(
                f"mixed_precision {self.mixed_precision} is for weights in float32; found dtype {self.dtype}: set "
                "dtype to float32, or mixed_precision to no"
            )
        return self


class Sft(Training):
    """``[sft]``: supervised fine-tuning on chains.

    Args:
        split: The corpus split with the chains.
        chains: Use only so many of them; absent: all.
        batch_size: Chains in a step.
    """

    model: str = Field("tiny", min_length=1)
    out: str = Field("checkpoints/sft", min_length=1)
    split: str = "sft"
    chains: int | None = Field(None, ge=1)
    steps: int = Field(400, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)

    @model_validator(mode="after")
    def _nothing_sampled(self) -> Sft:
        if self.log_completions:
            raise ValueError("log_completions keeps what GRPO samples, and SFT samples nothing: leave it out")
        return self


class RolloutEngine(Table):
    """``[grpo.rollout]``: what samples.

    Args:
        engine: ``local``: this process, with the weights that learn; ``vllm``: a vLLM server, which gets the weights
            before every step.
        url: Where the server listens.
        timeout: Seconds that one request may take.
        correction_cap: Bound on the weight of a token that corrects for the server's other numbers (truncated
            importance sampling); nothing is corrected with ``local``.
    """

    engine: Literal["local", "vllm"] = "local"
    url: str = "http://127.0.0.1:8000"
    timeout: float = Field(default=600.0, gt=0)
    correction_cap: float = Field(default=2.0, gt=0)

    @field_validator("url")
    @classmethod
    def _possible_url(cls, url: str) -> str:
        from sari_train.rollouts.client import split_url

        try:
            split_url(url)
        except SariError as error:
            raise ValueError("expected an address such as http://127.0.0.1:8000") from error
        return url


class CalibrationName(Table):
    """``[grpo.calibration]``: which of a question's pass rates the run goes by. What is left out may be anything.

    Args:
        responder: Who answered: the full name, or the part before its ``@`` and revision.
        mode: Response mode of the answers.
        seed: Seed of the sampling.
    """

    responder: str | None = Field(None, min_length=1)
    mode: str | None = Field(None, min_length=1)
    seed: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _names_something(self) -> CalibrationName:
        if self.responder is None and self.mode is None and self.seed is None:
            raise ValueError("expected a responder, a mode or a seed of the pass rates to go by")
        return self


class Grpo(Training):
    """``[grpo]``: group relative policy optimisation.

    Args:
        split: The corpus split with the prompts.
        prompts_per_step: Prompts in a step.
        group_size: Samples for each prompt.
        temperature: Of the rollout, and of the log-probabilities.
        updates_per_rollout: Optimizer updates on one rollout (mu in the paper); together they are one of ``steps``.
        loss: ``grpo``, ``dr_grpo``, ``dapo``, ``bnpo``, ``gspo`` or ``cispo`` (sari_train/losses).
        clip_epsilon: How far below 1 the ratio has a gradient; absent: what the loss's paper uses.
        clip_epsilon_high: How far above 1; absent: ``clip_epsilon`` where that is given and the loss's paper has one
            bound for both sides, else what the paper uses.
        beta: Weight of the KL divergence to the model it started from; 0: no reference is held.
        kl: Estimator of the divergence: ``k1``, ``k2`` or ``k3``.
        kl_in: Whether the divergence is part of the ``loss`` or of the ``reward``.
        reference_offload: Keep the reference in the CPU's memory, but for the moments when it runs.
        baseline: What is taken off a reward: the group's ``mean``, or that of the others (``leave_one_out``).
        scale: What the rest is divided by: the standard deviation of the ``group`` or of the ``batch``, BNPO's ``beta``
            density (each reward, in [0, 1], by itself), or ``none``; absent: what the loss's paper uses.
        mask_truncated: Learn nothing from completions that the length bound cut.
        dynamic_sampling: Rounds of fresh prompts, at most, that take the place of groups without a lesson; 0: none.
        curriculum: ``easy_to_hard`` by pass rate (SARI), ``hard_to_easy``, ``random``, ``staged`` (easy to hard in
            ``stages`` parts, shuffled within each) or ``adaptive`` (where the group is expected to disagree).
        curriculum_span: Whether the curriculum goes through each ``epoch``, so that each covers every question, or
            once through the whole ``run``.
        stages: Parts of the ``staged`` curriculum.
        calibration: Which pass rates the curriculum goes by; absent: those in the run's mode, else all.
        rewards: Weight of each reward (SARI: accuracy 2, format 1).
        thought_words: Words that a thought may have for the ``length`` reward.
        cache_mib: Bound on the keys and values kept at once while sampling, in MiB; results do not depend on it.
        rollout: What samples.
    """

    model: str = Field("checkpoints/sft", min_length=1)
    out: str = Field("checkpoints/grpo", min_length=1)
    split: str = "rl"
    steps: int = Field(80, ge=1)
    prompts_per_step: int = Field(24, ge=1)
    group_size: int = Field(8, ge=2)
    learning_rate: float = Field(3e-4, gt=0)
    temperature: float = Field(1.0, ge=0.01)
    updates_per_rollout: int = Field(1, ge=1)
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo", "gspo", "cispo"] = "grpo"
    clip_epsilon: float | None = Field(None, gt=0)
    clip_epsilon_high: float | None = Field(None, gt=0)
    beta: float = Field(0.0, ge=0)
    kl: Literal["k1", "k2", "k3"] = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    reference_offload: bool = False
    baseline: Literal["mean", "leave_one_out"] = "mean"
    scale: Literal["group", "batch", "beta", "none"] | None = None
    mask_truncated: bool = False
    dynamic_sampling: int = Field(0, ge=0)
    curriculum: Literal["easy_to_hard", "hard_to_easy", "random", "staged", "adaptive"] = "easy_to_hard"
    curriculum_span: Literal["epoch", "run"] = "epoch"
    stages: int = Field(3, ge=2)
    calibration: CalibrationName | None = None
    cache_mib: int = Field(4096, ge=1)
    rewards: dict[str, float] = Field(default_factory=lambda: {"accuracy": 2.0, "format": 1.0})
    thought_words: int = Field(50, ge=1)
    rollout: RolloutEngine = RolloutEngine()

    @field_validator("rewards")
    @classmethod
    def _known_rewards(cls, weights: dict[str, float]) -> dict[str, float]:
        from sari_train.rewards import check_rewards, list_rewards

        if not weights or any(w < 0 for w in weights.values()) or not any(weights.values()):
            raise ValueError(f"expected weights of 0 or more for some of {list_rewards()}, one of them above 0")
        try:
            check_rewards(weights)
        except SariError as error:
            raise ValueError(str(error)) from error
        return weights

    @field_validator("scale")
    @classmethod
    def _bounded_rewards(cls, scale: str | None, info: ValidationInfo) -> str | None:
        if scale == "beta" and info.data.get("beta", 0) > 0 and info.data.get("kl_in") == "reward":
            raise ValueError(
                "beta is for rewards in [0, 1], and a divergence taken off them leads beyond: set kl_in to loss, or "
                "take another scale"
            )
        return scale

    @field_validator("rollout")
    @classmethod
    def _servers_temperature(cls, rollout: RolloutEngine, info: ValidationInfo) -> RolloutEngine:
        temperature = info.data.get("temperature", 1.0)
        if rollout.engine == "vllm" and temperature > 2:
            raise ValueError(f"a vLLM server samples at temperatures up to 2; found {temperature}: lower it")
        return rollout
