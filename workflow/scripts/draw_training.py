"""Training curves: loss, learning rate, validation PSNR and SSIM against epoch, from the training history."""

from matplotlib.ticker import MaxNLocator

from tvmap import plotting, tabular
from tvmap.history import HISTORY, SCORES

SERIES = {"train_loss": (plotting.COLOUR_BLIND[0], "training"), "val_loss": (plotting.COLOUR_BLIND[1], "validation")}


def main(history_path, png_path, pdf_path, report):
    """Draw four panels over the epochs; a vertical line marks the reported epoch.

    `report` is `last` (the last epoch) or `best` (the highest validation PSNR). Epochs without validation have empty
    cells and are left out of the validation curves.
    """
    history = tabular.read_table(history_path, HISTORY, SCORES)
    reported = reported_epoch(history, report)
    figure, axes = plotting.panels(2, 2, 3.6, sharex=True)
    for column, (colour, label) in SERIES.items():
        draw_series(axes[0, 0], history, column, colour, label)
    axes[0, 0].set(ylabel="mean squared error", yscale="log")
    axes[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)  # wherever the curves are
    draw_series(axes[0, 1], history, "learning_rate", plotting.DARK)
    axes[0, 1].set(ylabel="learning rate", ylim=(0, 1.06 * history["learning_rate"].max()))
    axes[0, 1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    draw_series(axes[1, 0], history, "val_psnr", SERIES["val_loss"][0])
    axes[1, 0].set(ylabel="validation PSNR (dB)", xlabel="epoch")
    draw_series(axes[1, 1], history, "val_ssim", SERIES["val_loss"][0])
    axes[1, 1].set(ylabel="validation SSIM", xlabel="epoch")
    for panel in axes.flat:
        panel.axvline(reported, color=plotting.COLOURS["map"], linestyle="--", linewidth=1)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels(axes)
    axes[1, 0].text(
        reported,
        0.04,
        f"reported: epoch {reported} ({report}) ",
        transform=axes[1, 0].get_xaxis_transform(),
        ha="right" if reported > history["epoch"].mean() else "left",
        color=plotting.COLOURS["map"],
    )
    plotting.save(figure, png_path, pdf_path)
    return figure


def reported_epoch(history, report):
    """Return the epoch whose weights are reported: the last, or the first with the highest validation PSNR."""
    row = history["val_psnr"].idxmax() if report == "best" else history["epoch"].idxmax()
    return int(history.loc[row, "epoch"])


def draw_series(panel, history, column, colour, label=None):
    """Draw `column` against the epoch, with markers when the epochs are few."""
    known = history.dropna(subset=[column])
    marker = "o" if len(known) <= 25 else None
    panel.plot(known["epoch"], known[column], color=colour, label=label, marker=marker, markersize=3)
