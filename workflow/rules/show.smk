# One rule per figure, because a report's caption belongs to a rule. Each draws from its one table alone.

for figure in FIGURES:

    rule:
        name:
            f"plot_{figure}"
        input:
            table=f"<results>/tables/{figure}.csv",
            script=f"scripts/plot_{figure}.py",
        output:
            svg=report(
                f"<results>/figures/{figure}.svg",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"figure": figure},
            ),
            png=f"<results>/figures/{figure}.png",
        log:
            f"<logs>/plot_figure/{figure}.log",
        benchmark:
            f"<benchmarks>/plot_figure/{figure}.tsv"
        conda:
            "../../envs/draw.yaml"
        params:
            caption=caption(figure),
        shell:
            "python {input.script} --table {input.table} --svg {output.svg} --png {output.png}"
            " --caption {params.caption:q} 2> {log}"
