"""Image mathematics on plain arrays: no files, no models, no colour spaces.

Arrays are H×W for alpha and trimap and H×W×3 for colour, float32, in scene-linear light wherever the
compositing equation is involved.
"""
