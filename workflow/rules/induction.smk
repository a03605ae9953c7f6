# Repeated random sequences (protocol section 10): one job measures all runs, because starting torch takes longest.
rule evaluate_induction:
    input:
        run_files(induction_names(), "model.safetensors"),
        run_files(induction_names(), "curve.csv"),
    output:
        loss="<results>/measure/induction_loss.csv.gz",
        heads="<results>/measure/induction_heads.csv",
        curve="<results>/measure/induction_curve.csv",
    log:
        "<logs>/evaluate_induction.log",
    benchmark:
        "<benchmarks>/evaluate_induction.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=induction_measure_spec(),
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_induction.py --spec {params.spec:q} --out-loss {output.loss}"
        " --out-heads {output.heads} --out-curve {output.curve} 2> {log}"
