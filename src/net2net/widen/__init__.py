"""Net2WiderNet: a wider network of the same class that computes the same."""
