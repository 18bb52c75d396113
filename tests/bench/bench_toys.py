"""Small questions, and answers to them, that the tests of sari_bench share."""

from __future__ import annotations

from sari_data.types import AudioQuestion, AudioRef


def make_questions(count: int) -> list[AudioQuestion]:
    """Questions with three tasks, two skills and three difficulties, and audio that nobody decodes."""
    domains, levels = ("sound", "music", "speech"), ("easy", "medium", "hard")
    return [
        AudioQuestion(
            id=f"q{index:03d}",
            audio=AudioRef(path=f"q{index}.wav", data=f"recording {index}, not decoded here".encode()),
            question=f"What is heard in recording {index}?",
            choices=("dog", "cat", "rain", "bell"),
            answer=("dog", "cat", "rain", "bell")[index % 4],
            domain=domains[index % 3],
            category="Perception" if index % 2 else "Reasoning",
            sub_category=f"skill {index % 2}",
            difficulty=levels[index % 3],
        )
        for index in range(count)
    ]


def right(question: AudioQuestion) -> str:
    """A right answer."""
    return f"<answer>{question.answer}</answer>"


def wrong(question: AudioQuestion) -> str:
    """A wrong answer."""
    return f"<answer>{next(choice for choice in question.choices if choice != question.answer)}</answer>"
