"""Compare recipes with the untouched model from Python; finished cells are kept in .paretolm and read next time."""

from pathlib import Path

from paretolm.bench.compare import compare
from paretolm.bench.report.render import write

found = compare(
    "reference",
    ["window(window=64)", "snapkv(budget=25%)"],
    ["recall(repeats=1)"],
)
for recipe in found.recipes:
    accuracy = recipe.cell("recall").metrics[0]
    held = recipe.kv_bytes.held if recipe.kv_bytes else 0
    print(f"{recipe.typed:24} recall {accuracy.estimate.value:3.0f}%, {held:9,.0f} bytes of cache")
    if accuracy.delta is not None:
        print(f"{'':24} {accuracy.delta.value:+.0f} points [{accuracy.delta.low}, {accuracy.delta.high}]")
write(found, Path("report.html"))
