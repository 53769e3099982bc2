"""Which settings of ours kvpress_agreement.py holds against which of kvpress."""

from __future__ import annotations

from dataclasses import dataclass

SINKS = 4


@dataclass(frozen=True)
class Case:
    """One policy on both sides. recipe: `{kept}` stands for the entries that kvpress keeps of a prompt, `{window}` for
    the window that keeps as many beside the sinks. same: both must keep the same. why: what differs, and the reason."""

    press: str
    arguments: dict[str, float]
    recipe: str
    same: bool
    why: str = ""

    @property
    def channels(self) -> bool:
        """Key channels are chosen, not entries."""
        return self.press == "ThinKPress"

    def line(self, length: int) -> str:
        kept = int(length * (1 - self.arguments.get("compression_ratio", 0.0)))
        return self.recipe.format(kept=kept, window=kept - SINKS + 1)


def alike(ratio: float) -> tuple[Case, ...]:
    """Each policy with equal settings, without `ratio` of the entries or channels."""
    return (
        Case(
            "SnapKVPress",
            {"compression_ratio": ratio, "window_size": 32, "kernel_size": 5},
            "snapkv(budget={kept}tok, window_size=32, kernel_size=5, pooling=avgpool)",
            same=True,
        ),
        Case(
            "KnormPress",
            {"compression_ratio": ratio},
            "knorm(budget={kept}tok, skip_layers=0)",
            same=True,
            why="in the first layer a token's key has the same norm wherever it stands, so that rounding decides which "
            "of equal ones stays",
        ),
        Case(
            "StreamingLLMPress",
            {"compression_ratio": ratio, "n_sink": SINKS},
            f"streaming-llm(sinks={SINKS}, window={{window}})",
            same=True,
            why="the prompt is read through the window here and densely there, so that the keys above the first layer "
            "differ",
        ),
        Case(
            "ThinKPress",
            {"key_channel_compression_ratio": ratio, "window_size": 32},
            f"think(ratio={ratio}, window_size=32, recent_size=0)",
            same=True,
        ),
    )


OTHERWISE = (
    Case(
        "SnapKVPress",
        {"compression_ratio": 0.9, "window_size": 8},
        "snapkv(budget=10%, window_size=8)",
        same=False,
        why="a share of the prompt is rounded up here and down there",
    ),
    Case(
        "SnapKVPress",
        {"compression_ratio": 0.9, "window_size": 32},
        "snapkv(budget={kept}tok, window_size=32)",
        same=False,
        why="a window of more than half the budget is cut to half of it here, and stays whole there",
    ),
    Case(
        "SnapKVPress",
        {"compression_ratio": 0.75, "window_size": 32},
        "snapkv(budget={kept}tok, window_size=32, pooling=maxpool)",
        same=False,
        why="kvpress pools by the mean only",
    ),
    Case(
        "KnormPress",
        {"compression_ratio": 0.5},
        "knorm(budget={kept}tok)",
        same=False,
        why="the first two layers stay whole here, as in the official code",
    ),
    Case(
        "ThinKPress",
        {"key_channel_compression_ratio": 0.4, "window_size": 32},
        "think(ratio=0.4, window_size=32)",
        same=False,
        why="the newest 32 keys stay whole here and do not count in the norms",
    ),
)
CASES = (*alike(0.5), *alike(0.75), *OTHERWISE)
