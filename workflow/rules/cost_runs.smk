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
    state = Path(SETTINGS["results"], ".state")
    return {folder: str(state.joinpath(*Path(folder).parts[-2:])) for folder in folders}
