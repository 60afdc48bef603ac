# Figures that are a folder of many pictures, for the report. One job each, because starting one takes longer than drawing.


for drawing in DRAWINGS:
    if not drawing.pictures:
        continue

    rule:
        name:
            f"figure_{drawing.stem}"
        input:
            artefacts=report_inputs.of_drawing(settings, drawing),
            code=as_inputs(code_inputs.of_figure(drawing.figure)),
        output:
            pictures=report(
                directory(layout.figure_files(drawing)[0]),
                patterns=[drawing.pictures],
                caption=CAPTIONS["figures", drawing.figure],
                category=drawing.figure.capitalize(),
                subcategory=drawing.dataset,
                labels=presentation.labels(settings, drawing),
            ),
            numbers=report(
                layout.numbers_file(drawing),
                caption=CAPTIONS["figures", drawing.figure],
                category="Numbers",
                labels={"csv of": f"figure {drawing.stem}"},
            ),
        log:
            f"logs/figure/{drawing.stem}.log",
            benchmark=f"results/benchmarks/figure/{drawing.stem}.tsv",
        conda:
            "../../environment.yml"
        threads: cores(1)
        resources:
            mem_mb=larger(lambda wildcards: need.report_memory(settings)),
            runtime=larger(lambda wildcards: need.report_minutes(settings)),
        params:
            figure=drawing.figure,
            # A function, because Snakemake looks for wildcards in plain text, and a label may hold braces.
            spec=lambda wildcards, drawing=drawing: canonical_json(presentation.of_drawing(settings, drawing)),
        shell:
            "python -m infoadv figure {params.figure:q}"
            " --spec {params.spec:q}"
            " --out-stem {output.pictures:q}"
            " --benchmark {log.benchmark:q}"
            " --numbers {output.numbers:q}"
            " {input.artefacts:q}"
            " > {log[0]:q} 2>&1"
