"""The one list of experiments, in the order of the report. Each name is a package beside this file; a new one is made
by copying `_template` (docs/adding.md)."""

NAMES = (
    "synthetic",
    "text",
    "size_sweep",
    "tokens",
    "zero_shot",
    "multiplication",
    "gradients",
    "dose_response",
    "induction",
    "toys",
    "released",
)
