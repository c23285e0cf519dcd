"""Generated from proto/fbamatte/rpc/v1/matting.proto by proto/generate.py; never edited."""
