"""In which alphabet does the model read and write? Tokenizers and the embedding rows that go with them."""
