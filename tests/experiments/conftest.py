"""Fixtures that experiments' tests share with the core's."""

from judging import _made, asked, claims, copy, paper, verdict_of, verdicts, verdicts_of, world, world_with  # noqa: F401
from training import one_thread  # noqa: F401
from twins import runs  # noqa: F401
