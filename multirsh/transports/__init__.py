"""The transports that reach hosts: their protocol (``base``), the dialler, and sockets that close last."""
