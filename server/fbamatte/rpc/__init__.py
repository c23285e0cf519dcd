"""The wire: generated messages, their codec, and the client. Light enough for any host's interpreter."""

import os

# Before anything imports grpc. Its fork handlers start a thread in the child, whose descriptors `subprocess` has just
# closed: one child in eight then died before its program ran (grpc/grpc#43055). Python forks so below 3.10, and with
# preexec_fn; a host like Nuke starts programs from any of its plugins. Nothing here uses grpc on after a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
