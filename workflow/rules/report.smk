# The replication report: one self-contained page. It reads the results folder as it is, so that a run that stopped half
# way can be reported, too: `onerror` in the Snakefile does that under another name.
REPORTED = {figure: caption(figure) for figure in FIGURES}


rule write_report:
    input:
        figures=collect("<results>/figures/{figure}.svg", figure=FIGURES),
        tables=collect("<results>/tables/{table}.csv", table=[*FIGURES, *LISTS]),
        verdicts="<results>/tables/verdicts.csv",
        seeds="<results>/tables/seeds.csv",
        paper="workflow/reference/paper_values.csv",
        errors="workflow/reference/paper_errors.yaml",
        texts="workflow/report/sections.yaml",
        captions=collect("workflow/report/{figure}.rst", figure=FIGURES),
    output:
        page="<results>/report.html",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        scale=SETTINGS["scale"],
        captions=as_json(REPORTED),
        results=subpath(output.page, parent=True),
        reference=subpath(input.paper, parent=True),
        texts=subpath(input.texts, parent=True),
        released=released_so_far,
    shell:
        "python scripts/write_report.py --results {params.results} --reference {params.reference}"
        " --texts {params.texts} --scale {params.scale} --captions {params.captions:q} --out {output.page} 2> {log}"
