"""Tests; each room's are in the folder of its name."""
