"""The checks of ``preflight`` on what is written and read: templates, rewards, prompts, tokens.

No model is run; of the model only its processor is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sari_data.answers import follows_grammar, read_response
from sari_data.errors import SariError
from sari_data.prompting import list_modes, load_mode, missing_need
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, encode_example
from sari_train.checks.corpus import clip_seconds
from sari_train.checks.setting import Setting, Verdict, ideal_response, named
from sari_train.models.base import AudioLM

# Questions that take part where a check is slow: all modes but the recipe's, and rewards that a user wrote.
FEW = 16
# Questions that are encoded, features and all: before a training, and by the command.
ENCODED_QUICK, ENCODED = 16, 128
# Rewards of sari's own, which an ideal response earns in full.
OWN_REWARDS = frozenset({"accuracy", "format", "length", "consistency"})


def check_templates(setting: Setting) -> Verdict:
    """Find broken templates of the recipe's mode.

    Faults: a prompt without the question or without one of its options (in their order); a target that the mode's own
    grammar does not accept, or whose answer the grader does not read as the right one. A prompt that does not name the
    tags which the grammar wants is a warning.
    """
    for q in setting.answered:
        prompt = setting.prompt(q)
        missing = _missing(prompt, q)
        if missing:
            return Verdict(
                "fail",
                f"prompt of mode {setting.mode} for question {q.id}",
                "the question, and all its options in their order",
                f"no {' and no '.join(missing)} in {_shown(prompt)}",
                f"mend modes/{setting.mode}/prompt.jinja",
            )
        target = setting.reply(q)
        reading = read_response(target, q.choices)
        given = None if reading.choice is None else q.choices[reading.choice]
        formed = follows_grammar(target, setting.mode)
        if not formed or given != q.answer:
            problem = (
                f"its answer reads as {given!r} ({reading.reason or 'another option'})"
                if formed
                else "it does not follow the grammar"
            )
            return Verdict(
                "fail",
                f"target of mode {setting.mode} for question {q.id}",
                f"each section of {list(load_mode(setting.mode).sections)} once, in order and not empty, with the "
                f"answer {q.answer!r}",
                f"{problem}: {_shown(target)}",
                f"mend modes/{setting.mode}/target.jinja or grammar.toml, or the question's texts",
            )
    measured = f"prompts and targets of mode {setting.mode} for {len(setting.answered)} questions"
    prompt = setting.prompt(setting.read[0])
    absent = [tag for tag in load_mode(setting.mode).tags if f"<{tag}>" not in prompt]
    if absent:
        return Verdict(
            "warning",
            measured,
            "a prompt that names the tags which the grammar wants",
            f"no <{'>, no <'.join(absent)}> in {_shown(prompt)}",
            f"name them in modes/{setting.mode}/prompt.jinja",
        )
    return Verdict("ok", measured)


def check_rewards(setting: Setting) -> Verdict:
    """Find rewards that do not pay for the right answer, or pay for a wrong one.

    In every mode, the target and a made-up response in the mode's form must earn accuracy and format in full where
    they give the right answer, the made-up one (a short thought that ends with the answer) also sari's other rewards
    in the recipe's mode; with any wrong option it must earn less. Rewards of the user's own need only pay more for
    right than for wrong. Faults in a mode that the recipe does not use are warnings, and so are chains of the corpus
    that the length or consistency reward does not pay in full: SFT would teach what GRPO then takes back.
    """
    worst = Verdict("ok", "")
    for mode in (setting.mode, *(m for m in list_modes() if m != setting.mode)):
        own = mode == setting.mode
        problem = _reward_problem(setting, mode, setting.answered[: None if own else FEW])
        if problem and (own or worst.level == "ok"):
            worst = Verdict("fail" if own else "warning", f"rewards {_weights(setting)} in mode {mode}", *problem)
    if worst.level != "ok":
        return worst
    measured = f"right answers earn {_weights(setting)} in full, wrong ones less, in {len(list_modes())} modes"
    if "accuracy" not in {name for name, weight in setting.weights.items() if weight}:
        return Verdict(
            "warning",
            measured,
            "a weight above 0 for accuracy",
            f"{_weights(setting)}: only your own rewards know right from wrong",
            "add accuracy to grpo.rewards, unless that is meant",
        )
    others = [name for name in setting.weights if name in ("length", "consistency")]
    chains = [q for q in setting.answered if missing_need(q, setting.mode) is None] if others else []
    for name in others:
        poor = [q for q in chains if setting.score(q, setting.reply(q))[1][name] < 1]
        if poor:
            found = f"less for {len(poor)} of {len(chains)}: {named(poor)}"
            remedy = f"raise grpo.thought_words or shorten the chains, or take {name} out of grpo.rewards"
            return Verdict("warning", measured, f"full reward {name} for the corpus's own chains", found, remedy)
    return Verdict("ok", measured)


def check_lengths(setting: Setting) -> Verdict:
    """Find a ``max_new_tokens`` that is too small for the mode's responses.

    Every target (from the chain, else made up in the mode's form) is counted in tokens with its end of turn. GRPO
    learns nothing from responses that are cut before the answer: a failure where most are, a warning where some are.
    SFT uses the bound only to evaluate, so there it is a warning.
    """
    limit, rows = setting.table.max_new_tokens, setting.answered
    made_up = sum(missing_need(q, setting.mode) is not None for q in rows)
    lengths = [len(ids) + 1 for ids in setting.target_ids]
    if not lengths:
        return Verdict("skipped", "no question has an answer")
    cut = sum(length > limit for length in lengths)
    measured = (
        f"max_new_tokens {limit}; {len(lengths)} targets of {min(lengths)} to {max(lengths)} tokens"
        + (f", {made_up} made up for want of a chain" if made_up else "")
        + f"; {cut} are longer"
    )
    if not cut:
        return Verdict("ok", measured)
    if setting.grpo is None and not setting.table.eval_every:
        return Verdict("ok", f"{measured}, but nothing is sampled (eval_every is 0)")
    kind = "grpo" if setting.grpo else "sft"
    return Verdict(
        "fail" if setting.grpo and 2 * cut > len(lengths) else "warning",
        measured,
        f"room for the longest target, {max(lengths)} tokens",
        f"{cut} of {len(lengths)} would be cut before the answer",
        f"set {kind}.max_new_tokens to {max(lengths)} or more",
    )


def check_prompts(setting: Setting) -> Verdict:
    """Find prompts and targets that are cut or changed on their way to token ids, or do not fit the context.

    The questions with the most text and the longest clips are encoded as training does it. Decoded again, the ids must
    hold the whole of the user's text and the whole target; around the user's text they must hold the same as every
    other prompt, and behind it what the processor's own chat template puts there.
    """
    lm, rows = setting.lm, _longest(setting, ENCODED_QUICK if setting.quick else ENCODED)
    around, source = _template_around(lm, "user")
    frames: dict[int, tuple[str, str]] = {}
    longest, room = 0, lm.context_length
    for q in rows:
        target = setting.reply(q) if setting.grpo is None else None
        try:
            row = encode_example(lm, Example(q.audio, setting.prompt(q), target))
        except SariError as error:
            found = f"question {q.id}: {error}"
            return Verdict("fail", f"{len(rows)} prompts", "prompts that can be encoded", found, "see there")
        problem = _cut(lm, row, setting.prompt(q), target, frames, around)
        if problem:
            return Verdict(
                "fail",
                f"the prompt of question {q.id}: {len(row.prompt)} tokens",
                "the whole chat",
                problem,
                "nothing may cut or change token ids after the chat template: shorten the text before it instead",
            )
        longest, room = max(longest, len(row)), min(room, lm.context_length - len(row.prompt))
    measured = f"{len(rows)} of the longest are whole, at most {longest} of {lm.context_length} tokens; {source}"
    if room < setting.table.max_new_tokens and (setting.grpo is not None or setting.table.eval_every):
        expected = f"room for max_new_tokens, {setting.table.max_new_tokens}, behind every prompt"
        return Verdict("warning", measured, expected, f"{room} tokens", "shorten the prompts, or lower max_new_tokens")
    return Verdict("ok", measured)


def check_tokens(setting: Setting) -> Verdict:
    """Find targets that the tokenizer does not give back, and ends of turn that are missing or in the way.

    ``decode(encode(target))`` must be the target; where it is not, but the answer and the form survive, that is a
    warning. The end of turn closes each target, once, and sampling stops there; no token that is banned may be in it.
    """
    lm, rows = setting.lm, setting.answered
    targets = [setting.reply(q) for q in rows]
    changed: list[tuple[AudioQuestion, str]] = []
    for q, target, tokens in zip(rows, targets, setting.target_ids, strict=True):
        bad = sorted(set(tokens) & {*lm.stop_ids, *lm.banned_ids})
        if bad:
            names = lm.tokenizer.convert_ids_to_tokens(bad)
            found = f"{', '.join(map(str, names))} in that of question {q.id}"
            return Verdict("fail", "targets", "no control token inside a target", found, "remove it from the text")
        text = lm.tokenizer.decode(tokens, skip_special_tokens=False)
        if text == target:
            continue
        changed.append((q, text))
        reading = read_response(text, q.choices)
        if not follows_grammar(text, setting.mode) or reading.choice is None or q.choices[reading.choice] != q.answer:
            found = f"{_shown(text)} for {_shown(target)} (question {q.id})"
            remedy = "use the model's own tokenizer; a mode whose tags it cannot write needs other tags"
            return Verdict("fail", f"{len(targets)} targets", "the target, decoded from its tokens", found, remedy)
    for example in setting.examples[::2]:
        end = encode_example(lm, example).completion[-1:]
        if not set(end) & set(lm.stop_ids):
            found = f"the last token is {lm.tokenizer.convert_ids_to_tokens(list(end))}"
            remedy = "targets must end with the model's end of turn, or sampling runs to its bound: mend the encoding"
            return Verdict("fail", "targets", "an end of turn at the end, at which sampling stops", found, remedy)
    name = lm.tokenizer.convert_ids_to_tokens(lm.stop_ids[0])
    measured = f"{len(targets) - len(changed)} of {len(targets)} targets come back as they were; all end with {name}"
    around, _ = _template_around(lm, "assistant")
    if around is not None and not around[1].strip().startswith(str(name)):
        found = f"{around[1]!r}, while targets end with {name}"
        remedy = "train on the token that the template ends a turn with, or other tools will not stop there"
        return Verdict("warning", measured, "the chat template to end the assistant's turn alike", found, remedy)
    if changed:
        found = f"{_shown(changed[0][1])} and {len(changed) - 1} more"
        return Verdict("warning", measured, "every target as it was", found, "see what the tokenizer normalises")
    return Verdict("ok", measured)


# -- helpers --------------------------------------------------------------------------------------------------------


def _missing(prompt: str, question: AudioQuestion) -> list[str]:
    """What of a question its prompt lacks; an option counts only after the one before it."""
    before, found, after = prompt.partition(question.question.strip())
    missing = [] if found else [repr(question.question)]
    rest = f"{before}\n{after}"
    for choice in question.choices:
        at = rest.find(choice.strip())
        if at < 0:
            missing.append(f"option {choice!r}")
        else:
            rest = rest[at + len(choice.strip()) :]
    return missing


def _reward_problem(setting: Setting, mode: str, rows: Iterable[AudioQuestion]) -> tuple[str, str, str] | None:
    """What was expected of the rewards, what was found and what to do; ``None`` where they are sound."""
    full = sum(setting.weights.values())
    mend = "mend the reward, or the question's options"
    for at, q in enumerate(rows):
        ideal = ideal_response(mode, str(q.answer), words=setting.thought_words)
        try:
            responses = [setting.reply(q, mode=mode), ideal]
        except SariError as error:
            return f"a target for question {q.id}", str(error), f"mend modes/{mode}/target.jinja"
        earned = 0.0
        for text in responses:
            earned, parts = setting.score(q, text, mode=mode)
            # The other rewards are made for the recipe's mode.
            wanted = OWN_REWARDS if text is ideal and mode == setting.mode else {"accuracy", "format"}
            poor = [f"{name} {parts[name]:g}" for name in parts if name in wanted and parts[name] < 1]
            if poor:
                found = f"{', '.join(poor)} for {_shown(text)}"
                return f"1 for the right answer {q.answer!r} of question {q.id}", found, mend
        for wrong in {c for c in q.choices if c != q.answer} if at < FEW or set(setting.weights) <= OWN_REWARDS else ():
            text = ideal_response(mode, wrong, words=setting.thought_words)
            paid, parts = setting.score(q, text, mode=mode)
            if parts.get("accuracy", 0) >= 1 or (paid >= earned and setting.weights.get("accuracy")):
                return (
                    f"less for the wrong answer {wrong!r} of question {q.id} than for the right one, {q.answer!r}",
                    f"{paid:g} of {full:g}, accuracy {parts.get('accuracy', 0):g}, for {_shown(text)}",
                    mend,
                )
    return None


def _weights(setting: Setting) -> str:
    return " + ".join(f"{weight:g} {name}" for name, weight in setting.weights.items())


def _shown(text: str, most: int = 160) -> str:
    return repr(text if len(text) <= most else f"{text[:most]}...")


def _longest(setting: Setting, most: int) -> list[AudioQuestion]:
    """Some questions to encode: those asked, those with the most text, and those with the longest clips."""
    by_text = sorted(setting.read, key=lambda q: -len(setting.prompt(q)) - len((q.answer and setting.reply(q)) or ""))
    by_clip = sorted(setting.read, key=lambda q: -clip_seconds(q))
    return list({q.id: q for q in (*setting.asked, *by_text[: most // 2], *by_clip[: most // 2])}.values())


def _template_around(lm: AudioLM, role: str) -> tuple[tuple[str, str] | None, str]:
    """What the processor's chat template puts before and behind the user's text, or the assistant's, and a note on it.

    The first is ``None`` where the template cannot be asked: some processors know messages of another form only.
    """
    mark = "WHAT IS SAID HERE"
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "audio", "audio_url": ""}]}]
    if role == "user":
        messages[0]["content"].append({"type": "text", "text": mark})
    else:
        messages.append({"role": role, "content": mark})
    try:
        chat = lm.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=role == "user")
    except Exception as error:  # prompts are then compared with each other only
        return None, f"the chat template was not compared: {type(error).__name__}"
    before, found, after = str(chat).rpartition(mark)
    if not found:
        return None, "the chat template was not compared: it does not show the text"
    return (before, after), "around the text stands what the chat template puts there"


def _cut(
    lm: AudioLM,
    row: Encoded,
    prompt: str,
    target: str | None,
    frames: dict[int, tuple[str, str]],
    around: tuple[str, str] | None,
) -> str | None:
    """What is wrong with the ids of a prompt and its target; ``frames`` collects what stands around the user's text."""

    def said(ids: Iterable[int]) -> str:
        return str(lm.tokenizer.decode([i for i in ids if i != lm.audio_token_id], skip_special_tokens=False))

    def plain(text: str) -> str:
        # As the tokenizer has it, which may normalise.
        return said(lm.tokenizer(text, add_special_tokens=False)["input_ids"])

    text = said(row.prompt)
    before, found, after = text.partition(plain(prompt).strip())
    if not found:
        return f"the user's text is not whole: the ids read {_shown(text[-160:])}, the text is {_shown(prompt)}"
    spans = sum(a == lm.audio_token_id != b for a, b in zip(row.prompt, (None, *row.prompt), strict=False))
    if around is not None and spans == 1:
        frames.setdefault(spans, (plain(around[0]), plain(around[1])))
    first = frames.setdefault(spans, (before, after))
    # White space next to the user's text may go with it.
    if (first[0].rstrip(), first[1].lstrip()) != (before.rstrip(), after.lstrip()):
        return f"around the user's text stand {before!r} and {after!r}, where {first[0]!r} and {first[1]!r} belong"
    answer = said(row.completion[:-1])
    if target is not None and answer.strip() != plain(target).strip():
        return f"the target is not whole: the ids read {_shown(answer[-160:])}, the text is {_shown(target)}"
    return None
