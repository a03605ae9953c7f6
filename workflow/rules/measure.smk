# One rule for each measurement an experiment declares. Where runs share a process one job measures them all; elsewhere
# each unit (a run and seed, a size, a corpus) is a job, which fails alone, and `gather` puts the parts together.
for one in dag.running:
    for m in (m for m in one.measurements if dag.units(m)):

        rule:
            name:
                f"measure_{m.name}"
            input:
                dag.unit_inputs(m),
            output:
                dag.unit_outputs(m),
            log:
                dag.unit_file(m, "<logs>/measure", "log"),
            benchmark:
                dag.unit_file(m, "<benchmarks>/measure", "tsv")
            priority: m.priority
            conda:
                f"../../envs/{m.env}.yaml"
            resources:
                gpu=measure_gpus if m.gpu else 0,
                mem_mb=dag.memory_asked(dag.runs, 1),
                runtime=measure_runtime,
            params:
                name=m.name,
                unit="all" if dag.shared else lambda wildcards: wildcards.unit,
                out=subpath(output[0], parent=True),
                settings=dag.settings_file,
                digest=dag.unit_digest(m),
            shell:
                "python -m myopia measure {params.name} --settings {params.settings:q} --unit {params.unit:q}"
                " --out {params.out:q} --threads {threads} 2> {log:q}"

        if not dag.shared:

            rule:
                name:
                    f"gather_{m.name}"
                input:
                    dag.parts(m),
                output:
                    dag.tables_measured(m),
                log:
                    f"<logs>/gather/{m.name}.log",
                benchmark:
                    f"<benchmarks>/gather/{m.name}.tsv"
                conda:
                    "../../envs/report.yaml"
                params:
                    name=m.name,
                    out=subpath(output[0], parent=True),
                    settings=dag.settings_file,
                shell:
                    "python -m myopia gather {params.name} --settings {params.settings:q} --out {params.out:q} 2> {log:q}"
