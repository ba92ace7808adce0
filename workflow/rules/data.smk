# From an archive of images to clean and noisy stacks.


rule retrieve_archive:
    output:
        ARCHIVE,
    log:
        "resources/logs/retrieve_archive.log",
    benchmark:
        "resources/benchmarks/retrieve_archive.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        url=config["data"]["mendeley"]["url"],
        n_bytes=config["data"]["mendeley"]["bytes"],
        sha256=config["data"]["mendeley"]["sha256"],
        code=code_version("retrieve_archive"),
    message:
        "Download {params.url}"
    script:
        "../scripts/retrieve_archive.py"


rule select_images:
    input:
        archive=archive_of_images,
        listed=config["data"]["manifest"] or [],
    output:
        f"{RESULTS}/manifest.csv",
    log:
        f"{LOGS}/select_images.log",
    benchmark:
        f"{BENCHMARKS}/select_images.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        archive=archive_digest,
        n_bytes=config["data"]["mendeley"]["bytes"] if config["data"]["source"] == "mendeley" else None,
        source=config["data"]["source"],
        category=config["data"]["category"],
        folder=config["data"]["folder"],
        counts=config["data"]["images"],
        val_ids=config["data"]["val_ids"],
        size=config["data"]["size"],
        seed=config["seed"],
        fold=config["data"]["fold"],
        code=code_version("select_images"),
    message:
        "Choose the images and split them by patient"
    script:
        "../scripts/select_images.py"


rule prepare_images:
    input:
        archive=archive_of_images,
        manifest=rules.select_images.output[0],
    output:
        f"{RESULTS}/clean/{{split}}.npz",
    log:
        f"{LOGS}/prepare_images/{{split}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_images/{{split}}.tsv"
    localrule: is_short(0.015 * config["training"]["views"], *SPLITS)
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 3 * config["training"]["views"], *SPLITS),
        runtime=minutes(30, 1, *SPLITS),
    params:
        archive=archive_digest,
        source=config["data"]["source"],
        category=config["data"]["category"],
        folder=config["data"]["folder"],
        size=config["data"]["size"],
        views=views_of_split,
        seed=config["seed"],
        code=code_version("prepare_images"),
    message:
        "Crop, resize and grey the {wildcards.split} images"
    script:
        "../scripts/prepare_images.py"


rule add_noise:
    input:
        f"{RESULTS}/clean/{{split}}.npz",
    output:
        f"{RESULTS}/noisy/{{split}}_{{protocol}}_{{draw}}.npz",
    log:
        f"{LOGS}/add_noise/{{split}}_{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/add_noise/{{split}}_{{protocol}}_{{draw}}.tsv"
    localrule: is_short(0.005, *SPLITS)
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 5, *SPLITS),
        runtime=minutes(30, 1, *SPLITS),
    params:
        protocol=protocol_value,
        kind=config["noise"]["kind"],
        seed=config["seed"],
        code=code_version("add_noise"),
    message:
        "Add noise to the {wildcards.split} images: protocol {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/add_noise.py"
