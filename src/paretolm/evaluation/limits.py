"""What the roofline leaves: the least time a request can take, and which speed-ups cannot be true.

Roofline: Williams, Waterman, Patterson, 'Roofline: An Insightful Visual Performance Model for Multicore
Architectures', CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arms import Trial

_WORDS = {"decode_tok_s": "decoding", "prefill_tok_s": "reading the prompt"}


@dataclass(frozen=True)
class Rate:
    """Tokens/s as measured, and the most that the roofline allows."""

    measured: float
    ceiling: float

    @property
    def excess(self) -> float:
        return self.measured / self.ceiling


def ideal_seconds(trial: Trial, ceilings: Mapping[str, float]) -> float:
    """The least time for the request of `trial`: each part at its ceiling; a part without one counts nothing."""
    parts = {"prefill_tok_s": trial.prompt_tokens, "decode_tok_s": trial.decoded}
    return sum(tokens / ceilings[name] for name, tokens in parts.items() if name in ceilings)


def impossible(own: Mapping[str, Rate], base: Mapping[str, Rate], spread: float) -> list[str]:
    """A sentence for each rate that this machine cannot reach with the work the recipe says it does.

    A speed-up is impossible where it is above baseline time / least time of the recipe, the least time being the
    roofline's, less by `spread`, the share by which passes over the roofline's own points differ. Where even the
    untouched model is above its ceiling, that ceiling was measured too low, and the limit is raised as much.
    """
    found = []
    for name, rate in own.items():
        slack = (1 + spread) * max(1.0, base[name].excess if name in base else 1.0)
        if rate.excess <= slack:
            continue
        most = rate.ceiling * slack
        against = f" ({most / base[name].measured:.3g}x the untouched model)" if name in base else ""
        found.append(
            f"{_WORDS[name]} at {rate.measured:.4g} tokens/s is beyond the {most:.4g}{against} that memory and "
            "arithmetic of this machine allow; work was skipped, or time was not counted"
        )
    return found


def skipped(trials: Sequence[Trial]) -> list[str]:
    """A sentence where a decoding loop gave fewer tokens than it was asked for, or tokens that no forward read."""
    found = []
    short = min(trials, key=lambda t: t.emitted - t.asked)
    if short.emitted < short.asked:
        found.append(f"it gave {short.emitted} of the {short.asked} tokens asked for, so the times do not compare")
    for trial in trials:
        # with drafts every token is still read once: as a draft that was verified, or as the next input
        due = trial.decoded or max(0, trial.emitted - 1)
        if trial.tokens_read < due and trial.asked:
            found.append(f"{due} tokens came after the first and only {trial.tokens_read} went through a forward")
            break
    return found
