# The training of NET_Θ.


rule train:
    input:
        clean_train=f"{RESULTS}/clean/train.npz",
        clean_val=f"{RESULTS}/clean/val.npz",
        noisy_val=f"{RESULTS}/noisy/val_{config['training']['validation_protocol']}_0.npz",
    output:
        last=f"{RESULTS}/model/last.safetensors",
        best=f"{RESULTS}/model/best.safetensors",
        history=f"{RESULTS}/model/history.csv",
        summary=f"{RESULTS}/model/training.json",
    log:
        f"{LOGS}/train.log",
    benchmark:
        f"{BENCHMARKS}/train.tsv"
    conda:
        TORCH
    threads: config["training"]["threads"]
    resources:
        mem_mb=mebibytes(8000, 3 * config["training"]["views"], "train"),  # is plenty; submitted again for its run time
        runtime=2880,
        gpu=GPUS,
    params:
        settings=TRAINING,
        store=f"{RESULTS}/trained",
        code=code_version("train"),
    message:
        "Train NET_Θ for {params.settings[settings][epochs]} epochs"
    script:
        "../scripts/train.py"


# The rival without TV: the same network, data and schedule, but the U-Net predicts the image.
use rule train as train_direct with:
    output:
        last=f"{RESULTS}/model_direct/last.safetensors",
        best=f"{RESULTS}/model_direct/best.safetensors",
        history=f"{RESULTS}/model_direct/history.csv",
        summary=f"{RESULTS}/model_direct/training.json",
    log:
        f"{LOGS}/train_direct.log",
    benchmark:
        f"{BENCHMARKS}/train_direct.tsv"
    params:
        settings={**TRAINING, "network": {**TRAINING["network"], "predicts": "image"}},
        store=f"{RESULTS}/trained",
        code=code_version("train"),
    message:
        "Train the U-Net that predicts the image"


# What a training costs. Its own time says it less well: what else the machine did meanwhile is in it.
rule time_steps:
    input:
        [f"results/{study}/clean/train.npz" for study in TRAINED.values()],
    output:
        f"{RESULTS}/tables/steps.csv",
    log:
        f"{LOGS}/time_steps.log",
    benchmark:
        f"{BENCHMARKS}/time_steps.tsv"
    conda:
        TORCH
    threads: config["training"]["threads"]
    resources:
        mem_mb=mebibytes(8000, 3 * sum(STUDIES[name]["training"]["views"] for name in TRAINED), "train"),
        runtime=lambda wildcards, attempt: attempt * (30 + 2 * len(TRAINED)),
        gpu=GPUS,
    params:
        clean={name: f"results/{study}/clean/train.npz" for name, study in TRAINED.items()},
        trainings={name: training_arguments(STUDIES[name]) for name in TRAINED},
        device=config["device"],
        code=code_version("time_steps"),
    message:
        "Time a step of each training"
    script:
        "../scripts/time_steps.py"


# For a machine with a GPU and no Snakemake: tests/on_gpu.sh.
rule describe_training:
    input:
        clean_train=rules.train.input.clean_train,
        clean_val=rules.train.input.clean_val,
        noisy_val=rules.train.input.noisy_val,
    output:
        f"{RESULTS}/training_job.json",
    log:
        f"{LOGS}/describe_training.log",
    benchmark:
        f"{BENCHMARKS}/describe_training.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=TRAINING,
        store=rules.train.params.store,
        version=rules.train.params.code,
        code=code_version("describe_training"),
    message:
        "Describe the training"
    script:
        "../scripts/describe_training.py"
