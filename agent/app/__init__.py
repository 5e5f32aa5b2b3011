"""The composition root: config becomes parts, parts become one task group, and an ordered stop.

- ``setup.py``    first start: keys, owner, commented config and policy
- ``parts.py``    everything that needs no network: the vault and what works on it; one process at a time
- ``judging.py``  whether the audit log holds: all of it, and its end at every start
- ``verbs.py``    what the shell commands ask, as functions of the parts
- ``running.py``  the resident agent: sources, broker, uploads, retention, commands, the local socket
"""
