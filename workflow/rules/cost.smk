# Which runs a figure is made from, by experiment.
FIGURES_OF = {
    "synthetic": [
        "table1_loss_by_p",
        "fig2_probe_r2",
        "fig3_neuron_correlation",
        "fig6_probe_estimate",
        "intervention",
    ],
    "text": [
        "influence",
        "fig4_position",
        "text_gap_by_step",
        "table2_text_loss",
        "token_gap",
        "future_probes",
        "fig5_zero_shot",
    ],
    "family": ["fig7_gap_by_size", "audit_gap_by_lr", "fig5_zero_shot"],
}


def trained_folders():
    """{experiment: folders of its runs}; tuning runs of learning-rate grids belong to no figure."""
    family = family_files("metrics.json")
    return {
        "synthetic": run_folders(synthetic_names()),
        "text": run_folders(text_names()),
        "family": [os.path.dirname(path) for path in family],
        "tuning": [f for f in run_folders(TUNING, SETTINGS["tuning_seeds"]) if os.path.isdir(f)],
    }


def figure_folders():
    folders, found = trained_folders(), {}
    for experiment, figures in FIGURES_OF.items():
        for figure in figures:
            found[figure] = found.get(figure, []) + folders[experiment]
    return found


def state_folders():
    """{run folder: its state folder}"""
    folders = [folder for group in trained_folders().values() for folder in group]
    state = f"{SETTINGS['results']}/.state"
    return {folder: f"{state}/{'/'.join(folder.split('/')[-2:])}" for folder in folders}


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
