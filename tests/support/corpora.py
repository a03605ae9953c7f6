"""Seeded text for the tests of the data room."""

import random

WORDS = [
    "apple",
    "river",
    "stone",
    "window",
    "garden",
    "yellow",
    "paper",
    "train",
    "silver",
    "mountain",
    "cloud",
    "letter",
    "music",
    "bridge",
    "forest",
    "winter",
    "summer",
    "candle",
    "mirror",
    "ocean",
    "pencil",
    "rocket",
    "shadow",
    "thunder",
    "village",
    "whisper",
    "orange",
    "button",
    "castle",
]


def prose(seed: int, n_words: int) -> str:
    """Seeded English-looking text of `n_words` words; texts of two seeds share no long run of words."""
    draw = random.Random(seed)
    return " ".join(draw.choice([*WORDS, "the", "of", "and", "a"]) for _ in range(n_words)).capitalize() + "."
