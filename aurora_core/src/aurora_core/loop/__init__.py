"""The whole loop on one machine: engine, agent, trainer and traffic, without Kubernetes."""
