# Where planning pays (protocol section 8): one job, because starting torch takes longer than any of its parts.
rule evaluate_tokens:
    input:
        run_files(twin_names(), "model.safetensors"),
    output:
        gap="<results>/measure/token_gap.csv.gz",
        top="<results>/measure/top_tokens.csv",
        map="<results>/measure/planning_map.csv",
        influence="<results>/measure/influence_sent.csv.gz",
        probes="<results>/measure/future_probes.csv.gz",
    log:
        "<logs>/evaluate_tokens.log",
    benchmark:
        "<benchmarks>/evaluate_tokens.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=gpus_needed,
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=token_measure_spec(),
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_tokens.py --spec {params.spec:q} --device {params.device}"
        " --out-gap {output.gap} --out-top {output.top} --out-map {output.map}"
        " --out-influence {output.influence} --out-probes {output.probes} 2> {log}"
