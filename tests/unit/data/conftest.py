from texts import corpus, tokenizer  # noqa: F401
