"""What the synthetic speakers say."""

from __future__ import annotations

import random


def text(rng: random.Random, language: str) -> str:
    """Something to say: numbers, which any language reads in its words, or an English phrase."""
    if language.startswith("en") and rng.random() < 0.7:
        return " ".join(rng.choice(words) for words in _PHRASE) + "."
    return ", ".join(str(rng.randrange(10 ** (digits - 1), 10**digits)) for digits in (2, 3, 4))


_PHRASE = [
    line.split("|")
    for line in """\
the|a|this|our|every|one|that|her
old|young|quiet|happy|tired|clever|small|famous|lonely|polite
teacher|farmer|doctor|neighbour|sailor|painter|driver|student|captain|lawyer
found|bought|carried|forgot|noticed|borrowed|painted|moved|offered|wanted
three|seven|many|several|few|eleven|twenty|five
yellow|broken|heavy|wooden|empty|round|warm|cheap|dusty
boxes|books|chairs|letters|bottles|apples|cameras|shoes|windows|guitars
yesterday|near the river|in the garden|behind the church|before lunch|at the station
""".splitlines()
]
