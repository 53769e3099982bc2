"""Write a model with its weights in 4 bits, and use the directory."""

from pathlib import Path

import paretolm
from paretolm.recipes.export import export

directory = export("reference", "finequant(bits=4) + window(window=256)", "smaller")
size = sum(file.stat().st_size for file in Path(directory).glob("*.safetensors"))
print(f"{size:,} bytes of weights in {directory}")

lm = paretolm.load(str(directory))
print("in the weights:", lm.recipe_in_force, "- still to apply:", lm.recipe_left)
with paretolm.recipe(lm.recipe_left).apply(lm) as session:
    print(session.generate("Once upon a time", max_new_tokens=16).text)
