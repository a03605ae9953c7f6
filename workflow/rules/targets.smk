# What can be asked for by name, beside what experiments bring (released, gap).


rule figures:
    """Every figure this scale can draw."""
    input:
        collect("<results>/figures/{figure}.svg", figure=dag.figures()),


rule tables:
    """Verdicts and the tables behind the figures, nothing drawn."""
    input:
        collect("<results>/tables/{table}.csv", table=dag.tables()),
        "<results>/tables/verdicts.csv",
        "<results>/tables/seeds.csv",


rule report:
    """One self-contained page: answer, claims, figures, runs, provenance."""
    input:
        "<results>/report.html",


rule crate:
    """The results folder as a research object (Provenance Run Crate), whose metadata other programs read."""
    input:
        "<results>/ro-crate-metadata.json",


rule fetch:
    """All this scale downloads; nothing else needs a network."""
    input:
        rules.lock_hub.input,


rule tuned:
    """The learning-rate grids on the tuning seeds; their tables decide the rates that experiments freeze."""
    input:
        "<results>/tables/tuning.csv",
        [f"<results>/tables/{name}" for one in dag.running for name in one.tuning_tables],


rule repeat:
    """Whether other seeds would give the same verdicts, at a scale that was run with many of them."""
    input:
        [
            f"<results>/tables/repeat/{one.name}.csv"
            for one in dag.running
            if one.has_claims and dag.of(one.name)
        ],


rule plan:
    """Jobs, tokens, FLOPs, device-hours, memory, disk and downloads of this scale, before anything runs. Declares no
    output, so that it prints whenever it is asked for."""
    log:
        "<logs>/plan.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        settings=dag.settings_file,
        table=f"{SETTINGS['results']}/tables/plan.csv",
    shell:
        "python -m myopia plan --settings {params.settings:q} --out {params.table:q} 2> {log:q}"


rule cost:
    """Device-hours, energy and disk of the runs behind each figure, all attempts together; adds up what is there
    whenever it is asked for, and trains nothing."""
    log:
        "<logs>/cost.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        results=SETTINGS["results"],
        table=f"{SETTINGS['results']}/tables/cost.csv",
    shell:
        "python -m myopia cost --results {params.results:q} --out {params.table:q} 2> {log:q}"


onstart:
    write_settings(SETTINGS)
    tell_settings()
    check_cluster()


onsuccess:
    print_summary()


onerror:
    report_what_there_is()
