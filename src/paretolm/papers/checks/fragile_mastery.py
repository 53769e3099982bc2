"""Fragile Mastery (2503.22698): a model tuned for one domain gains there and loses elsewhere."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

# {data}/domains: JSON lines with text, domain and split, some 2 MB a domain to tune on (split fit) and others to read
# (eval); the embedded text has 22 kB a domain, which sixty steps learn by heart
TUNED = Rerun(study="fragile-mastery(steps=60)", models=("draft",), text="{data}/domains", needs_data=("domains",))

PAPER = Paper(
    title="Fragile Mastery: Are Domain-Specific Trade-Offs Undermining On-Device Language Models?",
    arxiv=("2503.22698",),
    family="evaluation",
    studies=("fragile-mastery",),
    claims=(
        Claim(
            says="Tuning for a domain lowers perplexity in it.",
            metric="gain in the target, nats a token",
            setting="eight domains, 47 benchmarks",
            size="on-device models",
            figure="18 to 25% lower perplexity in the target domain",
            section="abstract and section 1",
            experiment=TUNED,
            limits=(Limit(number="smallest gain in a target", at_least=0, expected=0.2),),
        ),
        Claim(
            says="It costs every specialist in the other domains.",
            metric="loss elsewhere, nats a token",
            setting="eight domains, 47 benchmarks",
            size="on-device models",
            figure="12 to 29% lower F1 on general tasks",
            section="abstract and section 1",
            experiment=TUNED,
            limits=(Limit(number="smallest loss elsewhere", at_least=0, expected=0.1),),
        ),
    ),
)
