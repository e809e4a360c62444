"""Pure: a resource and what surrounds it in, Kubernetes objects out. No client, no clock."""
