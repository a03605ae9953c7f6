# Where planning pays (protocol section 8): one job, because starting torch takes longer than any of its parts.
TOKEN_MEASURES = [
    "token_gap.csv.gz",
    "top_tokens.csv",
    "influence_sent.csv.gz",
    "future_probes.csv.gz",
]


def twin_names():
    arms = {"vanilla", "myopic"}
    if not arms <= set(SETTINGS["text"]["arms"]):
        return []
    return [name for name in text_names() if RUNS[name]["arm_name"] in arms]


def token_measure_spec():
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "corpus": RUNS[name]["data"]["corpus"],
            "folder": run_folder(name, seed),
            "tokens": f"{SETTINGS['results']}/data/{RUNS[name]['data']['corpus']}/tokens",
        }
        for name in twin_names()
        for seed in SEEDS
    ]
    return as_json({"runs": runs, "tokens": SETTINGS["tokens"]})


rule evaluate_tokens:
    input:
        run_files(twin_names(), "model.safetensors"),
    output:
        gap="<results>/measure/token_gap.csv.gz",
        top="<results>/measure/top_tokens.csv",
        influence="<results>/measure/influence_sent.csv.gz",
        probes="<results>/measure/future_probes.csv.gz",
    log:
        "<logs>/evaluate_tokens.log",
    benchmark:
        "<benchmarks>/evaluate_tokens.tsv"
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=gpus_needed,
    params:
        spec=token_measure_spec(),
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_tokens.py --spec {params.spec:q} --device {params.device}"
        " --out-gap {output.gap} --out-top {output.top} --out-influence {output.influence}"
        " --out-probes {output.probes} 2> {log}"
