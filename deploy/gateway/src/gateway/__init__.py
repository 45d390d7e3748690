"""The one way to the product from outside: Envoy with our routes, limits, health checks, request ids and problems."""
