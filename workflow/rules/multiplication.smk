# Multiplication and filler tokens (Figs 9 and 10): all runs in one job, because starting torch takes longer than most.


rule evaluate_multiplication:
    input:
        run_files(multiplication_names(), "model.safetensors"),
    output:
        cells="<results>/measure/multiplication_cells.csv.gz",
        digits="<results>/measure/multiplication_digits.csv",
    log:
        "<logs>/evaluate_multiplication.log",
    benchmark:
        "<benchmarks>/evaluate_multiplication.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=gpus_needed,
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=multiplication_spec(),
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_multiplication.py --spec {params.spec:q} --device {params.device}"
        " --out-cells {output.cells} --out-digits {output.digits} 2> {log}"
