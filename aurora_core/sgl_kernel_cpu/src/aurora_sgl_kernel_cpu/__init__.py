"""SGLang's speculative-decoding operators in plain PyTorch, for CPUs without AMX.

SGLang imports its CPU operators from a compiled module, ``sgl_kernel``, which exists for few machines.
The folder ``fallback`` contains a module of that name; a path file appends it to ``sys.path`` after
site-packages, so a compiled ``sgl_kernel`` is always preferred where one is installed.

Shapes below use B (requests), N (draft tokens a request, the root included), S (draft steps), L (sequence
length), H and HK (query and key heads), D (head size).
"""
