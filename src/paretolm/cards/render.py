"""card.json -> README.md: a page made of the measured numbers alone, the same for the same card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..evaluation.isolated import size_text
from . import words
from .figures import FIGURES, FOLDER

Card = Mapping[str, Any]
NOTICE = "<!-- Written by `paretolm card` from card.json: measure again instead of editing. -->"


def render(card: Card) -> str:
    """The model card in Markdown. A part that was not measured has no section."""
    lines = [*_front(card), *_opening(card)]
    for key, (title, section) in _SECTIONS.items():
        if card.get(key):
            lines += ["", f"## {title}", "", *section(card[key])]
            if key in FIGURES:
                lines += ["", f"![{title}]({FOLDER}/{FIGURES[key]})"]
    if card.get("skipped"):
        left_out = (f"- {name.replace('_', ' ')}: {why}" for name, why in card["skipped"].items())
        lines += ["", "## Not measured", "", *left_out]
    return "\n".join(lines) + "\n"


def _front(card: Card) -> Iterator[str]:
    yield "---"
    if card.get("license"):
        yield f"license: {card['license']}"
    yield from ("library_name: transformers", "pipeline_tag: text-generation", "tags:", "- paretolm")
    yield from ("- " + card["model"]["architecture"].removesuffix("ForCausalLM").lower(), "---", NOTICE)


def _opening(card: Card) -> Iterator[str]:
    model = card["model"]
    yield from ("", f"# {model['name']}", "")
    yield (
        f"A causal language model of {words.million(model['parameters'])} parameters that reads texts of "
        f"{model['trained_length']:,} tokens"
        + (f", each begun with `{model['first_token']}`. " if model["first_token"] else ". ")
        + "Every number below was measured by `paretolm card` and stands in [card.json](card.json) too."
    )
    yield ""
    yield from words.table(("", ""), _facts(model), numbers=False)


def _facts(model: Card) -> Iterator[tuple[str, str]]:
    tied = ", input and output embedding tied" if model["tied"] else ""
    ffn = f", feed-forward {model['feed_forward']:,}" if model["feed_forward"] else ""
    yield "architecture", model["architecture"]
    yield (
        "shape",
        f"{model['layers']} layers of width {model['width']:,}{ffn}; {model['heads']} query heads and "
        f"{model['kv_heads']} key-value heads of {model['head_width']}{tied}",
    )
    yield "parameters", f"{model['parameters']:,}"
    yield "vocabulary", f"{model['vocabulary']:,} tokens"
    yield "trained length", f"{model['trained_length']:,} tokens"
    size = f"{size_text(model['file_bytes'])}, " if model["file_bytes"] else ""
    yield "weights", f"{size}measured in {model['dtype']}"
    yield "hash of weights, config and tokenizer", f"`{model['content']}`"
    yield "hash of the vocabulary", f"`{model['tokenizer']}`"


def _text(found: Card) -> Iterator[str]:
    whole = found["bits_per_byte"]
    rows = [(name.replace("_", " "), d) for name, d in found["domains"].items()]
    interval = "" if whole["low"] is None else f" [{words.bits(whole['low'])}, {words.bits(whole['high'])}]"
    yield from words.table(
        ("text", "bits per byte", "documents", "bytes"),
        [
            ("all", f"**{words.bits(whole['value'])}**{interval}", f"{found['documents']:,}", f"{found['bytes']:,}"),
            *((name, words.bits(d["value"]), f"{d['documents']:,}", f"{d['bytes']:,}") for name, d in rows),
        ],
    )
    yield ""
    yield (
        f"Loss {found['loss']:.3f} nats a token, perplexity {words.perplexity(found['perplexity'])} over its own "
        f"tokens. Read: the first {found['characters']:,} characters of each document of `{found['name']}` in windows "
        f"of {found['window']:,} tokens, one after the other, each begun as a text begins. The interval (95%) is over "
        "documents."
    )


def _recall(found: Card) -> Iterator[str]:
    depths = [f"at {words.percent(d)}" for d in found["depths"]]
    rows = (
        (
            c["kind"],
            f"{c['num_facts']}",
            words.with_interval(c),
            *(words.percent(d["value"]) for d in c["by_depth"]),
        )
        for c in found["cells"]
    )
    yield from words.table(("phrasing", "facts", "recall", *depths), rows)
    yield ""
    lengths = " and ".join(words.percent(x) for x in found["lengths"])
    trials = found["cells"][0]["trials"]
    yield (
        f"A four-digit key is told somewhere in a text of {lengths} of the trained length and asked for at its end; "
        f"with several facts, about one of them. {trials} questions a row, greedy answers, Wilson's 95% intervals. "
        "Columns: where the fact stands, 0% is the beginning. In the paraphrased phrasing fact and question share "
        "the name alone."
    )


def _longer(found: Card) -> Iterator[str]:
    rows = ((name, *map(words.perplexity, line)) for name, line in found["perplexity"].items())
    yield from words.table(("perplexity at, in trained lengths", *words.spans(found["edges"])), rows)
    yield ""
    lines = "; ".join(f"{name}: `{line}`" for name, line in found["recipes"].items() if name != line)
    yield (
        f"{found['streams']} streams of several documents, {found['tokens']:,} tokens in all, read through the cache. "
        f"Compare within a column: each column holds other text. {lines}."
    )
    if found["sampled"]:
        yield ""
        yield from _sampled(found["sampled"], found["window"])


def _sampled(found: Card, window: int) -> Iterator[str]:
    rows = (
        (name, words.perplexity(arm["value"]), f"{arm['ratio']:.3f} {_interval(arm)}" if "ratio" in arm else "1")
        for name, arm in found["arms"].items()
    )
    yield from words.table((f"at {found['positions']} positions", "perplexity", "ratio to the first"), rows)
    yield ""
    yield (
        f"All at the same positions beyond {found['from']} trained lengths. Recomputed: a fresh forward over the last "
        f"{window:,} tokens for every token, with or without the first four tokens of the text among them."
    )


def _interval(arm: Card) -> str:
    return "" if arm["low"] is None else f"[{arm['low']:.3f}, {arm['high']:.3f}]"


def _first_tokens(found: Card) -> Iterator[str]:
    layers = [words.percent(s) for s in found["by_layer"]]
    yield from words.table(
        ("layer", *(f"{i}" for i in range(len(layers)))), [(f"the first {found['tokens']} tokens", *layers)]
    )
    yield ""
    yield (
        f"Share of attention, mean over heads and queries of {found['texts']} texts of the trained length. Spread "
        f"evenly it would be {words.percent(found['even'])}."
    )


def _blimp(found: Card) -> Iterator[str]:
    rows = (
        (name.replace("_", " "), words.with_interval(f), f"{f['trials']}") for name, f in found["by_phenomenon"].items()
    )
    yield from words.table(
        ("phenomenon", "accuracy", "pairs"),
        [("all", f"**{words.percent(found['value'])}** {words.between(found)}", f"{found['trials']:,}"), *rows],
    )
    yield ""
    yield (
        "Minimal pairs of BLiMP: the grammatical sentence is the more likely one, all its tokens summed up. "
        "Chance is 50%; Wilson's 95% intervals."
    )


def _draft(found: Card) -> Iterator[str]:
    interval = "" if found["low"] is None else f" {words.between(found)}"
    yield (
        f"`{found['name']}` ({words.million(found['parameters'])} parameters) has the same most likely next token at "
        f"{words.percent(found['value'])}{interval} of {found['positions']:,} positions, in windows of "
        f"{found['window']:,} tokens."
    )


def _samples(found: list[Card]) -> Iterator[str]:
    for number, sample in enumerate(found):
        if number:
            yield ""
        yield "Most likely tokens:"
        yield from ("", words.fenced(sample["prompt"] + sample["greedy"]), "", "Drawn at temperature 0.8:", "")
        yield words.fenced(sample["prompt"] + sample["drawn"])


def _training(found: Card) -> Iterator[str]:
    tokens = f", {words.million(found['tokens'])} tokens" if found["tokens"] else ""
    last = f", loss {found['loss'][-1][1]:.3f} nats a token at the end"
    valid = found["valid_last"] or {}
    held_out = f", {words.bits(valid['all'])} bits per byte on held-out text" if "all" in valid else ""
    yield f"{found['steps']:,} steps{tokens}{last}{held_out}."
    yield ""
    settings = ((f"`{name}`", f"{value}") for name, value in found["settings"].items())
    yield from words.table(("setting", "value"), settings, numbers=False)


_SECTIONS: dict[str, tuple[str, Callable[[Any], Iterator[str]]]] = {
    "text": ("Predicting text", _text),
    "recall": ("Recall of planted facts", _recall),
    "longer": ("Texts longer than the trained length", _longer),
    "first_tokens": ("Attention on the first tokens", _first_tokens),
    "blimp": ("Grammar", _blimp),
    "draft": ("A draft model", _draft),
    "samples": ("Samples", _samples),
    "training": ("Training", _training),
}
