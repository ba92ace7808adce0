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
        TRAINING_ENVIRONMENT
    threads: config["training"]["threads"]
    resources:
        mem_mb=8000,
        runtime=2880,
        gpu=TRAINING_GPUS,
    params:
        settings=TRAINING,
        store=f"{RESULTS}/trained",
        code=code_version("train"),
    message:
        "Train NET_Θ for {params.settings[settings][epochs]} epochs"
    script:
        "../scripts/train.py"
