# What cost adds up.


def trained_runs():
    """{experiment: [[folder of a run, its seeds]]}: a thousand folders one by one would be too long for one command.
    Tuning runs of learning-rate grids belong to no figure."""

    def seeded(names, seeds=SEEDS):
        return [[f"{root(spec_of(name))}/{name}", seeds] for name in names]

    def trained(name):
        return [seed for seed in SETTINGS["tuning_seeds"] if os.path.isdir(run_folder(name, seed))]

    family = SETTINGS["family"]
    return {
        "synthetic": seeded(synthetic_names()),
        "text": seeded(text_names()),
        "family": seeded(FAMILY.specs, family["seeds"])
        + seeded(FAMILY.tuning_runs(), family["tuning_seeds"]),
        "multiplication": seeded(multiplication_names()),
        "small": seeded(bias_names()),
        "induction": seeded(induction_names()),
        "tuning": [run for name in TUNING for run in seeded([name], trained(name))],
    }


def figure_experiments():
    found = {}
    for experiment, figures in FIGURES_OF.items():
        for figure in figures:
            found.setdefault(figure, []).append(experiment)
    return found
