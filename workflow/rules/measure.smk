rule evaluate_synthetic:
    input:
        run_files(synthetic_names(), "model.safetensors"),
    output:
        loss="<results>/measure/synthetic_loss.csv",
    log:
        "<logs>/evaluate_synthetic.log",
    benchmark:
        "<benchmarks>/evaluate_synthetic.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=synthetic_measure_spec(
            synthetic_names(), {"n_sequences": SETTINGS["synthetic"]["test_sequences"]}
        ),
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_synthetic.py --spec {params.spec:q} --out {output.loss} 2> {log}"


rule probe_synthetic:
    input:
        run_files(probed_names(), "model.safetensors"),
    output:
        r2="<results>/measure/probe_r2.csv",
        correlation="<results>/measure/neuron_correlation.csv",
        estimate="<results>/measure/probe_estimate.csv",
        intervention="<results>/measure/intervention.csv",
    log:
        "<logs>/probe_synthetic.log",
    benchmark:
        "<benchmarks>/probe_synthetic.tsv"
    conda:
        "../../envs/probe.yaml"
    resources:
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=synthetic_measure_spec(
            probed_names(),
            {
                "n_fit": SETTINGS["synthetic"]["probe_sequences"],
                "n_heldout": SETTINGS["synthetic"]["probe_sequences"],
                "max_lookback": SETTINGS["synthetic"]["lookback"],
            },
        ),
        recipe=RECIPE["measure"],
    shell:
        "python scripts/probe_synthetic.py --spec {params.spec:q} --out-r2 {output.r2}"
        " --out-correlation {output.correlation} --out-estimate {output.estimate}"
        " --out-intervention {output.intervention} 2> {log}"


rule evaluate_text:
    input:
        run_files(text_names(), "model.safetensors"),
        run_files(text_names(), "curve.csv"),
        further_manifests(),
    output:
        loss="<results>/measure/text_loss.csv.gz",
        components="<results>/measure/text_components.csv",
        curve="<results>/measure/text_curve.csv",
        influence="<results>/measure/influence.csv",
    log:
        "<logs>/evaluate_text.log",
    benchmark:
        "<benchmarks>/evaluate_text.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=text_measure_spec(),
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_text.py --spec {params.spec:q} --out-loss {output.loss}"
        " --out-components {output.components} --out-curve {output.curve} --out-influence {output.influence} 2> {log}"


rule evaluate_family:
    input:
        family_files("model.safetensors", tuning=False),
        family_files("curve.csv", tuning=False),
        family_files("metrics.json"),
    output:
        runs="<results>/measure/family_runs.csv",
        loss="<results>/measure/family_loss.csv.gz",
        curve="<results>/measure/family_curve.csv",
    log:
        "<logs>/evaluate_family.log",
    benchmark:
        "<benchmarks>/evaluate_family.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=gpus_needed,
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=family_measure_spec(),
        seeds=SETTINGS["family"]["seeds"],
        tuning_seeds=SETTINGS["family"]["tuning_seeds"],
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_family.py --spec {params.spec:q} --seeds {params.seeds}"
        " --tuning-seeds {params.tuning_seeds} --device {params.device} --out-runs {output.runs}"
        " --out-loss {output.loss} --out-curve {output.curve} 2> {log}"


rule evaluate_zero_shot:
    input:
        zero_shot_weights(),
        tasks=task_files(),
    output:
        scores="<results>/measure/zero_shot.csv.gz",
    log:
        "<logs>/evaluate_zero_shot.log",
    benchmark:
        "<benchmarks>/evaluate_zero_shot.tsv"
    conda:
        "../../envs/zeroshot.yaml"
    resources:
        gpu=gpus_needed,
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=zero_shot_spec(),
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_zero_shot.py --spec {params.spec:q} --device {params.device}"
        " --out {output.scores} 2> {log}"
