rule cost:
    """Device-hours, energy and disk of the runs behind each figure, all attempts together. Declares neither input nor
    output, so that it adds up what is there whenever it is asked for, and trains nothing."""
    log:
        "<logs>/cost.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        figures=as_json(figure_experiments()),
        runs=lambda wildcards: as_json(trained_runs()),
        results=SETTINGS["results"],
        watts=SETTINGS["plan"]["device_watts"],
        table=f"{SETTINGS['results']}/tables/cost.csv",
    shell:
        "python scripts/tabulate_cost.py --figures {params.figures:q} --runs {params.runs:q}"
        " --results {params.results} --watts {params.watts} --out {params.table} 2> {log}"
