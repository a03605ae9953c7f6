from myopia.experiments.zero_shot.settings import task_corpus


# Early, so that a missing file or network is told before hours of training.
rule make_task:
    input:
        lambda wildcards: task_corpus(dag, wildcards.task),
    output:
        questions="<results>/data/tasks/{task}/items.jsonl",
        definition="<results>/data/tasks/{task}/task.yaml",
        manifest="<results>/data/tasks/{task}/task.json",
    log:
        "<logs>/make_task/{task}.log",
    benchmark:
        "<benchmarks>/make_task/{task}.tsv"
    wildcard_constraints:
        task=regex_any(SETTINGS["zero_shot"]["tasks"]),
    priority: 20
    conda:
        "../../../../envs/fetch.yaml"
    params:
        settings=dag.settings_file,
        digest=lambda wildcards: digest(
            [SETTINGS["zero_shot"]["tasks"][wildcards.task], CODE_VERSION["data"]]
        ),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python -m myopia make-task {wildcards.task} --settings {params.settings:q} --out {params.folder:q} 2> {log:q}"
