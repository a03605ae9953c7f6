from training import corpus, one_thread, vanilla  # noqa: F401
