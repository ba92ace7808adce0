# The variants of a study: each is a study of its own, which shares these rules and is compared with this one.
VARIANTS = tvmap.config.variants(config)

for variant, config_of_variant in VARIANTS.items():
    prefix = f"{variant}_"

    module:
        name:
            variant
        snakefile:
            "../../Snakefile"
        config:
            config_of_variant

    use rule * from variant exclude retrieve_archive as prefix*
