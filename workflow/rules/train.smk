# Where all seeds of a run share a process, a job trains one long run or several short ones (Dag.jobs): starting torch
# costs more than a small run's share of a minute. Elsewhere each run and seed is a job of its own.
# State lives in <results>/.state, undeclared, so that Snakemake never wipes it: a job that is killed and started
# again resumes. Exit code 75 means "stopped by a signal, state saved". `exec`, because a scheduler signals all
# processes of a job: a shell would die of it, and Snakemake take that for the job's end while the state is still being
# written.

# On Slurm a training job is told five minutes before its time is up: a large state takes longer to write than the
# half minute that usually lies between being told to end and being killed.
SIGTERM_EARLY = "--signal=TERM@300"


if dag.shared:

    for job in dag.jobs():

        rule:
            name:
                job.name
            input:
                dag.training_inputs(job.runs, job.seeds),
            output:
                dag.training_outputs(job.runs, job.seeds),
            log:
                f"<logs>/train/{job.name}.log",
            benchmark:
                f"<benchmarks>/train/{job.name}.tsv"
            priority: 10 if "corpus" in dag.spec(job.runs[0])["data"] else 0  # they take longest
            conda:
                "../../envs/train.yaml"
            threads: SETTINGS["devices"]
            resources:
                gpu=train_gpus,
                runtime=train_runtime,
                mem_mb=dag.memory_asked(job.runs),
                slurm_extra=SIGTERM_EARLY,
            params:
                runs=[f"--run={run}" for run in job.runs],
                seeds=",".join(map(str, job.seeds)),
                settings=dag.settings_file,
                digest=dag.training_digest(job.runs, job.seeds),
            shell:
                "exec python -m myopia train --settings {params.settings:q} {params.runs} --seeds {params.seeds}"
                " --threads {threads} --log {log:q}"

else:

    rule train:
        input:
            lambda wildcards: dag.training_inputs([wildcards.run], [wildcards.seed]),
        output:
            "<results>/runs/{run}/seed{seed}/model.safetensors",
            "<results>/runs/{run}/seed{seed}/config.json",
            "<results>/runs/{run}/seed{seed}/curve.csv",
            "<results>/runs/{run}/seed{seed}/metrics.json",
        log:
            "<logs>/train/{run}-seed{seed}.log",
        benchmark:
            "<benchmarks>/train/{run}-seed{seed}.tsv"
        wildcard_constraints:
            run=regex_any(dag.in_folder("runs")),
        conda:
            "../../envs/train.yaml"
        threads: SETTINGS["devices"]
        resources:
            gpu=train_gpus,
            runtime=train_runtime,
            mem_mb=dag.memory_asked(),
            slurm_extra=SIGTERM_EARLY,
        params:
            settings=dag.settings_file,
            digest=lambda wildcards: dag.training_digest([wildcards.run], [int(wildcards.seed)]),
        shell:
            "exec python -m myopia train --settings {params.settings:q} --run={wildcards.run} --seeds {wildcards.seed}"
            " --threads {threads} --log {log:q}"

    # Arms whose forward pass is not the vanilla one only run with our code: they carry a record that says so.
    use rule train as train_arm with:
        output:
            "<results>/arms/{run}/seed{seed}/model.safetensors",
            "<results>/arms/{run}/seed{seed}/config.json",
            "<results>/arms/{run}/seed{seed}/myopia.json",
            "<results>/arms/{run}/seed{seed}/curve.csv",
            "<results>/arms/{run}/seed{seed}/metrics.json",
        wildcard_constraints:
            run=regex_any(dag.in_folder("arms")),
