"""What a recipe says of a table of questions: which column is what, and in which form its cells are written."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sari_data.config import Table
from sari_data.types import check_domain

LONGEST_NAME = 100  # signs; a run's folder is called after it


class TableMap(Table):
    """``[bench.table]``: the columns of a table of questions; those that are not named are known by their usual names.

    Args:
        name: The benchmark's name; absent: ``table:`` and the file's.
        question: The question's text.
        choices: One column with all options (a list, its JSON form, or a text split at ``separator``), or the columns
            of the options in order.
        separator: What stands between options that are one text.
        strip_letters: Options are written with their letter (``A. dog``): take it off.
        answer: The gold.
        answer_form: How it is given: text (of the option), letter, index0 or index1 (counted from 0 or 1); absent: the
            one form that fits every row.
        audio: Paths relative to the audio folder, or embedded audio; a list of them in a row about several recordings.
        id: The row's own id; absent and with no column of unique ids: its number.
        task: The column of what is heard: sound, music, speech or a mix.
        task_is: What is heard in every row; where ``task`` is named too, in rows where that is empty.
        tasks: The table's words to ours, for instance {"env" = "sound"}.
        category: First level of grouping.
        sub_category: Second level.
        difficulty: easy, medium or hard.
        split: Split of a data set on the Hub or of a folder; may be left out where there is one.
        config: Configuration of it.
    """

    name: str | None = Field(default=None, min_length=1)
    question: str | None = None
    choices: str | tuple[str, ...] | None = None
    separator: str | None = Field(default=None, min_length=1)
    strip_letters: bool = False
    answer: str | None = None
    answer_form: Literal["text", "letter", "index0", "index1"] | None = None
    audio: str | None = None
    id: str | None = None
    task: str | None = None
    task_is: str | None = None
    tasks: dict[str, str] = Field(default_factory=dict)
    category: str | None = None
    sub_category: str | None = None
    difficulty: str | None = None
    split: str | None = None
    config: str | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        fits = value is None or (value.isprintable() and len(value) <= LONGEST_NAME and not set(value) & set("/\\"))
        if not fits or (value or "").startswith("."):
            raise ValueError(f"a name has at most {LONGEST_NAME} signs, all printable, no slash, and no dot in front")
        return value

    @field_validator("task_is")
    @classmethod
    def _is_a_domain(cls, value: str | None) -> str | None:
        if value is not None:
            check_domain(value, "task_is")
        return value

    @field_validator("tasks")
    @classmethod
    def _are_domains(cls, value: dict[str, str]) -> dict[str, str]:
        for word, domain in value.items():
            check_domain(domain, f"tasks: {word!r}")
        return value
