"""The wire: generated messages, their codec, and the client. Light enough for any host's interpreter."""
