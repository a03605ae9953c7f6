from judging import claims, copy, paper, verdict_of, verdicts, verdicts_of, world, world_with  # noqa: F401
