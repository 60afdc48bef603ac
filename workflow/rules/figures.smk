# Figures: each is one file of infoadv.report.figures, drawn as pdf and png, its numbers as csv beside the tables.


for figure, stem in drawn_figures():

    rule:
        name:
            f"figure_{stem}"
        input:
            artefacts=figure_inputs(figure, stem),
            code=as_inputs(code_inputs.of_figure(figure)),
        output:
            pdf=f"figures/{stem}.pdf",
            png=report(
                f"figures/{stem}.png",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels=figure_labels(figure, stem),
            ),
            numbers=report(
                f"results/tables/figure_{stem}.csv",
                caption=f"../report/{figure}.rst",
                category="Numbers",
                labels={"csv of": f"figure {stem}"},
            ),
        log:
            f"logs/figure/{stem}.log",
        benchmark:
            f"results/benchmarks/figure/{stem}.tsv"
        conda:
            "../../environment.yml"
        threads: cores(1)
        resources:
            mem_mb=larger(lambda wildcards: need.report_memory(settings)),
            runtime=larger(lambda wildcards: need.report_minutes(settings)),
        params:
            figure=figure,
            # A function, because Snakemake looks for wildcards in plain text, and a label may hold braces.
            spec=lambda wildcards, figure=figure, stem=stem: canonical_json(
                figure_specification(figure, stem)
            ),
            stem=lambda wildcards, output: os.path.splitext(output.pdf)[0],
        shell:
            "python -m infoadv figure {params.figure:q}"
            " --spec {params.spec:q}"
            " --out-stem {params.stem:q}"
            " --numbers {output.numbers:q}"
            " {input.artefacts:q}"
            " > {log:q} 2>&1"
