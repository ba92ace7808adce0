"""The columns of a grid of λ, one row an image and λ: for those who write it, without pandas, and those who read it."""

CURVE = ("id", "weight", "psnr", "ssim")
