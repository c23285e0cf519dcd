"""Runs whenever Nuke starts, with and without an interface: paths only. No Qt, no network, nothing slow."""

import nuke

nuke.pluginAddPath("./gizmos")
nuke.pluginAddPath("./icons")

try:
    from fbamatte_nuke import vendor

    vendor.append()
except Exception as error:  # an error here would keep Nuke itself from starting
    nuke.tprint(f"FBA: the plug-in is damaged: {error}")
