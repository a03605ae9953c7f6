# One job trains one run. At small scales it trains all seeds of the run, one after another in one process, because
# starting torch costs more than a small run's share of a minute; at large scales each seed is a job of its own.
# State lives in <results>/.state, undeclared, so that Snakemake never wipes it: a job that is killed and started
# again resumes. Exit code 75 means "stopped by a signal, state saved". `exec` (implied from bash 5.1 on), because a
# scheduler signals all processes of a job: a shell would die of it, and Snakemake take that for the job's end while the
# state is still being written.


rule train:
    input:
        tokens=token_manifest,
    output:
        weights=run_outputs("model.safetensors", SEEDS),
        config=run_outputs("config.json", SEEDS),
        curve=run_outputs("curve.csv", SEEDS),
        metrics=run_outputs("metrics.json", SEEDS),
    log:
        run_log("train"),
    benchmark:
        run_benchmark("train")
    wildcard_constraints:
        run=one_of(unbundled(made_names())),
    conda:
        "../../envs/train.yaml"
    threads: TRAIN_THREADS
    resources:
        gpu=train_gpus,
        runtime=train_runtime,
        mem_mb=lambda wildcards, attempt: grown(train_memory([wildcards.run]), attempt),
        slurm_extra=WARNED,
    params:
        spec=lambda wildcards: as_json(RUNS[wildcards.run]),
        seeds=lambda wildcards: wildcards.get("seed", SEEDS),
        place=train_arguments,
        recipe=RECIPE["train"],
    shell:
        "exec python scripts/train_models.py --spec {params.spec:q} --seeds {params.seeds} {params.place}"
        " --threads {threads} --log {log}"


# Language runs take longest: started first, they leave the short ones to fill the other cores.
use rule train as train_text with:
    wildcard_constraints:
        run=one_of(unbundled(plain_text_names())),
    priority: 10


# Arms whose forward pass is not the vanilla one.
use rule train as train_arm with:
    input:
        tokens=token_manifest,
        teacher=teacher_weights,
    output:
        weights=run_outputs("model.safetensors", SEEDS, "arms"),
        config=run_outputs("config.json", SEEDS, "arms"),
        record=run_outputs("myopia.json", SEEDS, "arms"),
        curve=run_outputs("curve.csv", SEEDS, "arms"),
        metrics=run_outputs("metrics.json", SEEDS, "arms"),
    wildcard_constraints:
        run=one_of(unbundled(arm_names())),
    priority: 10


use rule train as tune with:
    input:
        tokens=token_manifest,
        initial=initial_weights,
    output:
        weights=run_outputs("model.safetensors", SETTINGS["tuning_seeds"]),
        config=run_outputs("config.json", SETTINGS["tuning_seeds"]),
        curve=run_outputs("curve.csv", SETTINGS["tuning_seeds"]),
        metrics=run_outputs("metrics.json", SETTINGS["tuning_seeds"]),
    log:
        run_log("tune"),
    benchmark:
        run_benchmark("tune")
    wildcard_constraints:
        run=one_of(TUNING),
    params:
        spec=lambda wildcards: as_json(TUNING[wildcards.run]),
        seeds=lambda wildcards: wildcards.get("seed", SETTINGS["tuning_seeds"]),
        place=train_arguments,
        recipe=RECIPE["train"],


# Bundles: jobs that train several runs. In separate processes a run of one seed is a job, which waits for its initial
# model.
if BUNDLES:

    for job, runs, seeds in BUNDLES:

        rule:
            name:
                job
            input:
                bundle_inputs(runs),
            output:
                weights=run_files(runs, "model.safetensors", seeds),
                config=run_files(runs, "config.json", seeds),
                records=run_files(
                    [r for r in runs if root(spec_of(r)) == "arms"], "myopia.json", seeds
                ),
                curve=run_files(runs, "curve.csv", seeds),
                metrics=run_files(runs, "metrics.json", seeds),
            log:
                f"<logs>/bundles/{job}.log",
            benchmark:
                f"<benchmarks>/bundles/{job}.tsv"
            priority: 10
            conda:
                "../../envs/train.yaml"
            threads: TRAIN_THREADS
            resources:
                gpu=train_gpus,
                runtime=train_runtime,
                mem_mb=bundle_memory(runs),
                slurm_extra=WARNED,
            params:
                specs=[bundled_spec(run, seeds) for run in runs],
                seeds=seeds,
                place=place_arguments(runs[0]),
                recipe=RECIPE["train"],
            shell:
                "exec python scripts/train_models.py --spec {params.specs:q} --seeds {params.seeds}"
                " {params.place} --threads {threads} --log {log}"


if not SETTINGS["share_process"]:

    use rule train as train_family with:
        input:
            tokens=token_manifest,
            initial=initial_weights,
        wildcard_constraints:
            run=one_of(FAMILY.specs),
        params:
            spec=lambda wildcards: bundled_spec(wildcards.run, [int(wildcards.seed)]),
            seeds=lambda wildcards: wildcards.seed,
            place=train_arguments,
            recipe=RECIPE["train"],
