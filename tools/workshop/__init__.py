"""What builds, starts, waits and stops around the product: the commands behind the Makefile.

Standard library only, because it runs before there is an environment. Nothing of the product imports it.
"""
