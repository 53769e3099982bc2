"""Continue a prompt under a recipe, and see what it did."""

import paretolm

lm = paretolm.load("reference")
recipe = paretolm.recipe("streaming-llm(sinks=4, window=64) + kv-quant(bits=4, residual=32)")

predicted = recipe.cost(lm.view, tokens=4096).kv_bytes
print(f"{recipe}: {predicted.low:,.0f} to {predicted.high:,.0f} bytes of cache at 4096 tokens")

with recipe.apply(lm) as session:
    done = session.generate("Once upon a time there was a king. " * 40, max_new_tokens=32)
    print(done.text)
    for method, counters in session.counters.items():
        print(method, counters)

ids = lm.tokenizer("Once upon a time", return_tensors="pt").input_ids
print(lm.model.generate(ids, max_new_tokens=8, do_sample=False).shape, "from the untouched model again")
