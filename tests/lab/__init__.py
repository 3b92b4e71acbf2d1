"""Tests of the lab room."""
