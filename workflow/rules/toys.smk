# The toys train inside their measuring job: nothing of them is worth a folder, and starting torch takes longer.
rule evaluate_toys:
    output:
        shared="<results>/measure/toy_shared.csv",
        optimum="<results>/measure/toy_optimum.csv",
        hidden="<results>/measure/toy_hidden.csv",
        consequence="<results>/measure/toy_consequence.csv.gz",
    log:
        "<logs>/evaluate_toys.log",
    benchmark:
        "<benchmarks>/evaluate_toys.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=as_json(SETTINGS["toys"]),
        tuning_seeds=SETTINGS["tuning_seeds"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_toys.py --spec {params.spec:q} --tuning-seeds {params.tuning_seeds}"
        " --out-shared {output.shared} --out-optimum {output.optimum} --out-hidden {output.hidden}"
        " --out-consequence {output.consequence} 2> {log}"


rule tune_toys:
    output:
        table="<results>/tables/tuning_toys.csv",
    log:
        "<logs>/tune_toys.log",
    benchmark:
        "<benchmarks>/tune_toys.tsv"
    conda:
        "../../envs/evaluate.yaml"
    params:
        spec=as_json(SETTINGS["toys"]),
        seeds=toy_tuning_seeds(SETTINGS),
        recipe=RECIPE["measure"],
    shell:
        "python scripts/tune_toys.py --spec {params.spec:q} --seeds {params.seeds} --out {output.table} 2> {log}"
