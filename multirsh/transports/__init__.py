"""Ways to reach a host: one protocol (``base``), the dialler, and the transport that closes last."""
