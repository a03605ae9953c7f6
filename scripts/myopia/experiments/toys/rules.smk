# The toys' own grid, part of the target `tuned`: they train no run that the core's grids could hold.
from myopia.config.dag import CODE_VERSION
from myopia.config.load import digest
from myopia.experiments.toys import TUNING


rule tune_toys:
    output:
        table=f"<results>/tables/{TUNING.name}",
    log:
        "<logs>/tune_toys.log",
    benchmark:
        "<benchmarks>/tune_toys.tsv"
    conda:
        "../../../../envs/evaluate.yaml"
    params:
        settings=dag.settings_file,
        depends=digest(
            [SETTINGS["toys"]["shared"], SETTINGS["tuning_seeds"], CODE_VERSION["measure"]]
        ),
    shell:
        "{MYOPIA} tune-toys --settings {params.settings} --out {output.table} 2> {log}"
