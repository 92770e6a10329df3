"""Kinds of new units, one small file each."""
