# Tables: each is one file of infoadv.report.tables, written as csv, md and tex, and as html for the report.


for table in settings.tables():

    rule:
        name:
            f"table_{table}"
        input:
            artefacts=report_inputs.of_table(settings, table),
            code=as_inputs(code_inputs.of_table(table)),
        output:
            report(
                f"results/tables/{table}.csv",
                caption=CAPTIONS["tables", table],
                category="Numbers",
                labels={"csv of": table},
            ),
            f"results/tables/{table}.md",
            f"results/tables/{table}.tex",
            report(
                f"results/tables/{table}.html",
                caption=CAPTIONS["tables", table],
                category="Tables",
                labels={"table": table},
            ),
        log:
            f"logs/table/{table}.log",
            benchmark=f"results/benchmarks/table/{table}.tsv",
        conda:
            "../../environment.yml"
        threads: cores(1)
        resources:
            mem_mb=larger(lambda wildcards: need.report_memory(settings)),
            runtime=larger(lambda wildcards: need.report_minutes(settings)),
        params:
            table=table,
            # A function, because Snakemake looks for wildcards in plain text, and a label may hold braces.
            spec=lambda wildcards, table=table: canonical_json(presentation.of(settings, "tables", table)),
            folder=lambda wildcards, output: os.path.dirname(output[0]),
        shell:
            "python -m infoadv table {params.table:q}"
            " --spec {params.spec:q}"
            " --out-dir {params.folder:q}"
            " --benchmark {log.benchmark:q}"
            " {input.artefacts:q}"
            " > {log[0]:q} 2>&1"
