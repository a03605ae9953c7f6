from judging import _made, asked, claims, copy, paper, verdict_of, verdicts, verdicts_of, world, world_with  # noqa: F401
