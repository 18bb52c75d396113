"""Marks that a response carries around its words: tags of other makers, tokens of a chat format, ticks and crosses.

They are set in the words or tags that the reader knows; what is in a thought by another name is a thought.
"""

from __future__ import annotations

import re

# What models call their thought, in tags: everything that is not an answer.
_THOUGHT = re.compile(
    r"<[ \t]{0,3}(?P<close>/?)[ \t]{0,3}(?:thinking|thoughts?|thought_process|analysis|reflection|scratchpad|rationale"
    r"|cot|reason)[ \t]{0,3}>|\[(?P<square>/?)think(?:ing)?\]|◁(?P<kimi>/?)think▷",
    re.IGNORECASE,
)
# Tokens of chat formats ("<|im_end|>", "</s>") and tags that only set words in a style.
_TOKENS = re.compile(
    r"<\|[^<>|]{0,40}\|>|</?s>|<pad>|<eos>|<end_of_turn>"
    r"|<[ \t]{0,3}/?[ \t]{0,3}(?:em|strong|br|span|div|code|pre|mark)[ \t]{0,3}/?>",
    re.IGNORECASE,
)
# Tags and headings in brackets by which models set their answer apart, other than <answer>.
_ANSWER = re.compile(
    r"<[ \t]{0,3}(?P<close>/?)[ \t]{0,3}(?:final[_ ]?answer|final|response|result|output|conclusion|solution|prediction"
    r"|choice|option|selected[_ ]?option|label)[ \t]{0,3}>|\[(?P<square>/?)(?:final )?(?:answer|conclusion)\]",
    re.IGNORECASE,
)
# The number of an item of a list or of a row of a table; "2." alone on its line is an answer.
_NUMBERED = re.compile(
    r"^([ \t]{0,8}(?:[-*][ \t]{1,4}|\|[ \t]{0,4})?(?:\*\*)?)(\d{1,2})(?:[.)][ \t]{1,4}|[ \t]{0,4}(?=\|))(?=\S)",
    re.MULTILINE,
)
_SIGNS = {
    **dict.fromkeys("✅✓✔☑", " correct "),
    **dict.fromkeys("❌✗✘❎✖", " incorrect "),
    **dict.fromkeys("→⇒➜➡⟶", ": "),
    **dict.fromkeys("\ufe0f\ufe0e", ""),
}
_SIGN_TABLE = str.maketrans(_SIGNS)
# A line of a list that judges an option at its end: "* **Piano:** soft and low. ✅"
_JUDGED = re.compile(r"(?P<head>[^:\n]{1,200}:)(?P<said>[^\n]*?)(?P<sign>[✅✓✔☑❌✗✘❎✖])[\ufe0e\ufe0f]?[ \t]*")
_TICKS = "✅✓✔☑"
_ARROW = re.compile(r"(?<![<>=-])[=-]{1,2}>")


def renamed(text: str) -> str:
    """Return a response with thoughts by other names in ``<think>``, and without the tokens of chat formats."""
    if "<" in text or "[" in text or "◁" in text:
        text = _TOKENS.sub(" ", _THOUGHT.sub(_think, text))
    return text


def _think(match: re.Match[str]) -> str:
    close = match["close"] or match["square"] or match["kimi"]
    return f"<{close or ''}think>"


def unmarked(text: str) -> str:
    """Return prose with answers that stand in other tags as "Answer: ...", and with ticks and arrows in words."""
    if "<" in text or "[" in text:
        text = _ANSWER.sub(_answer, text)
    if ">" in text:
        text = _ARROW.sub(": ", text)
    return text if text.isascii() else _judged(text).translate(_SIGN_TABLE)


def _judged(text: str) -> str:
    """Return a text that ends in a list with one tick and a cross at every other line, the signs behind the labels."""
    if not any(tick in text for tick in _TICKS):
        return text
    lines = text.rstrip().split("\n")
    found: list[tuple[int, re.Match[str]]] = []
    for i in range(len(lines) - 1, -1, -1):
        match = _JUDGED.fullmatch(lines[i])
        if match is not None:
            found.append((i, match))
        elif lines[i].strip():
            break
    if len(found) < 2 or sum(match["sign"] in _TICKS for _, match in found) != 1:
        return text
    for i, match in found:
        bold = "**" if match["said"].startswith("**") else ""
        lines[i] = f"{match['head']}{bold} {match['sign']}, {match['said'].removeprefix(bold).strip()}"
    return "\n".join(lines)


def unnumbered(text: str) -> str:
    """Return prose without the numbers of a numbered list, which name no option: "1. A man\\n2. A woman"."""
    if "\n" not in text:
        return text
    found = list(_NUMBERED.finditer(text))
    if [m[2] for m in found[:2]] != ["1", "2"]:
        return text
    return _NUMBERED.sub(r"\1", text)


def _answer(match: re.Match[str]) -> str:
    return "\n" if match["close"] or match["square"] else "\nAnswer: "
