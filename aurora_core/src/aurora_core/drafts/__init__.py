"""Draft families: what each of them is made of, behind one protocol."""
