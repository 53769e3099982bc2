"""Fit a datastore on text of your own; the artifact is found again by model, method and text."""

import json
from pathlib import Path

import paretolm
from paretolm.bench.workers.fitting import fit_model

notes = Path("notes.jsonl")
text = "The captain of the Meridian is Okonkwo. The harbour closes at nine, and the ferry leaves at dawn."
notes.write_text(json.dumps({"text": text, "split": "fit"}), encoding="utf-8")
print(fit_model("reference", "knn-lm", notes))

lm = paretolm.load("reference")
for line in ("dense", "knn-lm(lmbda=0.9, k=1)"):
    with paretolm.recipe(line).apply(lm) as session:
        print(f"{line}: {session.generate('The captain of the Meridian is', max_new_tokens=6).text!r}")
