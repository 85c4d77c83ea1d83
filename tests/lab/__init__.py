"""A private machine with its own AWS account, metadata service, registry and Docker engine, for tests and the demo.

Everything runs in namespaces of its own and disappears with the process that started it; see `machine.Machine`.
"""
