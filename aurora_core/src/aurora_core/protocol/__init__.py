"""What crosses processes, declared once: messages, routes, controls and metrics.

Engine plugin, agent, trainer, operator, command lines, dashboards, rules and benchmarks import it, so it imports
nothing but pydantic and the standard library.
"""
