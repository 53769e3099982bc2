"""Row: one number of one scored item; METRICS: what each number means. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Tag = float | int | str
Better = Literal["lower", "higher", "zero"]
Scale = Literal["mean", "perplexity", "binary"]


@dataclass(frozen=True)
class Metric:
    """unit and direction of a row's value.

    scale says how rows become one number: 'mean' is the weighted mean, 'binary' the same of 0/1 values
    (paired by McNemar), 'perplexity' exp of the weighted mean, so that a difference is shown as a ratio.
    """

    name: str
    unit: str
    better: Better
    help: str
    scale: Scale = "mean"

    @property
    def label(self) -> str:
        """What the summed-up number is called."""
        return self.name if self.scale != "perplexity" or "perplexity" in self.name else self.scale


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("nll", "nats/token", "lower", "negative log-likelihood; summed up as perplexity", "perplexity"),
        Metric("bits_per_byte", "bits/byte", "lower", "the same text's cost per byte, comparable across tokenizers"),
        Metric(
            "word_perplexity", "nats/word", "lower", "the text's cost per word; summed up as perplexity", "perplexity"
        ),
        Metric(
            "byte_perplexity", "nats/byte", "lower", "the text's cost per byte; summed up as perplexity", "perplexity"
        ),
        Metric("audit_nll_gap", "nats/token", "zero", "one token at a time minus in chunks, on the same tokens"),
        Metric("kl", "nats/token", "lower", "KL(untouched || recipe) of the next-token distribution"),
        Metric("js", "bits/token", "lower", "Jensen-Shannon divergence from the untouched model, 0 to 1"),
        Metric("same_top", "share", "higher", "the untouched model's most likely token is still on top"),
        Metric("recall", "share", "higher", "the planted fact's answer stands in the greedy continuation", "binary"),
        Metric("answer_logprob", "nats/answer", "higher", "log-probability of the right answer"),
        Metric("acc", "share", "higher", "the right choice is the most likely one", "binary"),
        Metric("acc_norm", "share", "higher", "the same, likelihood divided by the choice's characters", "binary"),
        Metric("acc_bytes", "share", "higher", "the same, likelihood divided by the choice's bytes", "binary"),
        Metric("margin", "nats", "higher", "log-likelihood of the right choice minus that of the best wrong one"),
        Metric("word_nll", "nats/word", "lower", "negative log-likelihood of the last word", "perplexity"),
        Metric("target_nll", "nats/target", "lower", "negative log-likelihood of a whole target", "perplexity"),
        Metric("exact_match", "share", "higher", "the generated answer is the right one", "binary"),
        Metric(
            "flexible_match", "share", "higher", "the last number in the generated answer is the right one", "binary"
        ),
        Metric("f1", "share", "higher", "words that the generated answer shares with the nearest right one"),
        Metric("rouge_l", "share", "higher", "words in the same order in the generated answer and a right one"),
        Metric("rouge_1", "share", "higher", "words shared with the nearest reference"),
        Metric("followed", "share", "higher", "every rule of the instruction is kept", "binary"),
        Metric("rules_kept", "share", "higher", "rules of the instruction that are kept"),
        Metric("rep_2", "share", "lower", "pairs of tokens that stood in the continuation before"),
        Metric("rep_3", "share", "lower", "runs of three tokens that stood in the continuation before"),
        Metric("rep_4", "share", "lower", "runs of four tokens that stood in the continuation before"),
        Metric("distinct_1", "share", "higher", "different tokens among the tokens of the continuation"),
        Metric("diversity", "share", "higher", "(1 - rep_2) (1 - rep_3) (1 - rep_4)"),
        Metric("new_tokens", "tokens", "zero", "length of the continuation"),
        Metric("judge_nll", "nats/token", "lower", "the continuation under the judging model", "perplexity"),
        Metric("ttft_s", "s", "lower", "from the prompt to the first token chosen"),
        Metric("prefill_tok_s", "tokens/s", "higher", "prompt tokens over the time to the first token"),
        Metric("decode_tok_s", "tokens/s", "higher", "tokens after the first, one text"),
        Metric("tokens_per_forward", "tokens", "higher", "tokens a decoding forward of the model yields"),
        Metric("ttft_ratio", "x", "higher", "the baseline's time to the first token over this one's, same repeat"),
        Metric("decode_speed_ratio", "x", "higher", "decoding rate over the baseline's of the same repeat"),
        Metric("held_weight_bytes", "bytes", "lower", "storages of parameters and buffers, second models included"),
        Metric("held_kv_bytes", "bytes", "lower", "storages of keys, values and positions"),
        Metric("held_index_bytes", "bytes", "lower", "storages of scores, queries and tables beside the cache"),
        Metric("steady_kv_bytes", "bytes", "lower", "steady bytes above the point where the cache was still empty"),
        Metric("steady_total_bytes", "bytes", "lower", "steady bytes above a process without a model"),
        Metric("peak_kv_bytes", "bytes", "lower", "peak above the point where the cache was still empty"),
        Metric("peak_total_bytes", "bytes", "lower", "peak above a process without a model, loading included"),
    )
}


@dataclass(frozen=True, slots=True)
class Row:
    """One number: `value` of `metric` for a part of `item` that comes from document `doc`.

    weight is what the value stands for (tokens of nll, bytes of bits_per_byte, 1 of a question). Rows of two
    recipes pair up when item, doc, metric and tags are equal; documents are the clusters of every interval.
    """

    item: str
    doc: str
    metric: str
    value: float
    weight: float = 1.0
    tags: Mapping[str, Tag] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, tuple[tuple[str, Tag], ...]]:
        """What pairs this row with the same row of another recipe."""
        return self.item, self.doc, self.metric, tuple(sorted(self.tags.items()))
