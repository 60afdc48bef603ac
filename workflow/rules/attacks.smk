# Attacks: one job each (data set, network, attack).


rule attack:
    input:
        data="results/data/{dataset}.safetensors",
        model="results/models/{dataset}/{model}.safetensors",
        like=liked_file,
        pretrained=attack_weights,
        code=lambda wildcards: as_inputs(
            configuration.attack_code(settings, wildcards.dataset, wildcards.model, wildcards.attack)
        ),
    output:
        "results/attacks/{dataset}/{model}/{attack}.safetensors",
    log:
        "logs/attack/{dataset}/{model}/{attack}.log",
    benchmark:
        "results/benchmarks/attack/{dataset}/{model}/{attack}.tsv"
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["attack"])
    resources:
        gpu=GPUS,
    params:
        spec=lambda wildcards: configuration.as_json(
            settings.attacks[wildcards.attack].specification(wildcards.dataset)
        ),
        images=settings.images,
        chunk=settings.chunk,
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads["attack"],
        like=lambda wildcards, input: ["--like", *input.like] if input.like else [],
        # No output, because Snakemake deletes the outputs of a job that failed: after a kill, the attack goes on from here.
        resume="results/checkpoints/{dataset}/{model}/{attack}.safetensors",
    shell:
        "python -m infoadv attack"
        " --data {input.data:q}"
        " --model {input.model:q}"
        " --spec {params.spec:q}"
        " --images {params.images}"
        " --chunk {params.chunk}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --threads {params.threads}"
        " {params.like:q}"
        " --resume {params.resume:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"
