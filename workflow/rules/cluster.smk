# What a cluster is asked for, and whether it can give it. Included after all rules that do something.
from myopia.common.slurm import Request, cluster, keeps_accounts, require

# Not default-resources in the profile: of two profiles Snakemake takes only one's, and the user's own names account and
# partition there. What training and measuring ask for stands in their rules.
for each in workflow.rules:
    if "runtime" not in each.resources:
        each.resources["runtime"] = lambda wildcards, attempt: scale_by_attempt(60, attempt)


def slurm_settings():
    """Settings of the executor that submits to Slurm, None under any other, and inside the jobs themselves."""
    settings = workflow.executor_settings
    return settings if type(settings).__module__ == "snakemake_executor_plugin_slurm" else None


def slurm_requests():
    """What every job to come asks for, at its first attempt and at its last, which asks for most."""
    found = set()
    for job in workflow.dag.needrun_jobs():
        if job.is_local or job.is_norun:
            continue
        for attempt in (job.restart_times + 1, 1):
            job.attempt = attempt
            asked = {key: job.resources.get(key) for key in ("gpu", "mem_mb", "runtime")}
            gpus, memory, minutes = [n if isinstance(n, int) else 0 for n in asked.values()]
            partition = str(job.resources.get("slurm_partition") or "") or None
            found.add(Request(job.rule.name, partition, job.threads, gpus, memory, minutes))
    return sorted(found, key=str)


def check_cluster():
    """Stop before the first job is submitted if Slurm would never run one, or would never tell that it has ended."""
    settings = slurm_settings()
    if settings is None:
        return
    try:
        offered = cluster()
        if settings.status_command == "sacct" and not keeps_accounts():
            raise MyopiaError(
                "slurm: this cluster keeps no accounts, so sacct would never say that a job has ended; put "
                "slurm-status-command: squeue into a profile of your own"
            )
        if not settings.partition_config and "SNAKEMAKE_SLURM_PARTITIONS" not in os.environ:
            require(slurm_requests(), offered)
    except MyopiaError as error:
        raise WorkflowError(str(error)) from None
