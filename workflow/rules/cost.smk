rule cost:
    """Device-hours, energy and disk of the runs behind each figure, all attempts together. Declares neither input nor
    output, so that it adds up what is there whenever it is asked for, and trains nothing."""
    log:
        "<logs>/cost.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        figures=lambda wildcards: as_json(figure_folders()),
        runs=lambda wildcards: list(state_folders()),
        states=lambda wildcards: as_json(state_folders()),
        watts=SETTINGS["plan"]["device_watts"],
        table=f"{SETTINGS['results']}/tables/cost.csv",
    shell:
        "python scripts/tabulate_cost.py --figures {params.figures:q} --runs {params.runs}"
        " --states {params.states:q} --watts {params.watts} --out {params.table} 2> {log}"
