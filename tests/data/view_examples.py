"""A corpus with something of everything that the page of a corpus shows."""

from __future__ import annotations

from pathlib import Path

from corpus_examples import CARD

from sari_data.sources import load_source
from sari_data.store import write_corpus
from sari_data.types import AudioQuestion, AudioRef, PassRate, Provenance

HOSTILE = (
    "</script><script>window.harm = 1</script>",
    '<img src=x onerror="window.harm = 2">',
    "javascript:window.harm=3",
    "\u2028window.harm = 4\u2029//",
    "<!--<script>window.harm = 5</script>",
    "${window.harm = 6}`{{ 7 * 7 }}",
    "\"' onfocus=window.harm=7 autofocus x='",
)


def scenes(number: int, seed: int = 0) -> list[AudioQuestion]:
    """So many questions of each domain."""
    source = load_source("scenes")
    options = source.Options(questions=dict.fromkeys(("sound", "music", "speech"), number))
    return list(source.generate(options, seed))


def rated(question: AudioQuestion, passes: int) -> AudioQuestion:
    """With pass rates for its own audio, without audio, and with another's."""
    band = ("never", "hard", "hard", "hard", "medium", "medium", "easy", "easy", "always")[passes]
    rates = (
        PassRate(passes, 8, "tiny@main", "structured", 0, "own", round((passes + 1) / 10, 3), band),
        PassRate(min(2, passes), 8, "tiny@main", "structured", 0, "none"),
        PassRate(1, 8, "tiny@main", "structured", 0, "other"),
    )
    return question.replace(pass_rates=rates)


def write_example(folder: Path, number: int = 10) -> Path:
    """Write a corpus of scenes with pass rates, flags, chains, provenance by video and a side file."""
    found = scenes(number)
    part = len(found) // 3
    sft, rl, dev = found[:part], found[part : 2 * part], found[2 * part :]
    rl = [rated(question, n % 9) for n, question in enumerate(rl)]
    rl[1] = rl[1].replace(flags=("passes_without_audio",))
    rl[2] = rl[2].replace(flags=("near_duplicate", "contaminated"))
    video = Provenance("AudioSet", "abc", "CC BY 4.0", {"caption": "qwen@1"}, "Y0aBcDeFgH_", 30.0, 40.0)
    sft[1] = sft[1].replace(provenance=video, caption=None)
    sft[0] = sft[0].replace(reasoning=type(sft[0].reasoning)(None, "only free thought"))
    dev[0] = dev[0].replace(audio=AudioRef(path="broken.wav", data=b"RIFF of no audio"))
    never = [rated(question, 0) for question in rl[-2:]]
    splits = {"sft": sft, "rl": rl[:-2], "dev": dev, "never_passed": never}
    manifest = {"name": "example", "licences": {"CC0-1.0": len(found) - 1, "CC BY 4.0": 1}, "sari_version": "0.1.0"}
    write_corpus(folder, splits, manifest, card=CARD)
    return folder


def write_hostile(folder: Path) -> Path:
    """Write a corpus whose every text tries to run something."""
    first = scenes(1)[0]
    found = []
    for number, text in enumerate(HOSTILE):
        chain = first.reasoning.structured
        assert chain is not None
        found.append(
            first.replace(
                id=f"q{number}{text}",
                question=text,
                choices=(text, f"{text}2"),
                answer=text,
                caption=text,
                category=text,
                sub_category=text,
                reasoning=type(first.reasoning)(type(chain)(text, text, text, text), text),
                pass_rates=(PassRate(1, 2, text, text, 0),),
                provenance=Provenance(text, text, text, {text: text}, text, 1.0, 2.0),
                flags=(text,),
            )
        )
    name = HOSTILE[0]
    write_corpus(folder, {"rl": found}, {"name": name, "licences": {name: 1}, "sari_version": name}, card=CARD)
    return folder
