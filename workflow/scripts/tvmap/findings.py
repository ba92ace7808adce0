"""What the numbers say, for the report: where the map fails, how rules chose λ, what unrolling and training cost."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import courses, dissertation
from .formats import duration, interval, number
from .methods import BY_NOISE, LABELS, ORACLES, ORACULAR, base, protocol_label
from .noise import Level
from .significance import difference_by_chance, rank_correlation
from .tabular import IMAGE
from .variants import REPEATS, from_other_seeds

if TYPE_CHECKING:
    import pandas as pd

CONTRASTS = (*IMAGE, "contrast", "noise_std")
PER_IMAGE = (*IMAGE, "method", "psnr", "weight_mean")
RULES = ("scalar-features", *BY_NOISE)  # of λ, image by image, without the clean image
FEWEST = 5  # images, for a correlation


def image_gains(per_image: "pd.DataFrame", contrasts: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of `contrasts` with the gain in PSNR (dB) of the map over the oracle λ of each image."""
    psnr = per_image.pivot(index=IMAGE, columns="method", values="psnr")
    gain = (psnr["map"] - psnr[ORACLES["psnr"]]).rename("gain").reset_index()
    return contrasts.merge(gain, on=IMAGE, validate="one_to_one")


def rule_choices(per_image: "pd.DataFrame") -> "pd.DataFrame":
    """λ (`weight`) that each of the RULES chose beside that of the PSNR oracle (`oracle`): one row a rule and image."""
    oracle = per_image[per_image["method"] == ORACLES["psnr"]].set_index(IMAGE)["weight_mean"].rename("oracle")
    rules = per_image[per_image["method"].map(base).isin(RULES)].rename(columns={"weight_mean": "weight"})
    return rules.join(oracle, on=IMAGE)[[*IMAGE, "method", "weight", "oracle"]]


def block_failures(failures: "pd.DataFrame", protocols: Mapping[str, Level]) -> list[str]:
    """For each protocol one sentence: in how many bins of detail the map's error is lower, in which it is not."""
    sentences = []
    for protocol, part in failures.groupby("protocol", sort=False):
        table = part.pivot(index="bin", columns="method", values="mse")
        detail = part.drop_duplicates("bin").set_index("bin")["detail"].map("{:.3f}".format)
        change = 100 * (table["map"] / table[ORACLES["psnr"]] - 1)
        most, least, worse = change.idxmin(), change.idxmax(), change[change >= 0].index
        text = (
            f"Under {protocol_label(protocols[protocol])} the mean squared error of the map is lower than that of the "
            f"oracle λ in {len(change) - len(worse)} of {len(change)} bins of detail"
        )
        if change[most] < 0:
            text += f", by {number(-change[most], 0)} % at most (detail {detail[most]})"
        if len(worse):
            where = ", ".join(detail[low] + (f" to {detail[high]}" if high > low else "") for low, high in _runs(worse))
            text += f"; it is not lower at detail {where}, and there up to {number(change[least], 0)} % higher."
        else:
            text += f" and by {number(-change[least], 0)} % at least (detail {detail[least]})."
        sentences.append(text)
    return sentences


def _runs(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of the runs of consecutive whole numbers in `numbers`, ascending."""
    ends = [k for k in numbers if k + 1 not in numbers]
    return zip((k for k in numbers if k - 1 not in numbers), ends, strict=True)


def image_failures(gains: "pd.DataFrame", protocols: Mapping[str, Level]) -> list[str]:
    """For each protocol one sentence: on how many images the map gains nothing, on which least, what that goes with."""
    sentences = []
    for protocol, part in gains.groupby("protocol", sort=False):
        worst, most, lost = part.loc[part["gain"].idxmin()], part["gain"].max(), (part["gain"] <= 0).sum()
        text = (
            f"Under {protocol_label(protocols[protocol])} the map gains nothing or loses on {lost} of {len(part)} "
            f"images; the smallest gain is {number(worst['gain'], sign=True)} dB, on {worst['id']} (std of its noise "
            f"{worst['noise_std']:.3f}), the largest {number(most, sign=True)} dB"
        )
        if len(part) >= FEWEST:
            noise, contrast = (rank_correlation(part["gain"], part[name]) for name in ("noise_std", "contrast"))
            text += (
                f"; the rank correlation of the gain with the noise is {number(noise, sign=True)}, with the contrast "
                f"of the clean image {number(contrast, sign=True)}"
            )
        sentences.append(text + ".")
    return sentences


def level_failures(by_level: "pd.DataFrame", protocols: Mapping[str, Level]) -> list[str]:
    """For each protocol of a range one sentence: at which levels which method without the clean image is ahead."""
    sentences = []
    for protocol, part in by_level.groupby("protocol", sort=False):
        rows = part[(part["high"] < 0) & ~part["baseline"].isin(ORACULAR)]
        text = f"Under {protocol_label(protocols[protocol])} "
        if not len(rows):
            text += "no method that does not see the clean image is ahead of the map at any level"
        ahead = [
            f"{LABELS[name]} is ahead of the map "
            + ", ".join(
                f"at levels from {number(row.level_low)} to {number(row.level_high)} by {number(-row.mean)} dB "
                f"{interval(-row.high, -row.low, 2)}"
                for row in groups.itertuples()
            )
            for name, groups in rows.groupby("baseline", sort=False)
        ]
        sentences.append(text + "; ".join(ahead) + ".")
    return sentences


def learned(table: "pd.DataFrame") -> list[str]:
    """For each noise protocol a sentence: how Λ, or each of TGV's maps, changes from the least to the most detail."""
    sentences = []
    for protocol, part in table.groupby("protocol", sort=False):
        found = []
        for name, rows in part.groupby("map", sort=False):
            ends = (group.sort_values("detail")["weight"].iloc[[0, -1]] for _, group in rows.groupby("noise_std"))
            factors = [last / first for first, last in ends]
            low, high = number(min(factors)), number(max(factors))
            found.append(f"{name} by a factor of {low if low == high else f'{low} to {high}'}")
        sentences.append(f"Under {protocol} the median changes from the least to the most detail: {'; '.join(found)}.")
    return sentences


def speed(table: "pd.DataFrame") -> str:
    """One sentence: the shortest of the trainings in the table of courses that reaches the published gain, or none."""
    reached = courses.minutes_to(dissertation.GAIN, table)
    name = {variant: f"variant {variant}" if variant else "the study" for variant in table["variant"]}
    goal = f"the published gain of {number(dissertation.GAIN, sign=True)} dB on the validation images"
    if reached:
        first = min(reached, key=reached.__getitem__)
        return f"The shortest training that reaches {goal} is that of {name[first]}: {duration(60 * reached[first])}."
    best = table.loc[table["val_gain"].idxmax()]
    text = f"No training here reaches {goal}; the nearest, that of {name[best['variant']]}, comes to "
    return text + f"{number(best['val_gain'], sign=True)} dB after {duration(60 * best['minutes'])}."


def nearest(variants: "pd.DataFrame", overlays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Three sentences: whose scalar oracle is nearest to that of Table 1 and of the later run, and the nearest gain.

    No training touches that oracle: variants that change network, training or measure alone do not count, as the
    study's oracle is theirs. Distance: √(Σ ((mean − published mean) / published standard deviation)²) over PSNR and
    SSIM. Left open is what is further by less than half the interval of a mean PSNR.

    overlays: {variant: what it changes}.
    """
    own = ["", *(name for name, overlay in overlays.items() if not set(overlay) <= {"network", "training", "report"})]
    rows = variants[variants["variant"] != REPEATS].set_index(["variant", "protocol"])
    table = {metric: part for metric, part in rows.groupby("metric")}
    oracle = {metric: table[metric]["oracle"][table[metric].index.isin(own, "variant")] for metric in ("psnr", "ssim")}
    sentences = []
    for whose, target in (("published", dissertation.TABLE_1), ("later run's", dissertation.LATER)):
        published = {metric: of["oracle"] for metric, of in target.items()}
        terms = (((oracle[metric] - mean) / std) ** 2 for metric, (mean, std) in published.items())
        distance = (sum(terms) ** 0.5).sort_values(kind="stable")
        first = distance.index[0]
        width = (table["psnr"]["mean_high"] - table["psnr"]["mean_low"]).fillna(0)[first]
        (psnr, std), (ssim, _) = published.values()
        margin = width / 2 / std
        by_protocol = {}
        for name, protocol in distance.index[1:][distance.iloc[1:] < distance.iloc[0] + margin]:
            by_protocol.setdefault(protocol, []).append(name or "the study")
        others = "; ".join(f"under {protocol} {', '.join(names)}" for protocol, names in by_protocol.items())
        sentences.append(
            f"By what no training touches, mean PSNR and SSIM of the scalar oracle, nearest to the {whose} "
            f"{number(psnr)} dB and {number(ssim)} is {first[0] or 'the study'} under {first[1]}: "
            f"{number(oracle['psnr'][first])} dB and {number(oracle['ssim'][first], 3)}, "
            f"{number(distance.iloc[0])} of its standard deviations away. Further by less than {number(margin)} of "
            f"them, half the interval of a mean, so not told apart: {others or 'none'}."
        )
    gain = table["psnr"].loc[(table["psnr"]["gain"] - dissertation.GAIN).abs().idxmin()]
    variant = f"variant {gain.name[0]} ({gain['changes']})" if gain.name[0] else "the study itself"
    return [
        *sentences,
        f"The gain nearest to the published {number(dissertation.GAIN, sign=True)} dB is that of {variant} under "
        f"{gain.name[1]}: {number(gain['gain'], sign=True)} dB.",
    ]


def chance(
    variants: "pd.DataFrame",
    overlays: Mapping[str, Mapping[str, Any]],
    protocols: Mapping[str, Level],
    confidence: float,
) -> list[str]:
    """For each protocol a sentence: by how much trainings differ that differ in their seed alone; none without such.

    overlays: {variant: what it changes}.
    """
    seeds = from_other_seeds(overlays)
    table = variants[(variants["metric"] == "psnr") & variants["variant"].isin(["", *seeds])]
    sentences = []
    for protocol, level in protocols.items() if seeds else ():
        gains = table.loc[table["protocol"] == protocol, "gain"]
        ends = f"{number(gains.min(), sign=True)} to {number(gains.max(), sign=True)} dB"
        sentences.append(
            f"Under {protocol_label(level)} trainings of the study from {len(gains)} seeds gain {ends}, with a "
            f"standard deviation of {number(gains.std(ddof=1), 3)} dB: in {100 * confidence:g} % of pairs two of them "
            f"differ by less than {number(difference_by_chance(gains, confidence))} dB. A variant whose gain differs "
            "by less from the study's is not told apart from chance."
        )
    return sentences


def unrolling(
    variants: "pd.DataFrame",
    training_iterations_of: Mapping[str, int],
    test_iterations_of: Mapping[str, int],
    protocols: Mapping[str, Level],
) -> list[str]:
    """For each protocol a sentence on T of the training, and one on T of the test.

    training_iterations_of, test_iterations_of: {variant: T}, as `study.iterations` finds them.
    """
    sentences = []
    table = variants[variants["metric"] == "psnr"]
    for where, steps in (("training", training_iterations_of), ("test", test_iterations_of)):
        part = table[table["variant"].isin(steps)].assign(steps=lambda rows, steps=steps: rows["variant"].map(steps))
        for protocol, level in protocols.items() if steps else ():
            rows = part[part["protocol"] == protocol].sort_values("steps")
            first, last, best = rows.iloc[0], rows.iloc[-1], rows.loc[rows["gain"].idxmax()]
            ends = " and ".join(f"{number(row['gain'], sign=True)} dB with T = {row['steps']}" for row in (first, last))
            sentences.append(
                f"Under {protocol_label(level)} the gain is {ends} in the {where}; "
                f"the largest, {number(best['gain'], sign=True)} dB, is that of T = {best['steps']}."
            )
    return sentences


def cost_of_steps(steps: "pd.DataFrame", iterations_of: Mapping[str, int]) -> str:
    """A sentence on the time of a training step with few and with many iterations, and where it was taken.

    iterations_of: {variant: T} of the trainings that differ in T alone.
    """
    steps, where = steps[steps["variant"].isin(iterations_of)], timed_on(steps)
    first, last = (steps.sort_values("iterations").iloc[row] for row in (0, -1))
    chance = "the middle halves of their times overlap; " if last["low"] < first["high"] else ""
    return (
        f"A step of the training took {number(first['milliseconds'], 0)} ms with T = {first['iterations']} and "
        f"{number(last['milliseconds'], 0)} ms with T = {last['iterations']}, "
        f"{number(last['milliseconds'] / first['milliseconds'], 1)} times as long "
        f"({chance}median, on {where})."
    )


def timed_on(steps: "pd.DataFrame") -> str:
    """Where the steps of the training were timed: machine, threads, precision."""
    row = steps.iloc[0]  # any: all are timed by one job
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    return f"{row['device']} with {threads}, U-Net in {row['precision']}"
