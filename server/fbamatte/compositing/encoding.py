"""Facts of the trimap's encoding, for those that compute it where numba is not installed."""

# Gaussian widths of the encoding as fractions of the published training crop of 320 pixels.
ENCODING_CROP = 320
ENCODING_SIGMAS = (0.02, 0.08, 0.16)
