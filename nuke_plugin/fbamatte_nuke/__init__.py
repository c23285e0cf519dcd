"""The FBA node's Python side: exports frames, has them matted on a server, keeps the results.

Importing this package touches neither Nuke, Qt nor the network; its modules do when they are used.
What runs where::

    actions, hooks          the node's buttons and its knobChanged
    job, jobs, progress     the loop: export, send, receive, keep
    export, node, key       what is asked of Nuke, always on its main thread (host)
    cache, exrfile, frames  files and numbers: no Nuke, no Qt
    transport, remote       the server: in this interpreter, or through bridge in another
    status, survey          what is cached, stale, missing, failed
    headless                the same without an interface
    panel                   the dockable panel
"""

__version__ = "0.1.0"

NODE_VERSION = "1"
"""The version that gizmos/FBA.gizmo carries in its knob ``fba_version``."""
