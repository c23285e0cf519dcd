"""Runs when Nuke starts with an interface: the FBA menu and the panel."""

import nuke

try:
    from fbamatte_nuke import menus

    menus.add()
except Exception as error:  # an error here would take other plug-ins' menus with it
    nuke.tprint(f"FBA: its menu cannot be made: {error}")
