"""What a model writes: fixed beginnings, continued by its most likely tokens and by drawn ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..evaluation.streams import encode, separator, tokenizer_of
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from .scoring import Tell, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

PROMPTS = (
    "Once upon a time",
    "The climate of the country is",
    "def read_lines(path):\n",
)
TEMPERATURE = 0.8
NEW_TOKENS = 64


def samples(lm: LM, tell: Tell = silent, *, new_tokens: int = NEW_TOKENS, seed: int = 0) -> list[dict[str, Any]]:
    """Prompt, greedy continuation, and one drawn at temperature 0.8 with the seed."""
    tokenizer, found = tokenizer_of(lm), []
    with Session.open(lm, Recipe()) as session:
        for number, prompt in enumerate(PROMPTS):
            ids = [*separator(tokenizer, first=True), *encode(tokenizer, prompt)[0]]
            greedy = session.generate(ids, max_new_tokens=new_tokens).text
            drawn = session.generate(
                ids, max_new_tokens=new_tokens, seed=seed, do_sample=True, temperature=TEMPERATURE, top_k=0
            ).text
            found.append({"prompt": prompt, "greedy": greedy, "drawn": drawn})
            tell((number + 1) / len(PROMPTS))
    return found
