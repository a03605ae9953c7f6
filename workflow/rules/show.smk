# All figures in one job: importing the plotting libraries takes longer than drawing. Each has its own script for
# drawing by hand, and its own table, from which alone it is drawn.
rule draw_figures:
    input:
        tables=collect("<results>/tables/{figure}.csv", figure=FIGURES),
    output:
        svg=[
            report(
                f"<results>/figures/{figure}.svg",
                caption=f"../report/{figure}.rst",
                category=category(figure),
                labels=labels(figure),
            )
            for figure in FIGURES
        ],
        png=collect("<results>/figures/{figure}.png", figure=FIGURES),
    log:
        "<logs>/draw_figures.log",
    benchmark:
        "<benchmarks>/draw_figures.tsv"
    conda:
        "../../envs/draw.yaml"
    threads: 4
    params:
        captions=as_json({figure: caption(figure) for figure in FIGURES}),
        tables=lambda wildcards, input: os.path.dirname(input.tables[0]),
        figures=lambda wildcards, output: os.path.dirname(output.svg[0]),
    shell:
        "python scripts/draw_figures.py --tables {params.tables} --figures {params.figures}"
        " --captions {params.captions:q} --processes {threads} 2> {log}"
