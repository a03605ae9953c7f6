# What cost adds up.


def trained_folders():
    """{experiment: folders of its runs}; tuning runs of learning-rate grids belong to no figure."""
    family = family_files("metrics.json")
    return {
        "synthetic": run_folders(synthetic_names()),
        "text": run_folders(text_names()),
        "family": [os.path.dirname(path) for path in family],
        "multiplication": run_folders(multiplication_names()),
        "small": run_folders(bias_names()),
        "induction": run_folders(induction_names()),
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
    return {
        folder: os.path.join(
            state, os.path.basename(os.path.dirname(folder)), os.path.basename(folder)
        )
        for folder in folders
    }
