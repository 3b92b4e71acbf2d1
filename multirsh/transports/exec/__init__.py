"""Hosts that a program of the user's reaches: ``kubectl exec``, ``docker exec``, ``nsenter``, any."""
