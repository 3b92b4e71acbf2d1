"""The exec transport: a program of the user's choice reaches the hosts, such as ``kubectl exec``."""
