from configuring import config, put  # noqa: F401
