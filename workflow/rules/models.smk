# Target networks and reference networks: trained here, a user's own, or an ensemble.


rule train:
    input:
        data="results/data/{dataset}.safetensors",
        weights=lambda wildcards: settings.models[wildcards.model][wildcards.dataset].get("weights", []),
        origin=origin_files,
        trained=trained_file,
        code=lambda wildcards: as_inputs(code_inputs.of_model(settings, wildcards.dataset, wildcards.model)),
    output:
        "results/models/{dataset}/{model}.safetensors",
    log:
        "logs/train/{dataset}/{model}.log",
        benchmark="results/benchmarks/train/{dataset}/{model}.tsv",
    # Most jobs wait for a network, and the longest for the networks that are made from others.
    priority: 2
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["training"])
    resources:
        gpu=gpus,
        # Once more at each attempt, as elsewhere. What the data set is made of is known when it is there.
        mem_mb=lambda wildcards, input, attempt: attempt * need.training_memory(settings, input.size_mb),
        runtime=lambda wildcards, input, attempt: (
            attempt * need.training_minutes(settings, wildcards.dataset, wildcards.model, input.size_mb)
        ),
    params:
        spec=lambda wildcards: canonical_json(settings.models[wildcards.model][wildcards.dataset]),
        origin=origin_arguments,
        trained=lambda wildcards, input: ["--trained", input.trained] if input.trained else [],
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads["training"],
        # No output, because Snakemake deletes the outputs of a job that failed: after a kill, training goes on from here.
        checkpoint="results/checkpoints/{dataset}/{model}.safetensors",
    shell:
        "python -m infoadv train"
        " --data {input.data:q}"
        " --spec {params.spec:q}"
        " {params.origin:q}"
        " {params.trained:q}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --threads {params.threads}"
        " --checkpoint {params.checkpoint:q}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " 2>&1 | tee {log[0]:q} | awk '{{ print \"{wildcards.dataset}/{wildcards.model}: \" $0; fflush() }}'"
