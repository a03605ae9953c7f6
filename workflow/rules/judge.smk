# Judging and drawing, an experiment at a time: one figure costs the jobs of its experiment.
for one in dag.running:

    rule:
        name:
            f"judge_{one.name}"
        input:
            measured=dag.measured(*dag.sources(one)),
            claims=[*dag.claim_files(one), *REFERENCE],
        output:
            verdicts=f"<results>/tables/verdicts/{one.name}.csv",
            tables=dag.tables_of(one),
        log:
            f"<logs>/judge/{one.name}.log",
        benchmark:
            f"<benchmarks>/judge/{one.name}.tsv"
        priority: 20  # a figure a person can look at, rather than one more run
        conda:
            "../../envs/report.yaml"
        params:
            name=one.name,
            settings=dag.settings_file,
            digest=dag.judging_digest(one),
        shell:
            "python -m myopia judge {params.name} --settings {params.settings:q} 2> {log:q}"

    if one.drawn:

        rule:
            name:
                f"draw_{one.name}"
            input:
                [f"<results>/tables/{figure.name}.csv" for figure in one.drawn],
            output:
                svg=[
                    report(
                        f"<results>/figures/{figure.name}.svg",
                        category=one.title,
                        labels={"figure": figure.name},
                    )
                    for figure in one.drawn
                ],
                png=[f"<results>/figures/{figure.name}.png" for figure in one.drawn],
            log:
                f"<logs>/draw/{one.name}.log",
            benchmark:
                f"<benchmarks>/draw/{one.name}.tsv"
            priority: 20
            conda:
                "../../envs/draw.yaml"
            params:
                name=one.name,
                settings=dag.settings_file,
            shell:
                "python -m myopia draw {params.name} --settings {params.settings:q} 2> {log:q}"

    if one.has_claims and dag.of(one.name):

        rule:
            name:
                f"repeat_{one.name}"
            input:
                measured=dag.measured(*dag.sources(one)),
                claims=[*dag.claim_files(one), *REFERENCE],
            output:
                f"<results>/tables/repeat/{one.name}.csv",
            log:
                f"<logs>/repeat/{one.name}.log",
            benchmark:
                f"<benchmarks>/repeat/{one.name}.tsv"
            conda:
                "../../envs/report.yaml"
            params:
                name=one.name,
                settings=dag.settings_file,
                words="--seeds {seeds} --draws {draws}".format(**SETTINGS["repeat"]),
            shell:
                "python -m myopia repeat {params.name} --settings {params.settings:q} --out {output:q} {params.words}"
                " 2> {log:q}"


rule verdicts:
    input:
        [f"<results>/tables/verdicts/{one.name}.csv" for one in dag.running],
    output:
        verdicts=report(
            "<results>/tables/verdicts.csv",
            category="Verdicts",
            labels={"table": "Every claim", "file": "verdicts"},
        ),
    log:
        "<logs>/verdicts.log",
    benchmark:
        "<benchmarks>/verdicts.tsv"
    conda:
        "../../envs/report.yaml"
    shell:
        "python -m myopia verdicts {input:q} --out {output:q} 2> {log:q}"


rule tabulate_seeds:
    input:
        dag.everything("metrics.json"),
    output:
        seeds=report(
            "<results>/tables/seeds.csv",
            category="Runs",
            labels={"table": "Every run", "file": "seeds"},
        ),
    log:
        "<logs>/tabulate_seeds.log",
    benchmark:
        "<benchmarks>/tabulate_seeds.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        settings=dag.settings_file,
        runs=digest(dag.run_folders()),
        words="",
    shell:
        "python -m myopia seeds {params.words} --settings {params.settings:q} --out {output:q} 2> {log:q}"


use rule tabulate_seeds as tabulate_tuning with:
    input:
        dag.files(dag.tuning, "metrics.json"),
    output:
        "<results>/tables/tuning.csv",
    log:
        "<logs>/tabulate_tuning.log",
    benchmark:
        "<benchmarks>/tabulate_tuning.tsv"
    params:
        settings=dag.settings_file,
        runs=digest(list(dag.tuning)),
        words="--tuning",
