"""What somebody who means harm, or a machine that fails, may hand to the library.

``folders`` damages a model's folder in all ways that are tried, ``machines`` lets a disk be full or
a process be killed where a file is written. Tests in ``tests/behaviour/test_attacks.py`` run them:
each has to end in a sentence, and in a target that is whole or not there.
"""
