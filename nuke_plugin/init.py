"""Runs whenever Nuke starts, with and without an interface: paths only. No Qt, no network, nothing slow."""

import nuke

try:
    from fbamatte_nuke import paths

    nuke.pluginAddPath(paths.gizmos())
    paths.append_wheels()
except Exception as error:
    # Raised here, it would keep Nuke itself from starting.
    nuke.tprint(f"FBA: the plug-in is damaged: {error}")
