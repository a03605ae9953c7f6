rule plot_figure:
    input:
        table="<results>/tables/{figure}.csv",
        script="scripts/plot_{figure}.py",
    output:
        svg=report(
            "<results>/figures/{figure}.svg",
            caption="../report/{figure}.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png="<results>/figures/{figure}.png",
    log:
        "<logs>/plot_figure/{figure}.log",
    benchmark:
        "<benchmarks>/plot_figure/{figure}.tsv"
    conda:
        "../../envs/draw.yaml"
    params:
        caption=lambda wildcards: caption(wildcards.figure),
    shell:
        "python {input.script} --table {input.table} --svg {output.svg} --png {output.png}"
        " --caption {params.caption:q} 2> {log}"
