# The variants of a study: each is a study of its own, which shares these rules and is compared with this one.
VARIANTS = tvmap.config.variants(config)

for variant, config_of_variant in VARIANTS.items():
    prefix = f"{variant}_"

    module:
        name: variant
        snakefile:
            "../../Snakefile"
        config:
            config_of_variant

    use rule * from variant exclude retrieve_archive as prefix*


# A variant that differs in its network or training alone has the noise and the scalars of the study.
MAPS_ONLY = {name: set(overlay) <= {"training", "network"} for name, overlay in config["variants"].items()}


def measurements(name, settings):
    """The tables of measurements of the study ("") or of a variant with these `settings`."""
    return expand(
        f"results/{settings['study']}/metrics/{'map' if MAPS_ONLY.get(name) else 'test'}_{{protocol}}_{{draw}}.csv",
        protocol=settings["noise"]["protocols"],
        draw=range(settings["noise"]["draws"]),
    )


STUDIES = {"": config, **VARIANTS}
TRAINED = {name: settings["study"] for name, settings in STUDIES.items() if not settings["network"]["weights"]}


rule compare_variants:
    input:
        metrics=[path for name, settings in STUDIES.items() for path in measurements(name, settings)],
        trainings=[f"results/{study}/model/training.json" for study in TRAINED.values()],
        histories=[f"results/{study}/model/history.csv" for study in TRAINED.values()],
    output:
        table=report(f"{RESULTS}/tables/variants.csv", category="Tables", caption="../report/table_variants.rst"),
        markdown=f"{RESULTS}/tables/variants.md",
        courses=f"{RESULTS}/tables/variants_courses.csv",
    log:
        f"{LOGS}/compare_variants.log",
    benchmark:
        f"{BENCHMARKS}/compare_variants.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        metrics={name: measurements(name, settings) for name, settings in STUDIES.items()},
        trainings={name: f"results/{study}/model/training.json" for name, study in TRAINED.items()},
        histories={name: f"results/{study}/model/history.csv" for name, study in TRAINED.items()},
        overlays=config["variants"],
        report=config["report"],
        seed=config["seed"],
        source=config["data"]["source"],
        code=code_version("compare_variants"),
    message:
        "Compare the study with its variants"
    script:
        "../scripts/compare_variants.py"
