# What cost adds up.

# Which runs a figure is made from, by experiment.
FIGURES_OF = {
    "synthetic": [
        "table1_loss_by_p",
        "fig2_probe_r2",
        "fig3_neuron_correlation",
        "fig6_probe_estimate",
        "intervention",
        "dose_response",
    ],
    "text": [
        "influence",
        "fig4_position",
        "text_gap_by_step",
        "table2_text_loss",
        "token_gap",
        "future_probes",
        "fig5_zero_shot",
        "fig11_gradient_anatomy",
        "dose_response",
    ],
    "family": ["fig7_gap_by_size", "audit_gap_by_lr", "fig5_zero_shot"],
    "multiplication": ["fig9_multiplication", "fig10_filler", "multiplication_digits"],
    "small": ["forward_bias"],
    "induction": ["induction"],
}


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
