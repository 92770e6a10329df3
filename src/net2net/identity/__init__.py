"""Layers and blocks that return what they are given."""
