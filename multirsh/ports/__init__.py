"""Local ports: who holds one, which the kernel still keeps and until when, and who gets the next."""
