"""Measures the services under load, on loopback only."""
