"""The fault matrix: what can go wrong with each call of a run, and how the run has to end then.

A cell is one call and one fault, and the exit codes that are right for it. Its key is its name in the table.
"""

from __future__ import annotations

from tests.lab.lab import Lab
from tests.lab_tests import faults_aws, faults_children, faults_engine, faults_imds, faults_registry
from tests.lab_tests.fault_cell import Cell


def cells() -> list[Cell]:
    """All cells, in the order of the table."""
    return [
        *faults_aws.calls(),
        *faults_aws.hosts(),
        *faults_imds.service(),
        *faults_imds.requests(),
        *faults_registry.host(),
        *faults_registry.requests(),
        *faults_engine.gone(),
        *faults_engine.calls(),
        *faults_children.children(),
    ]


def mend(lab: Lab, hosts: str) -> None:
    """Take every fault out of the world again; `hosts` is the machine's /etc/hosts as it was."""
    lab.pki.mend()
    lab.aws.clear_faults()
    lab.registry.clear_faults()
    lab.registry.start()
    lab.registry.wait_ready()
    faults_registry.mend(lab, hosts)
    lab.imds.reset()
    lab.imds.start()
    lab.imds.wait_ready()
    faults_children.mend(lab)
    faults_engine.mend(lab)
