# Examples: the pictures of every attack on the networks of a data set. One job, because starting one takes longer than drawing.


rule examples:
    input:
        artefacts=example_inputs,
        code=as_inputs(code_inputs.of_figure("examples")),
    output:
        pictures=report(
            directory("figures/examples/{dataset}"),
            patterns=["{model}/{attack}.png"],
            caption="../report/examples.rst",
            category="Examples",
            subcategory="{dataset}",
            labels={"data set": "{dataset}", "model": "{model}", "attack": "{attack}"},
        ),
        numbers=report(
            "results/tables/figure_examples_{dataset}.csv",
            caption="../report/examples.rst",
            category="Numbers",
            labels={"csv of": "figure examples {dataset}"},
        ),
    log:
        "logs/figure/examples_{dataset}.log",
    benchmark:
        "results/benchmarks/figure/examples_{dataset}.tsv"
    conda:
        "../../environment.yml"
    threads: cores(1)
    resources:
        mem_mb=larger(lambda wildcards: need.report_memory(settings)),
        runtime=larger(lambda wildcards: need.report_minutes(settings)),
    params:
        # A function, because Snakemake looks for wildcards in plain text, and a label may hold braces.
        spec=lambda wildcards: canonical_json(
            {"figure": settings.figures["examples"], **presentation.of_attacks(settings)}
        ),
    shell:
        "python -m infoadv figure examples"
        " --spec {params.spec:q}"
        " --out-stem {output.pictures:q}"
        " --numbers {output.numbers:q}"
        " {input.artefacts:q}"
        " > {log:q} 2>&1"
