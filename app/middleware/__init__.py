"""What a request passes before and after the application: limits, timeouts, headers.

Pure ASGI throughout: Starlette's ``BaseHTTPMiddleware`` runs the application in a task of its own and a stream between,
which costs more than everything here together. Each is a class with ``app`` first, as ``add_middleware`` wants it.
"""
