"""The service seen from elsewhere: its address and key, requests that are retried, and forms as files.

It rests on nothing else of this project but its version, so that it starts fast and could be taken out of it.
"""
