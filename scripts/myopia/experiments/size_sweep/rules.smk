# The myopia gap of networks of one's own: what the size sweep's networks need and nothing else of the scale.
from myopia.experiments.size_sweep.runs import measured_tables


rule tabulate_gap:
    input:
        lambda wildcards: measured_tables(dag),
        REFERENCE,
    output:
        gap="<results>/tables/gap.csv",
        rates="<results>/tables/gap_by_lr.csv",
    log:
        "<logs>/tabulate_gap.log",
    benchmark:
        "<benchmarks>/tabulate_gap.tsv"
    conda:
        "../../../../envs/report.yaml"
    params:
        settings=dag.settings_file,
    shell:
        "python -m myopia tabulate-gap --settings {params.settings:q} 2> {log:q}"


rule draw_gap:
    input:
        table="<results>/tables/gap_by_lr.csv",
    output:
        svg="<results>/figures/gap_by_lr.svg",
        png="<results>/figures/gap_by_lr.png",
    log:
        "<logs>/draw_gap.log",
    benchmark:
        "<benchmarks>/draw_gap.tsv"
    conda:
        "../../../../envs/draw.yaml"
    params:
        settings=dag.settings_file,
        digest=digest(dag.captions(dag.experiment("size_sweep"))),
    shell:
        "python -m myopia draw-gap --settings {params.settings:q} 2> {log:q}"


rule gap:
    """Myopia gaps of the networks, printed; no output, so that they are whenever it is asked for."""
    input:
        table="<results>/tables/gap.csv",
        figure="<results>/figures/gap_by_lr.svg",
    log:
        "<logs>/gap.log",
    localrule: True
    conda:
        "../../../../envs/report.yaml"
    params:
        settings=dag.settings_file,
    shell:
        "python -m myopia print-gap --settings {params.settings:q} 2> {log:q}"
