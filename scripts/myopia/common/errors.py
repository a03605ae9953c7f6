"""The exception for bad input, and the exit codes of all scripts."""

EXIT_BAD_INPUT = 2
"""Configuration, data, checkpoint or device is wrong; running again without a change cannot help."""

EXIT_PREEMPTED = 75
"""The run was told to stop (SIGTERM, SIGUSR1), saved its state and can be continued (`EX_TEMPFAIL`)."""


class MyopiaError(Exception):
    """Bad input. The message is one sentence that names the key or file and the remedy."""
