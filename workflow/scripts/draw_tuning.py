"""How the rivals were tuned: what every candidate scored, and the λ of rules beside that of the oracle."""

from functools import partial

from matplotlib.lines import Line2D

from tvmap import findings, plotting, tabular
from tvmap.methods import CLASSICAL, LABELS, base, is_blind, protocol_label
from tvmap.rivals import FACTORS

TUNING = ("protocol", "method", "candidate", "psnr", "error", "chosen")
COLUMNS = 3  # of panels
MODELS = "models of λ, from features"


def main(tuning_path, metrics_path, png_path, pdf_path, protocols, rivals):
    """Draw a panel for each of the `rivals`, a curve for each protocol; dashed or hollow where σ is estimated.

    The study's own λ comes first. A rival with more to choose than its strength has a panel for each. Circles mark what
    was chosen. `protocols`: name → noise level or range.
    """
    empty = ("psnr", "error", *FACTORS)
    tuning = tabular.read_table(tuning_path, TUNING, empty, may_have_no_row=True, optional=FACTORS)
    choices = findings.rule_choices(tabular.read_table(metrics_path, findings.PER_IMAGE, ("weight_mean",)))
    names = [name for name in LABELS if name in {base(rival) for rival in rivals} | set(tuning["method"])]
    tuning, choices = (table.assign(base=table["method"].map(base)) for table in (tuning, choices))
    drawn = []  # (title, what draws it, the rows)
    for name in names:
        part = tuning[tuning["base"] == name]
        if name in (*CLASSICAL, "scalar-fixed", "scalar-train"):
            drawn.append((LABELS[name], draw_curves, part))
        factors = [factor for factor in FACTORS if factor in part and part[factor].notna().any()]
        drawn += [(FACTORS[factor][0], partial(draw_curves, factor=factor), part) for factor in factors]
    drawn += [(MODELS, draw_errors, tuning[tuning["base"] == name]) for name in names if name == "scalar-features"]
    of_rules = [name for name in names if name in set(choices["base"])]
    drawn += [(LABELS[name], draw_chosen, choices[choices["base"] == name]) for name in of_rules]
    rows = -(-len(drawn) // COLUMNS)
    figure, axes = plotting.panels(rows, COLUMNS, 0.6 + 2.1 * rows)
    styles = plotting.protocol_styles(protocols)
    for panel, (title, draw, part) in zip(axes.flat, drawn, strict=False):
        draw(panel, part, styles)
        panel.set_title(title, loc="left")
    for panel in axes.flat[len(drawn) :]:
        panel.set_visible(False)
    handles = [Line2D([], [], label=protocol_label(level), **styles[name]) for name, level in protocols.items()]
    grey = {"color": plotting.GREY, "markersize": 3.5}
    handles.append(Line2D([], [], label="chosen", linestyle="", **grey | RING))
    if any(is_blind(name) for name in rivals):
        handles.append(Line2D([], [], label="σ estimated", linestyle="--", marker="o", markerfacecolor="white", **grey))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    plotting.save(figure, png_path, pdf_path)
    return figure


RING = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1}


def draw_curves(panel, part, styles, factor="candidate"):
    """Draw the mean PSNR over the strength, λ or another `factor`, with the best of the others; the chosen ringed."""
    for (method, protocol), rows in part.groupby(["method", "protocol"], sort=False):
        best = rows.loc[rows.groupby(factor, sort=False)["psnr"].idxmax()]
        strength, chosen = best[factor].astype(float), best["chosen"]
        look = {"linestyle": "--", "markerfacecolor": "white"} if is_blind(method) else {}
        look |= {"marker": ""} if len(best) > 20 else {}
        panel.plot(strength, best["psnr"], **styles[protocol] | look)
        panel.plot(strength[chosen], best["psnr"][chosen], **RING, color=styles[protocol]["color"])
    of_strength = "strength (factor of σ)" if part["base"].iloc[0] in CLASSICAL else "λ (grey value)"
    panel.set(xlabel=FACTORS[factor][1] if factor in FACTORS else of_strength, ylabel="mean PSNR (dB)")


def draw_errors(panel, part, styles):
    """Draw the cross-validated error of every model of λ, the chosen one ringed."""
    names = list(dict.fromkeys(part["candidate"]))
    for protocol, rows in part.groupby("protocol", sort=False):
        heights = rows["candidate"].map(names.index)
        panel.plot(rows["error"], heights, linestyle="", **styles[protocol])
        panel.plot(rows["error"][rows["chosen"]], heights[rows["chosen"]], **RING, color=styles[protocol]["color"])
    panel.set(xlabel="error of log λ, held out", yticks=range(len(names)), yticklabels=names, xlim=(0, None))
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(axis="x", color=plotting.LIGHT, linewidth=0.5)


def draw_chosen(panel, part, styles):
    """Draw the λ that a rule chose for each image over that of the oracle; on the line they are equal."""
    top = 1.05 * part[["weight", "oracle"]].max(axis=None)
    panel.plot([0, top], [0, top], color=plotting.GREY, linewidth=0.8)
    for (method, protocol), rows in part.groupby(["method", "protocol"], sort=False):
        style = styles[protocol] | {"markersize": 2.5, "linestyle": "", "alpha": 0.7}
        style |= {"markerfacecolor": "none"} if is_blind(method) else {}
        panel.plot(rows["oracle"], rows["weight"], **style)
    panel.set(xlabel="oracle λ, PSNR (grey value)", ylabel="chosen λ (grey value)", xlim=(0, top), ylim=(0, top))
