# Every file that a study makes on the way; the rule `all` asks for them. A job removes what it made before and, if it
# fails, leaves nothing. Snakemake makes that again only where it is asked for: what came of the old file is still there
# and would be taken for the result of settings, or of code, that it never saw. Not among them: the archive, which may be
# deleted once it was read, and what is temporary.
ROUNDS = {"protocol": PROTOCOLS, "draw": DRAWS}
_VALIDATED = {"protocol": config["training"]["validation_protocol"], "draw": 0}

_BEFORE = [
    *made("select_images"),
    *made("prepare_images", split="test" if config["network"]["weights"] else SPLITS),
    *made("add_noise", split="test", **ROUNDS),
    *([] if config["network"]["weights"] else [*made("train"), *made("add_noise", split="val", **_VALIDATED)]),
    *(made("train_direct") if TRAINS_DIRECT else []),
    *made("predict_maps", **ROUNDS),
]
MAP_MEASURED = [*_BEFORE, *made("denoise_images", method="map", **ROUNDS), *made("measure_maps", **ROUNDS)]
MEASURED = [
    *_BEFORE,
    *made("prepare_images", split=SPLITS),
    *made_by_grid("val", **ROUNDS),
    *made_by_grid("test", **ROUNDS),
    *(made_by_grid("train", protocol=PROTOCOLS, draw=0) if methods_of(tvmap.methods.LEARNED) else []),
    *made("refine_grid", **ROUNDS),
    *made("choose_scalars", **ROUNDS),
    *made("tune_classical", protocol=PROTOCOLS, method=methods_of(tvmap.methods.CLASSICAL)),
    *(
        path
        for rule, names in tvmap.methods.BASELINE_RULES.items()
        for path in made(rule, method=methods_of(names), **ROUNDS)
        if methods_of(names)
    ),
    *made("denoise_images", method=SOLVED, **ROUNDS),
    *made("measure_images", **ROUNDS),
    *made("collect_tables"),
    *made("check_study"),
]
_LAST = ["explain_study", "pick_examples", "collect_times", "write_provenance"]
_LAST += ["time_steps", "collect_courses"] if TRAINED else []
_LAST += ["collect_tuning"] if TUNED else []
_OF_VARIANTS = [f"{name}_{'map_' * maps_only}measured" for name, maps_only in MAPS_ONLY.items()]
FILES = [
    *MEASURED,
    *(path for name in _LAST for path in made(name)),
    *(path for name in _OF_VARIANTS for path in getattr(rules, name).input),
]
