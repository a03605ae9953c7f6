# The replication report, one self-contained page. It reads the results folder as it is, so that a run that stopped half
# way can be reported, too: `onerror` in the Snakefile does that under another name.


rule write_report:
    input:
        figures=collect("<results>/figures/{figure}.svg", figure=dag.figures()),
        tables=collect("<results>/tables/{table}.csv", table=dag.tables()),
        verdicts="<results>/tables/verdicts.csv",
        seeds="<results>/tables/seeds.csv",
        texts=["workflow/report/page.yaml", *dag.section_files()],
        reference=[*REFERENCE, "workflow/reference/paper_errors.yaml"],
    output:
        page="<results>/report.html",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        settings=dag.settings_file,
        captions=digest([dag.captions(one) for one in dag.experiments]),
        # Tables of optional targets that are there, by content: the page shows them, but never asks for them.
        optional=lambda wildcards: dag.optional_tables(),
    shell:
        "python -m myopia report --settings {params.settings:q} --out {output.page:q} 2> {log:q}"


# The results folder as a research object that other programs read: an optional target, which nothing else needs.
rule write_crate:
    input:
        report="<results>/report.html",
    output:
        metadata="<results>/ro-crate-metadata.json",
    log:
        "<logs>/write_crate.log",
    benchmark:
        "<benchmarks>/write_crate.tsv"
    conda:
        "../../envs/crate.yaml"
    params:
        settings=dag.settings_file,
    shell:
        "python -m myopia crate --settings {params.settings:q} --out {output.metadata:q} 2> {log:q}"
