"""Figures show the card's numbers."""

from __future__ import annotations

from typing import Any

import pytest

from paretolm.cards import figures


def lines(figure: Any, panel: int = 0) -> dict[str, list[float]]:
    return {line.get_label(): [float(y) for y in line.get_ydata()] for line in figure.axes[panel].lines}


def test_perplexity_by_position(card: dict[str, Any]) -> None:
    drawn = lines(figures._longer(card["longer"]))
    assert {name: drawn[name] for name in card["longer"]["perplexity"]} == card["longer"]["perplexity"]


def test_attention_by_layer(card: dict[str, Any]) -> None:
    figure = figures._first_tokens(card["first_tokens"])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([100 * s for s in card["first_tokens"]["by_layer"]])


def test_recall_by_depth() -> None:
    depths = [{"value": v} for v in (0.2, 0.6)]
    cells = [{"kind": k, "num_facts": n, "by_depth": depths} for k in ("literal", "paraphrased") for n in (1, 4)]
    drawn = lines(figures._recall({"depths": [0.0, 1.0], "cells": cells}))
    assert drawn.keys() == {"1 fact, literal", "4 facts, literal", "1 fact, paraphrased", "4 facts, paraphrased"}
    assert all(values == [20.0, 60.0] for values in drawn.values())


def test_curves_of_a_run_with_and_without_held_out_text(card: dict[str, Any]) -> None:
    figure = figures._training(card["training"])
    assert list(lines(figure, 1).values()) == [[1.9, 1.4]]
    assert len(figures._training(card["training"] | {"valid": []}).axes) == 1


def test_more_than_three_colours_told_apart() -> None:
    assert len(set(figures.COLOURS)) == len(figures.COLOURS) >= 3
