"""The columns of history.csv, the course of a training: for those who write it and those who read it."""

SCORES = ("val_loss", "val_psnr", "val_ssim")  # not of every epoch
HISTORY = ("epoch", "learning_rate", "train_loss", *SCORES)
