# The myopia gap of networks of one's own: what the family's networks need and nothing else of the scale.
rule tabulate_gap:
    input:
        measured=family_measures,
        claims="workflow/reference/claims.yaml",
        paper="workflow/reference/paper_values.csv",
    output:
        gap="<results>/tables/gap.csv",
        rates="<results>/tables/gap_by_lr.csv",
    log:
        "<logs>/tabulate_gap.log",
    benchmark:
        "<benchmarks>/tabulate_gap.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        measure=lambda wildcards, input: os.path.dirname(input.measured[0]),
    shell:
        "python scripts/tabulate_gap.py --measure {params.measure} --claims {input.claims}"
        " --paper {input.paper} --out {output.gap} --out-rates {output.rates} 2> {log}"


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
        "../../envs/draw.yaml"
    params:
        caption=caption("audit_gap_by_lr"),
    shell:
        "python scripts/plot_audit_gap_by_lr.py --table {input.table} --svg {output.svg} --png {output.png}"
        " --caption {params.caption:q} 2> {log}"


rule gap:
    """Myopia gaps of the family's networks, printed; no output, so that they are whenever it is asked for."""
    input:
        table="<results>/tables/gap.csv",
        figure="<results>/figures/gap_by_lr.svg",
    log:
        "<logs>/gap.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    shell:
        "python scripts/print_gap.py --table {input.table} 2> {log}"
