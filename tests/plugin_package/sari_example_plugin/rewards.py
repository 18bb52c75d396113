"""Rewards of a user's own: one that works, one that does not suit every mode, one that is no factory."""

from sari_data.errors import InputError
from sari_train.rewards import Reward, Sample, Settings


def brief(settings: Settings) -> Reward:
    """Make the reward that falls from 1 to 0 over as many words as a thought may have."""

    def reward(sample: Sample) -> float:
        return max(0.0, 1 - len(sample.text.split()) / settings.thought_words)

    return reward


def picky(settings: Settings) -> Reward:
    """Refuse every mode but direct."""
    if settings.mode != "direct":
        raise InputError(f"reward 'picky' is for mode 'direct'; found {settings.mode!r}: choose another reward")
    return brief(settings)


def unmade(sample: Sample) -> float:
    """Return a number at once, as somebody writes it who has not read that a factory is asked for."""
    return 1.0
