# The toys' own grid, part of the target `tuned`: they train no runs, so the core's grids hold nothing of theirs.
rule tune_toys:
    output:
        table="<results>/tables/tuning_toys.csv",
    log:
        "<logs>/tune_toys.log",
    benchmark:
        "<benchmarks>/tune_toys.tsv"
    conda:
        "../../../../envs/evaluate.yaml"
    params:
        settings=dag.settings_file,
        digest=digest(
            [SETTINGS["toys"]["shared"], SETTINGS["tuning_seeds"], CODE_VERSION["measure"]]
        ),
    shell:
        "python -m myopia tune-toys --settings {params.settings:q} --out {output.table:q}"
        " --threads {threads} 2> {log:q}"
