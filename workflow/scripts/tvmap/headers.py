"""The columns of tables that jobs write row by row, without pandas: for those who write and those who read them."""

CURVE = ("id", "weight", "psnr", "ssim")  # a grid: one row an image and λ
SCORES = ("val_loss", "val_psnr", "val_ssim")  # not of every epoch
HISTORY = ("epoch", "learning_rate", "train_loss", *SCORES)  # the course of a training
