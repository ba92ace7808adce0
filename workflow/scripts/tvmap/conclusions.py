"""What the study's gains say of the map: the answer and the conclusions of the report, by the intervals."""

from typing import TYPE_CHECKING, Any

from . import dissertation
from .errors import StudyError
from .formats import METRICS, number
from .methods import BASELINES, LABELS, ORACLES, ORACULAR
from .origins import origin

if TYPE_CHECKING:
    import pandas as pd

Row = Any  # of a table, as pandas' itertuples gives it: its attributes are the columns


def verdict(low: float, high: float) -> str:
    """What an interval of a gain says: "better", "worse", or "undecided" if it holds 0 or is missing."""
    return "better" if low > 0 else "worse" if high < 0 else "undecided"


def find_gain(gains: "pd.DataFrame", protocol: str, baseline: str, metric: str) -> Row:
    """The one row of the gains table for this comparison."""
    rows = gains[(gains.protocol == protocol) & (gains.baseline == baseline) & (gains.metric == metric)]
    if len(rows) != 1:
        raise StudyError(
            f"tables/gains.csv: {len(rows)} rows for {protocol}, {baseline}, {metric} instead of 1; "
            "delete it and run the study again"
        )
    return next(rows.itertuples())


def compare(row: Row, confidence: float) -> str:
    """One comparison in words: "gains 1.55 dB (95 % interval +1.50 to +1.60)"."""
    _, digits, unit = METRICS[row.metric]
    found = verdict(row.low, row.high)
    limits = f"({100 * confidence:g} % interval {number(row.low, digits, True)} to {number(row.high, digits, True)})"
    if found == "undecided":
        return f"cannot be told apart, {number(row.mean, digits, True)}{unit} {limits}"
    return f"{'gains' if found == 'better' else 'loses'} {number(abs(row.mean), digits)}{unit} {limits}"


def headline(gains: "pd.DataFrame") -> str:
    """The answer in one sentence, chosen by the signs of the intervals over all protocols and both metrics."""
    pairs = [(protocol, metric) for protocol in gains.protocol.unique() for metric in METRICS]
    fixed_rows = [find_gain(gains, protocol, "scalar-fixed", metric) for protocol, metric in pairs]
    oracle_rows = [find_gain(gains, protocol, ORACLES[metric], metric) for protocol, metric in pairs]
    fixed, oracle = ({verdict(row.low, row.high) for row in rows} for rows in (fixed_rows, oracle_rows))
    if fixed == oracle == {"better"}:
        return (
            "Yes: the learned map beats one scalar weight chosen in advance, and also the best scalar weight "
            "of each image, which can be found only with the clean image."
        )
    if fixed == {"better"}:
        rest = "loses to" if oracle == {"worse"} else "does not beat in every comparison"
        return (
            "Yes, against what can be done in practice: the learned map beats one scalar weight chosen in advance. "
            f"But it {rest} the best scalar weight of each image, which can be found only with the clean image."
        )
    if fixed == {"worse"}:
        return "No: the learned map is worse than one scalar weight chosen in advance on validation images."
    if "better" not in fixed:
        return "No: a gain of the learned map over one scalar weight chosen in advance is not shown."
    return (
        "Only in part: whether the learned map beats one scalar weight chosen in advance depends on noise and metric."
    )


def _not_told_the_image(gains: "pd.DataFrame", protocol: str) -> list[Row]:
    """Rows of the rivals, oracles and the fixed λ apart, by PSNR, the strongest first."""
    rows = gains[(gains.protocol == protocol) & (gains.metric == "psnr") & gains.baseline.isin(BASELINES)]
    return list(rows[~rows.baseline.isin(ORACULAR)].sort_values("mean").itertuples())


def ahead_of_map(gains: "pd.DataFrame") -> str:
    """One sentence on the rivals that the map loses to in PSNR, oracles apart; "" if there are none."""
    protocols = {}
    for protocol in gains.protocol.unique():
        for row in _not_told_the_image(gains, protocol):
            if verdict(row.low, row.high) == "worse":
                protocols.setdefault(LABELS[row.baseline], []).append(protocol)
    where = [f"{label} under {', '.join(names)}" for label, names in protocols.items()]
    return f"Better than the map, without being told the clean test image: {'; '.join(where)}." if where else ""


def against_rivals(gains: "pd.DataFrame", confidence: float) -> list[tuple[str, str]]:
    """For each protocol one sentence: the rivals, oracles apart, that are ahead of the map, and the next one."""
    sentences = []
    for protocol in gains.protocol.unique():
        rows = _not_told_the_image(gains, protocol)
        ahead = [row for row in rows if verdict(row.low, row.high) == "worse"]
        shown_rows = ahead + [row for row in rows if row not in ahead][:1]
        found = [f"against {LABELS[row.baseline]} the map {compare(row, confidence)}" for row in shown_rows]
        if found:
            sentences.append((f"{protocol}, rivals", "; ".join(found) + "."))
    return sentences


def against_scalars(gains: "pd.DataFrame", confidence: float) -> list[tuple[str, str]]:
    """For each protocol and metric one sentence against the fixed weight and the oracle of that metric."""
    sentences = []
    for protocol in gains.protocol.unique():
        for metric, (name, _, _) in METRICS.items():
            fixed = compare(find_gain(gains, protocol, "scalar-fixed", metric), confidence)
            oracle = compare(find_gain(gains, protocol, ORACLES[metric], metric), confidence)
            sentence = f"against the fixed scalar weight the map {fixed}; against the {name} oracle it {oracle}."
            sentences.append((f"{protocol}, {name}", sentence))
    return sentences


def against_published(gains: "pd.DataFrame", source: str) -> list[str]:
    """How the gain over the PSNR oracle stands to the published one, by the interval."""
    if not origin(source).x_rays:
        return [
            "The published numbers are from chest X-rays, this study's images are others: "
            "only the sign of the gain can be compared."
        ]
    sentences = []
    for protocol in gains.protocol.unique():
        row = find_gain(gains, protocol, ORACLES["psnr"], "psnr")
        side = {"better": "larger than", "worse": "smaller than", "undecided": "not to be told apart from"}[
            verdict(row.low - dissertation.GAIN, row.high - dissertation.GAIN)
        ]
        sentences.append(
            f"Under {protocol} the gain over the PSNR oracle, {number(row.mean, sign=True)} dB, is {side} "
            f"the published {number(dissertation.GAIN, sign=True)} dB."
        )
    return sentences
