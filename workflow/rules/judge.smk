MEASURED = [
    "probe_r2.csv",
    "neuron_correlation.csv",
    "probe_estimate.csv",
    "intervention.csv",
    "influence.csv",
    "text_loss.csv.gz",
    "text_components.csv",
    "text_curve.csv",
    *TOKEN_MEASURES,
    "zero_shot.csv.gz",
    *TOY_MEASURES,
    "multiplication_cells.csv.gz",
    "multiplication_digits.csv",
    *ANATOMY_MEASURES,
    "induction_loss.csv.gz",
    "induction_heads.csv",
    "induction_curve.csv",
]
if FAMILY.specs:
    MEASURED += FAMILY_MEASURES


rule judge_claims:
    input:
        loss="<results>/measure/synthetic_loss.csv",
        measured=collect("<results>/measure/{file}", file=MEASURED),
        claims="workflow/reference/claims.yaml",
        paper="workflow/reference/paper_values.csv",
    output:
        verdicts=report(
            "<results>/tables/verdicts.csv",
            caption="../report/verdicts.rst",
            category="Verdicts",
            labels={"table": "Every claim", "file": "verdicts"},
        ),
        tables=collect("<results>/tables/{table}.csv", table=[*FIGURES, *LISTS]),
    log:
        "<logs>/judge_claims.log",
    benchmark:
        "<benchmarks>/judge_claims.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        scale=SETTINGS["scale"],
        measure=subpath(input.loss, parent=True),
        tables=subpath(output.verdicts, parent=True),
    shell:
        "python scripts/judge_claims.py --measure {params.measure} --claims {input.claims}"
        " --paper {input.paper} --scale {params.scale} --out {output.verdicts}"
        " --tables {params.tables} 2> {log}"


rule tabulate_seeds:
    input:
        run_files(RUNS, "metrics.json"),
        family_files("metrics.json"),
    output:
        seeds=report(
            "<results>/tables/seeds.csv",
            caption="../report/seeds.rst",
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
        runs=run_folders(RUNS) + [os.path.dirname(path) for path in family_files("metrics.json")],
    shell:
        "python scripts/tabulate_seeds.py --runs {params.runs} --out {output.seeds} 2> {log}"


rule tabulate_tuning:
    input:
        run_files(TUNING, "metrics.json", SETTINGS["tuning_seeds"]),
    output:
        table="<results>/tables/tuning.csv",
    log:
        "<logs>/tabulate_tuning.log",
    benchmark:
        "<benchmarks>/tabulate_tuning.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        runs=run_folders(TUNING, SETTINGS["tuning_seeds"]),
    shell:
        "python scripts/tabulate_seeds.py --runs {params.runs} --out {output.table} 2> {log}"


rule plan:
    """Jobs, tokens, FLOPs, device-hours, memory, disk and downloads of this scale, before anything runs. Declares no
    output, not even a benchmark, so that it prints whenever it is asked for."""
    log:
        "<logs>/plan.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    params:
        settings=lambda wildcards: as_json(SETTINGS),
        table=f"{SETTINGS['results']}/tables/plan.csv",
    shell:
        "python scripts/plan_run.py --settings {params.settings:q} --out {params.table} 2> {log}"
