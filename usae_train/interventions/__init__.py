"""Interventions: a network's own forward pass, in which concepts are taken away, turned up or brought from another."""
